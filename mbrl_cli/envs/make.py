"""Build an environment from its gymnasium id; every mistake in it is answered in one line."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.error import DependencyNotInstalled

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.pixels import ActionRepeat, Pixels
from mbrl_cli.errors import EnvironmentFault, UserError, nearest
from mbrl_cli.types import Count

# What a "not installed" text mentions -> the extra of mbrl-cli that brings it.
_EXTRAS = {
    "mujoco": "mujoco", "box2d": "box2d", "ale_py": "atari", "pygame": "render",
    "shimmy": "dmc", "dm_control": "dmc",
}  # fmt: skip
# What an id begins with -> the modules whose import registers it.
_REGISTERED_BY = {"ALE/": ("ale_py",), "dm_control/": ("dm_control", "shimmy")}

_OWN: dict[str, tuple[str, int | None]] = {
    "mbrl/GridWorld-v0": ("mbrl_cli.envs.gridworld:GridWorld", None),  # truncates itself
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
        reward: `learned` by the model, `known` from the environment's simulator, or
            `package.module:function` of the torch tensors obs [..., O], action in the
            environment's own units (see `ActionCodec.decode`) and next_obs [..., O], which
            returns [...].
        termination: The same choices for the end of the task.
        obs: `vector`, or `pixels`: the environment's rendered pictures.
        pixel_size: Rows and columns of a picture, 4 times a power of two.
        pixel_grey: Whether a picture is its brightness alone, or three colours.
        frame_stack: How many pictures are shown at a time.
        action_repeat: For how many steps an action is held.
        recommended: Run-level defaults that `config/` reads from the YAML; unused here.

    Raises:
        UserError: Where the id, its package, an argument or a space does not fit.
    """
    kwargs = dict(kwargs or {})
    if max_episode_steps is not None and max_episode_steps < 1:
        raise UserError(f"env.max_episode_steps={max_episode_steps}: must be >= 1 or null")
    if obs == "pixels":
        _check_pixels(pixel_size, {"reward": reward, "termination": termination})
        kwargs["render_mode"] = "rgb_array"
    spec = _find(id)
    try:
        _check_kwargs(spec, kwargs)
        with warnings.catch_warnings():
            # Nobody but the environment's author can act on this one.
            warnings.filterwarnings("ignore", message=".*precision lowered by casting")
            gym_env = gymnasium.make(
                spec, max_episode_steps=max_episode_steps, disable_env_checker=True, **kwargs
            )
            if action_repeat > 1:
                gym_env = ActionRepeat(gym_env, action_repeat)
            if obs == "pixels":
                gym_env = Pixels(gym_env, pixel_size, pixel_grey, frame_stack)
    except (ImportError, DependencyNotInstalled) as error:
        raise UserError(f"env.id={id}: {_remedy(error)}") from error
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {_first_line(error)}"
        if not kwargs:  # not what the user asked for
            raise EnvironmentFault(f"env.id={id}: cannot be built ({reason})") from error
        raise UserError(f"env.kwargs={kwargs}: {id} refused them: {reason}") from error
    return Env(gym_env, reward=reward, termination=termination)


def _check_pixels(size: int, known: Mapping[str, str]) -> None:
    if size < 8 or size & (size - 1):
        raise UserError(f"env.pixel_size={size}: must be 8, 16, 32, 64 or another power of two")
    for role, choice in known.items():
        if choice == "known":
            raise UserError(
                f"env.{role}=known: is a function of vectors; with env.obs=pixels it is learned: "
                f"env.{role}=learned"
            )


def _find(id: str) -> EnvSpec:
    package, _, name = id.rpartition(":")
    by_name = _REGISTERED_BY.get(name[: name.find("/") + 1], ())
    for module in (package,) if package else by_name:
        try:
            importlib.import_module(module)
        except ImportError as error:
            reason = f"cannot import {module}: {_remedy(error)}"
            raise UserError(f"env.id={id}: {reason}") from error
    spec = gymnasium.registry.get(name)
    if spec is None:
        namespace = name.rpartition("/")[0]  # a foreign one is a missing package, not a typo
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


def _remedy(error: Exception) -> str:
    """Return the reason, and for a missing package of ours the command that installs it."""
    reason = _first_line(error)
    if isinstance(error, ModuleNotFoundError | DependencyNotInstalled):
        for word, extra in _EXTRAS.items():
            if word in reason.lower():
                return f'{word} is not installed; pip install "mbrl-cli[{extra}]"'
    return reason


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
