"""`model_from=RUN_DIR`: start a run with the learned model, and optionally the data, of another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from mbrl_cli.checkpoint_store import CONFIGS, load_newest_agent_state, load_newest_replay
from mbrl_cli.config.saved_config import read_saved_config, refuse_other_config
from mbrl_cli.config.state_shapes import refuse_other_shapes
from mbrl_cli.errors import UserError, printable
from mbrl_cli.models.base import Model
from mbrl_cli.run_settings import RunSettings
from mbrl_cli.types import EnvSpec


def load_source_model(settings: RunSettings, model: Model | None, env: Mapping[str, Any]) -> None:
    """Load into `model` what the run in `settings.model_from` learned.

    Args:
        settings: settings of the new run.
        model: the new run's model.
        env: arguments of the new run's environment.

    Raises:
        UserError: if there is nothing to load, if shapes differ, or if the saved model lacks its
            reward or termination network because its run used a known function.
    """
    folder = Path(settings.model_from or "")
    hint = f"model_from={folder}"
    if model is None:
        raise UserError(f"{hint}: the agent uses no model; use agent=mpc or another that has one")
    source = read_saved_config(folder)  # nothing of it is imported or resolved
    newest, damaged = load_newest_agent_state(folder)
    refuse_other_config(folder, newest.get(CONFIGS, []), newest["env_step"])
    for reason in damaged:
        print(f"mbrl: {printable(reason)}; another checkpoint is used")
    saved = newest["agent"].get("model")
    if not isinstance(saved, dict) or not saved or not saved.get("is_fitted"):
        raise UserError(f"{hint}: that run has no fitted model yet")
    refuse_other_shapes(saved, model.state_dict(), hint)
    source_env = source["env"] if isinstance(source["env"], dict) else {}
    for part in ("reward", "termination"):
        in_source = str(source_env.get(part))[:80]
        if env.get(part, "learned") == "learned" and in_source != "learned":
            raise UserError(
                f"{hint}: that run did not learn the {part}, env.{part}={in_source} there; "
                f"use env.{part}=known or env.{part}=package.module:function"
            )
    model.load_state_dict(saved)


def make_source_absolute(cfg: DictConfig) -> None:
    """Replace a relative `model_from` by the absolute path.

    The run folder keeps the value, and a run may be resumed in another current folder.
    """
    source = cfg.get("model_from")
    if isinstance(source, str):
        cfg.model_from = str(Path(source).absolute())


def load_source_replay(settings: RunSettings, spec: EnvSpec) -> tuple[dict[str, np.ndarray], int]:
    """Return the replay of the run in `settings.model_from`: arrays by field, number of episodes.

    Raises:
        UserError: if observations or actions have another length than here.
    """
    stored, episodes = load_newest_replay(Path(settings.model_from or ""))
    sizes = [stored[name].shape[1] for name in ("obs", "action")]
    if sizes != [spec.obs_dim, spec.action.dim]:
        raise UserError(
            f"model_from_replay=true: observations and actions in {settings.model_from} have "
            f"{sizes} entries, here [{spec.obs_dim}, {spec.action.dim}]; use "
            "model_from_replay=false, or a run of the same environment"
        )
    return stored, episodes
