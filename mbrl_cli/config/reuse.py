"""`model_from=RUN_DIR`: start a run with the model, and perhaps the data, of another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from mbrl_cli.checkpoint_store import load_newest_agent_state, load_newest_replay
from mbrl_cli.config.changes import refuse_sizes
from mbrl_cli.config.run_folder import saved_config
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.run_settings import RunSettings
from mbrl_cli.types import EnvSpec


def load_model(settings: RunSettings, model: Model | None, env: Mapping[str, Any]) -> None:
    """Load what the run at `settings.model_from` learned into `model`.

    Args:
        settings: of the new run.
        model: of the new run.
        env: arguments of the new run's environment.

    Raises:
        UserError: where there is nothing to load, sizes differ, or the saved model lacks a part
            because its run knew the reward or the termination.
    """
    folder = Path(settings.model_from or "")
    hint = f"model_from={folder}"
    if model is None:
        raise UserError(f"{hint}: the agent uses no model; use agent=mpc or another that has one")
    source = saved_config(folder, trust=True)  # nothing of it is built
    saved = load_newest_agent_state(folder)["agent"].get("model")
    if not saved or not saved.get("is_fitted"):
        raise UserError(f"{hint}: has learned no model yet")
    refuse_sizes(saved, model.state_dict(), hint)
    for part in ("reward", "termination"):
        theirs = OmegaConf.select(source, f"env.{part}")
        if env.get(part, "learned") == "learned" and theirs != "learned":
            raise UserError(
                f"{hint}: that run did not learn the {part}, env.{part}={theirs} there; "
                f"choose one here: env.{part}=known or package.module:function"
            )
    model.load_state_dict(saved)


def replay_of(settings: RunSettings, spec: EnvSpec) -> tuple[dict[str, np.ndarray], int]:
    """Return the transitions of the run at `settings.model_from` by field, and its episodes."""
    stored, episodes = load_newest_replay(Path(settings.model_from or ""))
    sizes = [stored[name].shape[1] for name in ("obs", "action")]
    if sizes != [spec.obs_dim, spec.action.dim]:
        raise UserError(
            f"model_from_replay=true: observations and actions of {settings.model_from} have "
            f"{sizes} entries, here [{spec.obs_dim}, {spec.action.dim}]"
        )
    return stored, episodes
