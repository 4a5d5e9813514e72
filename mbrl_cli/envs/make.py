"""Build an environment from its gymnasium id and the arguments of the YAML group `env`."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.error import DependencyNotInstalled

from mbrl_cli.envs.action_repeat import ActionRepeat
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.pixels import Pixels
from mbrl_cli.errors import EnvironmentFault, UserError, nearest
from mbrl_cli.types import Count

# Package named in a "not installed" error -> the extra of mbrl-cli that installs it.
_EXTRAS = {
    "mujoco": "mujoco", "box2d": "box2d", "ale_py": "atari", "pygame": "render",
    "shimmy": "dmc", "dm_control": "dmc",
}  # fmt: skip
# Prefix of an id -> the modules whose import registers it.
_REGISTERED_BY = {"ALE/": ("ale_py",), "dm_control/": ("dm_control", "shimmy")}

_OWN: dict[str, tuple[str, int | None]] = {
    "mbrl/GridWorld-v0": ("mbrl_cli.envs.gridworld:GridWorld", None),  # it truncates itself
    "mbrl/CartPoleContinuous-v0": ("mbrl_cli.envs.cartpole_continuous:CartPoleContinuous", 200),
}
for _id, (_entry_point, _limit) in _OWN.items():
    if _id not in gymnasium.registry:
        gymnasium.register(_id, entry_point=_entry_point, max_episode_steps=_limit)


def make_env(
    id: str,
    kwargs: dict[str, Any] | None = None,
    max_episode_steps: int | None = None,
    reward: str = "learned",
    termination: str = "learned",
    simulator: str = "auto",
    obs: Literal["vector", "pixels"] = "vector",
    pixel_size: int = 16,
    pixel_grey: bool = True,
    frame_stack: Count = 1,
    action_repeat: Count = 1,
    recommended: dict[str, Any] | None = None,
) -> Env:
    """Build the environment `id` (`Name-v0`, or `module:Name-v0` to import its package first).

    Args:
        id: The gymnasium id.
        kwargs: Arguments of the environment's constructor.
        max_episode_steps: Replaces the registered time limit.
        reward: `learned` by the model, `known` from the simulator, or `package.module:function` of
            the torch tensors obs [..., O], action in the environment's own units (see
            `ActionCodec.decode`) and next_obs [..., O], which returns [...].
        termination: The same choices for the termination of the task; the function returns bool.
        simulator: `auto`: the simulator of this package, if the environment has one; or
            `package.module:function`, which gets the gymnasium environment with its wrappers and
            returns an object with the methods of `mbrl_cli.types.Simulator` (encoded actions).
        obs: `vector`: the environment's own observations; `pixels`: its rendered images.
        pixel_size: Rows and columns of an image: 8, 16, 32 or another power of two.
        pixel_grey: Whether an image has one brightness channel instead of three colours.
        frame_stack: Number of images in an observation, the last ones.
        action_repeat: Number of environment steps for which each action is repeated.
        recommended: Run-level defaults that `config/` reads from the YAML; unused here.

    Raises:
        UserError: If the id is unknown, its package is missing, or an argument is wrong.
        EnvironmentFault: If the environment cannot be built with its default arguments.
    """
    kwargs = dict(kwargs or {})
    if max_episode_steps is not None and max_episode_steps < 1:
        raise UserError(f"env.max_episode_steps={max_episode_steps}: must be >= 1 or null")
    if obs == "pixels":
        _check_pixels(pixel_size, {"reward": reward, "termination": termination})
        kwargs["render_mode"] = "rgb_array"
    spec = _registered(id)
    try:
        _check_kwargs(spec, kwargs)
        with warnings.catch_warnings():
            # Only the environment's author can act on this warning.
            warnings.filterwarnings("ignore", message=".*precision lowered by casting")
            gym_env = gymnasium.make(
                spec, max_episode_steps=max_episode_steps, disable_env_checker=True, **kwargs
            )
            if action_repeat > 1:
                gym_env = ActionRepeat(gym_env, action_repeat)
            if obs == "pixels":
                gym_env = Pixels(gym_env, pixel_size, pixel_grey, frame_stack)
    except (ImportError, DependencyNotInstalled) as error:
        raise UserError(f"env.id={id}: {_reason(error)}") from error
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {_first_line(error)}"
        if not kwargs:  # so the fault is not in the user's arguments
            raise EnvironmentFault(f"env.id={id}: cannot be built ({reason})") from error
        raise UserError(f"env.kwargs={kwargs}: {id} refused them: {reason}") from error
    return Env(gym_env, reward=reward, termination=termination, simulator=simulator)


def _check_pixels(size: int, known: Mapping[str, str]) -> None:
    if size < 8 or size & (size - 1):
        raise UserError(f"env.pixel_size={size}: must be 8, 16, 32, 64 or another power of two")
    for role, choice in known.items():
        if choice == "known":
            raise UserError(
                f"env.{role}=known: is a function of vectors; with env.obs=pixels use "
                f"env.{role}=learned"
            )


def _registered(id: str) -> EnvSpec:
    """Return gymnasium's registration of `id`, after importing the package that registers it."""
    package, _, name = id.rpartition(":")
    by_prefix = _REGISTERED_BY.get(name[: name.find("/") + 1], ())
    for module in (package,) if package else by_prefix:
        try:
            importlib.import_module(module)
        except ImportError as error:
            reason = f"cannot import {module}: {_reason(error)}"
            raise UserError(f"env.id={id}: {reason}") from error
    spec = gymnasium.registry.get(name)
    if spec is None:
        # Only ids of the same namespace: another namespace means a missing package, not a typo.
        namespace = name.rpartition("/")[0]
        close = nearest(name, [key for key in gymnasium.registry if key.startswith(namespace)])
        hint = (
            f"did you mean {', '.join(close)}?"
            if close
            else "where a package registers it, write env.id=package:Name-v0"
        )
        raise UserError(f"env.id={id}: unknown environment; {hint}")
    return spec


def _check_kwargs(spec: EnvSpec, kwargs: dict[str, Any]) -> None:
    entry_point = spec.entry_point
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    assert creator is not None, f"{spec.id} is registered without an entry point"
    signature = inspect.signature(creator)
    try:
        signature.bind(**{**spec.kwargs, **kwargs})
    except TypeError as error:
        allowed = ", ".join(signature.parameters) or "none"
        raise UserError(f"env.kwargs={kwargs}: {error}; {spec.id} takes {allowed}") from error


def _reason(error: Exception) -> str:
    """Return the error's first line, or for a missing extra the command that installs it."""
    reason = _first_line(error)
    if isinstance(error, ModuleNotFoundError | DependencyNotInstalled):
        for word, extra in _EXTRAS.items():
            if word in reason.lower():
                return f'{word} is not installed; pip install "mbrl-cli[{extra}]"'
    return reason


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
