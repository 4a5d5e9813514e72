"""Gymnasium's registration of environments: find an id, check the arguments of its constructor."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Iterable
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator, parse_env_id
from gymnasium.error import DependencyNotInstalled

from mbrl_cli.envs.silent_libraries import silent_libraries
from mbrl_cli.errors import UserError, install_extra, nearest
from mbrl_cli.signals import reraise_stop

# Package named in a "not installed" error -> the extra that installs it.
_EXTRAS = {
    "mujoco": "mujoco", "box2d": "box2d", "ale_py": "atari", "pygame": "render",
    "shimmy": "dmc", "dm_control": "dmc", "minigrid": "minigrid",
}  # fmt: skip
# Prefix of an id -> the modules whose import registers it.
_REGISTERED_BY = {
    "ALE/": ("ale_py",),
    "bsuite/": ("bsuite", "shimmy"),
    "dm_control/": ("dm_control", "shimmy"),
}

_OWN: dict[str, tuple[str, int | None]] = {
    "mbrl/GridWorld-v0": ("mbrl_cli.envs.gridworld:GridWorld", None),  # it truncates itself
    "mbrl/CartPoleContinuous-v0": ("mbrl_cli.envs.cartpole_continuous:CartPoleContinuous", 200),
    "mbrl/CartPoleSwingUp-v0": ("mbrl_cli.envs.cartpole_swingup:CartPoleSwingUp", 200),
}
for _id, (_entry_point, _limit) in _OWN.items():
    if _id not in gymnasium.registry:
        gymnasium.register(_id, entry_point=_entry_point, max_episode_steps=_limit)


def registered(id: str) -> EnvSpec:
    """Return gymnasium's registration of `id`, after importing the package that registers it."""
    package, _, name = id.rpartition(":")
    by_prefix = _REGISTERED_BY.get(name[: name.find("/") + 1], ())
    for module in (package,) if package else by_prefix:
        try:
            with silent_libraries():
                importlib.import_module(module)
        except BaseException as error:  # an import may raise anything, SystemExit too
            reraise_stop(error)
            kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
            reason = f"cannot import {module}: {kind}{missing_package(error)}"
            raise UserError(f"env.id={id}: {reason}") from error
    spec = gymnasium.registry.get(name)
    if spec is None:
        raise UserError(f"env.id={id}: unknown environment; {_other_ids(package, name)}")
    return spec


def package_of(spec: EnvSpec) -> str:
    """Return the module of an environment's constructor, or an empty text."""
    creator: Any = spec.entry_point
    if isinstance(creator, str):
        return creator.partition(":")[0]
    creator = creator.func if isinstance(creator, functools.partial) else creator
    return getattr(creator, "__module__", "")


def _other_ids(package: str, name: str) -> str:
    """Return what to type in the place of an unknown id."""
    if not package:
        close = _similar_ids(name, gymnasium.registry.values())
        if close:
            return f"did you mean {', '.join(close)}?"
        return "where a package registers it, write env.id=package:Name-v0"
    top_level = package.partition(".")[0]
    own = [s for s in gymnasium.registry.values() if package_of(s).partition(".")[0] == top_level]
    close = [f"{package}:{other}" for other in _similar_ids(name, own)]
    if close:
        return f"did you mean {', '.join(close)}?"
    if _is_registered_with_gym(name):
        return (
            f"{package} registers it with gym, the predecessor of gymnasium; shimmy converts many "
            f"of them: env.id=shimmy:GymV21Environment-v0 env.kwargs.env_id={package}:{name}, or "
            "GymV26Environment-v0 for the interface of Gym 0.26"
        )
    if not own:
        return (
            f"{package} registers nothing with gymnasium; if a module of it does, name that one: "
            f"env.id={package}.MODULE:{name}"
        )
    shown = ", ".join(spec.id for spec in own[:5])
    return f"{package} does not register it; it registers {len(own)}, such as {shown}"


def _is_registered_with_gym(name: str) -> bool:
    registration = sys.modules.get("gym.envs.registration")
    registry = getattr(registration, "registry", {})
    return name in getattr(registry, "env_specs", registry)  # Gym 0.21, Gym 0.26


def _similar_ids(name: str, specs: Iterable[EnvSpec]) -> list[str]:
    """Return other versions of the same name, newest first, or else similar names."""
    specs = list(specs)
    try:
        namespace, base, _ = parse_env_id(name)
    except gymnasium.error.Error:
        namespace, base = None, name
    versions = [s for s in specs if s.name == base and namespace in (None, s.namespace)]
    if versions:
        versions.sort(key=lambda spec: spec.version or 0, reverse=True)
        return [spec.id for spec in versions[:1]]
    # Only ids of the same namespace: another namespace means a missing package, not a typo.
    return nearest(name, [spec.id for spec in specs if spec.id.startswith(namespace or "")])


def constructor_arguments(id: str) -> list[str]:
    """Return the names of the arguments of an environment's constructor.

    Raises:
        UserError: if the environment is unknown or cannot be imported.
    """
    try:
        return list(_signature(registered(id)).parameters)
    except (ImportError, DependencyNotInstalled) as error:
        raise UserError(f"env.id={id}: {missing_package(error)}") from error


def _signature(spec: EnvSpec) -> inspect.Signature:
    entry_point = spec.entry_point
    with silent_libraries():
        creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    assert creator is not None, f"{spec.id} is registered without an entry point"
    return inspect.signature(creator)


def check_kwargs(spec: EnvSpec, kwargs: dict[str, Any]) -> None:
    """Raise UserError, with the allowed names, if the constructor takes no such arguments."""
    signature = _signature(spec)
    try:
        signature.bind(**{**spec.kwargs, **kwargs})
    except TypeError as error:
        if kwargs.get("render_mode") == "rgb_array" and "render_mode" in str(error):
            raise UserError(
                f"env.obs=pixels: {spec.id} takes no render_mode, so it cannot render; leave out "
                "env.obs, and an environment that observes images is used as it is"
            ) from error
        allowed = ", ".join(signature.parameters) or "none"
        raise UserError(f"env.kwargs={kwargs}: {error}; {spec.id} takes {allowed}") from error


def missing_package(error: BaseException) -> str:
    """Return the error's first line, or for a missing extra the command that installs it."""
    reason = str(error).strip().partition("\n")[0]
    if isinstance(error, ModuleNotFoundError | DependencyNotInstalled):
        for word, extra in _EXTRAS.items():
            if word in reason.lower():
                return f"{word} is not installed; {install_extra(extra)}"
    return reason
