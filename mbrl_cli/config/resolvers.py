"""OmegaConf resolvers of the YAML files: for_env, eval_interval, run_token, job_name, dmc_id."""

from __future__ import annotations

import math
import secrets
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mbrl_cli.config.job_name import job_name

EVALUATIONS = 8  # of a run, the final one included


def register_resolvers() -> None:
    """Register the resolvers; a second call has no effect."""
    OmegaConf.register_new_resolver("for_env", _for_env, replace=True)
    # The cache makes every use of the token in one config return the same value.
    OmegaConf.register_new_resolver(
        "run_token", lambda: secrets.token_hex(2), replace=True, use_cache=True
    )
    OmegaConf.register_new_resolver("eval_interval", _eval_interval, replace=True)
    OmegaConf.register_new_resolver(
        "dmc_id", lambda task, default: f"dm_control/{task or default}-v0", replace=True
    )
    OmegaConf.register_new_resolver("job_name", _job_name, replace=True)


def _for_env(key: str, default: Any, *, _root_: DictConfig) -> Any:
    """Return the value that the environment's YAML recommends for `key`, else `default`.

    Values for pixels have priority where the environment shows pixels; among these and among the
    others, values for the agent have priority.
    """
    agent = OmegaConf.select(_root_, "agent_name")
    sections = [f"env.recommended.agents.{agent}", "env.recommended"]
    if OmegaConf.select(_root_, "env.obs") == "pixels":
        pixels = "env.recommended.pixels"
        sections = [f"{pixels}.agents.{agent}", pixels, *sections]
    for section in sections:
        values = OmegaConf.select(_root_, section)
        if OmegaConf.is_dict(values) and key in values:
            return values[key]
    return default


def _eval_interval(total_steps: Any, recommended: Any) -> Any:
    """Return the steps between evaluations: so many that a run has at least eight of them.

    Args:
        total_steps: of the run; the last evaluation is after these.
        recommended: steps that the environment recommends, used if they are fewer; 0: none.
    """
    if not isinstance(total_steps, int | float) or not math.isfinite(total_steps):
        return 0  # `total_steps` is reported as wrong
    eighth = max(1, math.ceil(total_steps / EVALUATIONS))
    return min(eighth, recommended) if recommended else eighth


def _job_name(*keys: str, _root_: DictConfig) -> str:
    """Return the folder name of one job of a sweep, see `job_name`.

    Without keys, those under `hydra.sweeper.params` differ, which a sweep in a YAML file has.
    """
    params = OmegaConf.select(_root_, "hydra.sweeper.params") or {}
    return job_name(list(_root_.hydra.overrides.task), [key for key in keys or params if key])
