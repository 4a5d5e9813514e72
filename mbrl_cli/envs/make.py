"""Build an environment from its gymnasium id and the arguments of the YAML group `env`."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator, parse_env_id
from gymnasium.error import DependencyNotInstalled

from mbrl_cli.envs.action_repeat import ActionRepeat
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.image_observation import ImageObservation, image_layout
from mbrl_cli.envs.interface_check import with_interface_check
from mbrl_cli.envs.pixels import Pixels
from mbrl_cli.envs.reward_scale import with_reward_scale
from mbrl_cli.envs.silent_libraries import silent_libraries
from mbrl_cli.envs.user_wrappers import apply_wrappers, check_wrappers
from mbrl_cli.errors import EnvironmentFault, UserError, install_extra, nearest
from mbrl_cli.signals import reraise_stop
from mbrl_cli.types import Count, PositiveFloat

# Package named in a "not installed" error -> the extra that installs it.
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
    wrappers: Any = (),
    max_episode_steps: int | None = None,
    reward: str = "learned",
    termination: str = "learned",
    simulator: str = "auto",
    obs: Literal["vector", "pixels"] = "vector",
    pixel_size: int = 16,
    pixel_grey: bool = True,
    frame_stack: Count = 1,
    action_repeat: Count = 1,
    reward_scale: PositiveFloat = 1.0,
    recommended: dict[str, Any] | None = None,
) -> Env:
    """Build the environment `id` (`Name-v0`, or `module:Name-v0` to import its package first).

    Args:
        id: The gymnasium id.
        kwargs: Arguments of the environment's constructor.
        wrappers: Wrappers of gymnasium around the environment, the first one innermost: each
            `package.Wrapper`, or {_target_: package.Wrapper, argument: value}.
        max_episode_steps: Replaces the registered time limit.
        reward: `learned` by the model, `known` from the simulator, or `package.module:function` of
            the torch tensors obs [..., O], action in the environment's own units (see
            `ActionCodec.decode`) and next_obs [..., O], which returns [...].
        termination: The same choices for the termination of the task; the function returns bool.
        simulator: `auto`: the simulator of this package, if the environment has one; or
            `package.module:function`, which gets the gymnasium environment with its wrappers and
            returns an object with the methods of `mbrl_cli.types.Simulator` (encoded actions).
        obs: `vector`: the environment's own observations, which may be images (see
            `ImageObservation`); `pixels`: its rendered images.
        pixel_size: Rows and columns of an image: 8, 16, 32 or another power of two.
        pixel_grey: Whether an image has one brightness channel instead of three colours.
        frame_stack: Number of images in an observation, the last ones.
        action_repeat: Number of environment steps for which each action is repeated.
        reward_scale: Factor of the rewards that models and agents see; logged returns are in the
            environment's own units.
        recommended: Run-level defaults that `config/` reads from the YAML; unused here.

    Raises:
        UserError: If the id is unknown, its package is missing, or an argument is wrong.
        EnvironmentFault: If the environment cannot be built with its default arguments.
    """
    user_kwargs = dict(kwargs or {})
    _refuse_nan("env.kwargs", user_kwargs)
    wrappers = check_wrappers(wrappers)
    if max_episode_steps is not None and max_episode_steps < 1:
        raise UserError(f"env.max_episode_steps={max_episode_steps}: must be >= 1 or null")
    kwargs = user_kwargs
    if obs == "pixels":
        _check_pixels(pixel_size, {"reward": reward, "termination": termination})
        kwargs = {**user_kwargs, "render_mode": "rgb_array"}
        _choose_headless_rendering()
    spec = _registered(id)
    try:
        _check_kwargs(spec, kwargs)
        with warnings.catch_warnings(), silent_libraries():
            # Only the environment's author can act on this warning.
            warnings.filterwarnings("ignore", message=".*precision lowered by casting")
            gym_env = gymnasium.make(
                spec, max_episode_steps=max_episode_steps, disable_env_checker=True, **kwargs
            )
            gym_env = with_interface_check(gym_env)
            if not wrappers:
                _check_reward(id, gym_env)
            if obs == "vector":
                _refuse_atari_images(id, gym_env, wrappers)
            gym_env = apply_wrappers(gym_env, wrappers)
            if action_repeat > 1:
                gym_env = ActionRepeat(gym_env, action_repeat)
            if obs == "pixels":
                gym_env = Pixels(gym_env, pixel_size, pixel_grey, frame_stack)
            elif image_layout(gym_env.observation_space) and (reward, termination) == (
                "learned",
                "learned",
            ):  # functions of observations get the environment's own
                gym_env = ImageObservation(gym_env)
    except (ImportError, DependencyNotInstalled) as error:
        raise UserError(f"env.id={id}: {_reason(error)}{_rendering_hint(obs)}") from error
    except UserError:
        raise
    except BaseException as error:  # SystemExit too
        reraise_stop(error)
        reason = f"{type(error).__name__}: {_first_line(error)}{_rendering_hint(obs)}"
        if not user_kwargs:  # so the fault is not in the user's arguments
            raise EnvironmentFault(f"env.id={id}: cannot be built ({reason})") from error
        raise UserError(f"env.kwargs={user_kwargs}: {id} refused them: {reason}") from error
    env = Env(gym_env, reward=reward, termination=termination, simulator=simulator)
    env.spec = with_reward_scale(env.spec, reward_scale)
    return env


def _refuse_nan(key: str, value: Any) -> None:
    if isinstance(value, float) and math.isnan(value):
        raise UserError(f"{key}=nan: must be a number")
    if isinstance(value, Mapping):
        for name, part in value.items():
            _refuse_nan(f"{key}.{name}", part)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, part in enumerate(value):
            _refuse_nan(f"{key}[{index}]", part)


def _check_reward(id: str, gym_env: gymnasium.Env[Any, Any]) -> None:
    """Refuse an environment of multi-objective RL, whose rewards are vectors."""
    shape = getattr(getattr(gym_env.unwrapped, "reward_space", None), "shape", None)
    if shape and math.prod(shape) > 1:
        raise UserError(
            f"env.id={id}: its rewards are vectors {list(shape)}; weigh their entries with a "
            "wrapper: env.wrappers=[mo_gymnasium.wrappers.LinearReward]"
        )


def _refuse_atari_images(
    id: str, gym_env: gymnasium.Env[Any, Any], wrappers: Sequence[str | dict[str, Any]]
) -> None:
    shape = gym_env.observation_space.shape
    if "ale_py" in type(gym_env.unwrapped).__module__ and not wrappers and len(shape or ()) > 1:
        raise UserError(
            f"env.id={id}: its observations are images {list(shape or ())}; use env.obs=pixels, "
            "or env.kwargs.obs_type=ram"
        )


def _choose_headless_rendering() -> None:
    """Let MuJoCo render without a display, unless the user has chosen how."""
    has_display = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    if sys.platform == "linux" and not has_display:
        os.environ.setdefault("MUJOCO_GL", "egl")


def _rendering_hint(obs: str) -> str:
    """Return what to try if images cannot be rendered."""
    backend = os.environ.get("MUJOCO_GL")
    if obs != "pixels" or backend is None:
        return ""
    other = "osmesa" if backend == "egl" else "egl"
    return f"; rendering used MUJOCO_GL={backend}, try MUJOCO_GL={other}"


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
            with silent_libraries():
                importlib.import_module(module)
        except BaseException as error:  # an import may raise anything, SystemExit too
            reraise_stop(error)
            kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
            reason = f"cannot import {module}: {kind}{_reason(error)}"
            raise UserError(f"env.id={id}: {reason}") from error
    spec = gymnasium.registry.get(name)
    if spec is None:
        prefix = f"{package}:" if package else ""
        close = [f"{prefix}{other}" for other in _similar_ids(name)]
        hint = "where a package registers it, write env.id=package:Name-v0"
        if package:
            hint = f"{package} does not register it"
        if close:
            hint = f"did you mean {', '.join(close)}?"
        raise UserError(f"env.id={id}: unknown environment; {hint}")
    return spec


def _similar_ids(name: str) -> list[str]:
    """Return other versions of the same name, newest first, or else similar names."""
    try:
        namespace, base, _ = parse_env_id(name)
    except gymnasium.error.Error:
        namespace, base = None, name
    versions = [
        spec
        for spec in gymnasium.registry.values()
        if (spec.namespace, spec.name) == (namespace, base)
    ]
    if versions:
        versions.sort(key=lambda spec: spec.version or 0, reverse=True)
        return [spec.id for spec in versions[:1]]
    # Only ids of the same namespace: another namespace means a missing package, not a typo.
    return nearest(name, [key for key in gymnasium.registry if key.startswith(namespace or "")])


def constructor_arguments(id: str) -> list[str]:
    """Return the names of the arguments of an environment's constructor.

    Raises:
        UserError: if the environment is unknown or cannot be imported.
    """
    try:
        return list(_signature(_registered(id)).parameters)
    except (ImportError, DependencyNotInstalled) as error:
        raise UserError(f"env.id={id}: {_reason(error)}") from error


def _signature(spec: EnvSpec) -> inspect.Signature:
    entry_point = spec.entry_point
    with silent_libraries():
        creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    assert creator is not None, f"{spec.id} is registered without an entry point"
    return inspect.signature(creator)


def _check_kwargs(spec: EnvSpec, kwargs: dict[str, Any]) -> None:
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


def _reason(error: BaseException) -> str:
    """Return the error's first line, or for a missing extra the command that installs it."""
    reason = _first_line(error)
    if isinstance(error, ModuleNotFoundError | DependencyNotInstalled):
        for word, extra in _EXTRAS.items():
            if word in reason.lower():
                return f"{word} is not installed; {install_extra(extra)}"
    return reason


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
