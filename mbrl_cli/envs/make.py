"""Build an environment from its gymnasium id and the arguments of the YAML group `env`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import DependencyNotInstalled

from mbrl_cli.envs.action_repeat import ActionRepeat
from mbrl_cli.envs.described_error import described_error
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.headless import rendering_hint, use_no_display
from mbrl_cli.envs.image_observation import (
    ImageObservation,
    image_layout,
    refuse_images_beside_other_parts,
)
from mbrl_cli.envs.interface_check import with_interface_check
from mbrl_cli.envs.pixels import Pixels
from mbrl_cli.envs.registration import check_kwargs, missing_package, package_of, registered
from mbrl_cli.envs.silent_libraries import silent_libraries
from mbrl_cli.envs.user_wrappers import apply_wrappers, check_wrappers
from mbrl_cli.envs.version_conflict import version_conflict
from mbrl_cli.errors import EnvironmentFault, UserError
from mbrl_cli.signals import reraise_stop
from mbrl_cli.types import Count


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
    task: str | None = None,
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
        task: Short form of the id of DeepMind Control: `walker-walk` for
            `dm_control/walker-walk-v0`; None: the id is given in full.
        recommended: Run-level defaults that `config/` reads from the YAML; unused here.

    Raises:
        UserError: If the id is unknown, its package is missing, or an argument is wrong.
        EnvironmentFault: If the environment cannot be built with its default arguments.
    """
    if task is not None and id != f"dm_control/{task}-v0":
        raise UserError(
            f"env.task={task}: differs from env.id={id}; env=dmc reads env.task, and only where "
            "env.id is not given"
        )
    user_kwargs = dict(kwargs or {})
    _refuse_nan("env.kwargs", user_kwargs)
    wrappers = check_wrappers(wrappers)
    if max_episode_steps is not None and max_episode_steps < 1:
        raise UserError(f"env.max_episode_steps={max_episode_steps}: must be >= 1 or null")
    kwargs = user_kwargs
    if obs == "pixels":
        _check_pixels(pixel_size, {"reward": reward, "termination": termination})
        kwargs = {**user_kwargs, "render_mode": "rgb_array"}
    if kwargs.get("render_mode") != "human":
        use_no_display()
    spec = registered(id)
    try:
        check_kwargs(spec, kwargs)
        with warnings.catch_warnings(), silent_libraries():
            # Only the environment's author can act on this warning.
            warnings.filterwarnings("ignore", message=".*precision lowered by casting")
            gym_env = gymnasium.make(
                spec, max_episode_steps=max_episode_steps, disable_env_checker=True, **kwargs
            )
            gym_env = with_interface_check(gym_env)
            if not wrappers:
                _check_reward(id, gym_env)
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
            else:
                refuse_images_beside_other_parts(id, gym_env.observation_space)
    except (ImportError, DependencyNotInstalled) as error:
        raise UserError(f"env.id={id}: {missing_package(error)}{_hint(obs, spec)}") from error
    except UserError:
        raise
    except BaseException as error:  # SystemExit too
        reraise_stop(error)
        reason = f"{described_error(error)}{_hint(obs, spec)}"
        if not user_kwargs:  # so the fault is not in the user's arguments
            raise EnvironmentFault(f"env.id={id}: cannot be built ({reason})") from error
        raise UserError(f"env.kwargs={user_kwargs}: {id} refused them: {reason}") from error
    env = Env(gym_env, reward=reward, termination=termination, simulator=simulator)
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
            "wrapper: 'env.wrappers=[{_target_: mo_gymnasium.wrappers.LinearReward, weight: "
            f"[{', '.join(['1.0'] * math.prod(shape))}]}}]'"
        )


def _hint(obs: str, spec: EnvSpec) -> str:
    """Return what may help if an environment cannot be built, after a semicolon, or nothing."""
    hints = [version_conflict(package_of(spec)), rendering_hint() if obs == "pixels" else ""]
    return "".join(f"; {hint}" for hint in hints if hint)


def _check_pixels(size: int, known: Mapping[str, str]) -> None:
    if size < 8 or size & (size - 1):
        raise UserError(f"env.pixel_size={size}: must be 8, 16, 32, 64 or another power of two")
    for role, choice in known.items():
        if choice == "known":
            raise UserError(
                f"env.{role}=known: is a function of vectors; with env.obs=pixels use "
                f"env.{role}=learned"
            )
