"""Arguments with which Hydra 1.3 and 1.4 behave in the same way."""

from __future__ import annotations

from typing import Any

import hydra
import hydra.utils

IS_1_3 = hydra.__version__ < "1.4"
# Hydra 1.4 has the defaults of 1.3, and warns about the argument.
VERSION_BASE: dict[str, str] = {"version_base": "1.3"} if IS_1_3 else {}
# Without this, Hydra 1.4 refuses to build our sweeper and warns about our callback. mbrl itself
# checks which code a YAML file may name.
MAIN_ARGUMENTS: dict[str, Any] = (
    VERSION_BASE
    if IS_1_3
    else {"execution_whitelist": vars(hydra.utils)["UNSAFE_DISABLE_EXECUTION_CHECKS"]}
)
