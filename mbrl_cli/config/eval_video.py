"""The key `eval_video`: evaluation environments that render images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gymnasium.error import DependencyNotInstalled

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.global_random import restored_global_generators
from mbrl_cli.envs.registration import missing_package
from mbrl_cli.errors import UserError
from mbrl_cli.run_settings import RunSettings


def rendering_arguments(
    arguments: Mapping[str, Any], env: Env, settings: RunSettings
) -> dict[str, Any]:
    """Return the arguments of `make_env` with which the environment renders images.

    Args:
        arguments: the checked keys of the group `env`.
        env: the training environment.
        settings: with `eval_video` above 0.

    Raises:
        UserError: if evaluation has no environment of its own, or the environment has no images.
    """
    key = f"eval_video={settings.eval_video}"
    if settings.eval_envs == 0:
        raise UserError(
            f"{key}: needs environments of its own, and eval_envs=0 has none; use eval_envs=1, or "
            "eval_video=0"
        )
    if env.gym.render_mode == "rgb_array":  # env.obs=pixels
        return dict(arguments)
    modes = env.gym.metadata.get("render_modes") or ()
    if "rgb_array" not in modes:
        has = ", ".join(str(mode) for mode in modes) or "none"
        raise UserError(
            f"{key}: {env.spec.id} does not render rgb_array (its render modes: {has}); use "
            "eval_video=0"
        )
    kwargs = {**(arguments.get("kwargs") or {}), "render_mode": "rgb_array"}
    return {**arguments, "kwargs": kwargs}


def check_rendering(new_env: Callable[[], Env], settings: RunSettings) -> None:
    """Render one image; raise UserError if this fails, for example without pygame."""
    env = new_env()
    try:
        with restored_global_generators():
            env.reset(settings.seed)
            env.gym.render()
    except (ImportError, DependencyNotInstalled) as error:
        raise UserError(
            f"eval_video={settings.eval_video}: {missing_package(error)}; or use eval_video=0"
        ) from error
    finally:
        env.close()
