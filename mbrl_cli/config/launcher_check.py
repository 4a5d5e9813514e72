"""Check that the package of Hydra's launcher is installed."""

from __future__ import annotations

from importlib.util import find_spec

from mbrl_cli.errors import UserError, install_extra

# Packages of launchers whose YAML is ours alone, so that Hydra composes it without the package.
EXTRAS = {"hydra_ray_launcher": "ray"}


def check_launcher(target: str) -> None:
    """Raise UserError if the package of a launcher is missing.

    Args:
        target: `hydra.launcher._target_`, such as hydra_plugins.PACKAGE.MODULE.CLASS.
    """
    namespace, _, rest = target.partition(".")
    extra = EXTRAS.get(rest.partition(".")[0])
    if namespace != "hydra_plugins" or extra is None:
        return
    package = f"{namespace}.{rest.partition('.')[0]}"
    if find_spec(namespace) is None or find_spec(package) is None:
        raise UserError(f"hydra/launcher={extra}: is not installed; {install_extra(extra)}")
