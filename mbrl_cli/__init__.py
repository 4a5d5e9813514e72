"""Experiment runner for model-based reinforcement learning.

The Python interface, see docs/python_api.md:

    import mbrl_cli as mbrl

    run = mbrl.load_run("outputs/RUN")
    run = mbrl.train(["env=cartpole", "planner=cem"])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mbrl_cli.api.loading import load_run as load_run
    from mbrl_cli.api.loading import load_runs as load_runs
    from mbrl_cli.api.run import Run as Run
    from mbrl_cli.api.run_list import RunList as RunList
    from mbrl_cli.api.training import train as train
    from mbrl_cli.errors import UserError as UserError

__version__ = "0.1.0"

# Public names and the modules that define them; a module is imported when its name is used.
_MODULES = {
    "load_run": "mbrl_cli.api.loading",
    "load_runs": "mbrl_cli.api.loading",
    "train": "mbrl_cli.api.training",
    "Run": "mbrl_cli.api.run",
    "RunList": "mbrl_cli.api.run_list",
    "UserError": "mbrl_cli.errors",
}
__all__ = ["Run", "RunList", "UserError", "__version__", "load_run", "load_runs", "train"]


if not TYPE_CHECKING:  # type checkers would accept every name

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used, so that `import mbrl_cli` stays fast."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
