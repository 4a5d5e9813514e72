"""OmegaConf resolvers that the YAML files use: `for_env`, `run_token` and `job_name`."""

from __future__ import annotations

import secrets
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mbrl_cli.config.job_name import job_name


def register_resolvers() -> None:
    """Register the resolvers; a second call has no effect."""
    OmegaConf.register_new_resolver("for_env", _for_env, replace=True)
    # The cache makes every use of the token in one config return the same value.
    OmegaConf.register_new_resolver(
        "run_token", lambda: secrets.token_hex(2), replace=True, use_cache=True
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


def _job_name(*keys: str, _root_: DictConfig) -> str:
    """Return the folder name of one job of a sweep, see `job_name`.

    Without keys, those under `hydra.sweeper.params` differ, which a sweep in a YAML file has.
    """
    params = OmegaConf.select(_root_, "hydra.sweeper.params") or {}
    return job_name(list(_root_.hydra.overrides.task), [key for key in keys or params if key])
