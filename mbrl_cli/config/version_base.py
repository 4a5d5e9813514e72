"""The defaults of Hydra that mbrl uses: those of version 1.3."""

from __future__ import annotations

import warnings

import hydra

# Hydra 1.4 has the same defaults, and warns about the argument.
VERSION_BASE: dict[str, str] = {"version_base": "1.3"} if hydra.__version__ < "1.4" else {}
# Hydra 1.4 warns about every object that a YAML file names, its own callbacks included.
warnings.filterwarnings("ignore", message=r"hydra\.utils\.instantiate\(\) resolved")
