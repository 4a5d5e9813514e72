"""The environment of a run, with images."""

from __future__ import annotations

from typing import Any

import gymnasium

from mbrl_cli.api.run import Run
from mbrl_cli.errors import UserError


def make_rendering_env(run: Run) -> gymnasium.Env[Any, Any]:
    """Return a new environment of a run whose `render` returns an image.

    Raises:
        UserError: if the environment has no such images.
    """
    env = run.make_env()
    modes = env.metadata.get("render_modes") or ()
    if env.render_mode == "rgb_array":  # env.obs=pixels
        return env
    env.close()
    if "rgb_array" not in modes:
        has = ", ".join(str(mode) for mode in modes) or "none"
        raise UserError(
            f"env.id={run.config['env']['id']}: cannot be played, because its render modes ({has}) "
            f"do not include rgb_array; to see returns type: mbrl eval {run.folder}"
        )
    return run.make_env(render_mode="rgb_array")
