"""Check that Hydra's launcher can start before the jobs of a sweep are checked."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

from mbrl_cli.errors import UserError

PLUGINS = "hydra_plugins"  # the namespace package of Hydra's plug-ins


def check_launcher(target: str) -> None:
    """Raise UserError if the launcher's package or the cluster's commands are missing.

    Args:
        target: `hydra.launcher._target_`, such as hydra_plugins.PACKAGE.MODULE.CLASS.
    """
    # Our YAML for Ray is complete, so Hydra composes it without the package.
    if target.startswith(f"{PLUGINS}.hydra_ray_launcher.") and not _has("hydra_ray_launcher"):
        raise UserError(
            "hydra/launcher=ray: is not installed; in the clone of mbrl type: "
            "pip install -r requirements-ray.txt"
        )
    if target.endswith(".SlurmLauncher") and shutil.which("srun") is None:
        raise UserError(
            "hydra/launcher=slurm: the command srun is not found; type the command on a machine "
            "from which jobs of SLURM are submitted"
        )


def _has(package: str) -> bool:
    return find_spec(PLUGINS) is not None and find_spec(f"{PLUGINS}.{package}") is not None
