"""OmegaConf resolvers of the YAML files, such as for_env and job_name."""

from __future__ import annotations

import inspect
import math
import secrets
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mbrl_cli.config.job_name import job_name

EVALUATIONS = 8  # of a run, the final one included


def register_resolvers() -> None:
    """Register the resolvers; a second call has no effect."""
    _register("for_env", _for_env)
    # The cache makes every use of the token in one config return the same value.
    _register("run_token", lambda: secrets.token_hex(2), use_cache=True)
    _register("eval_interval", _eval_interval)
    _register("dmc_id", lambda task, default: f"dm_control/{task or default}-v0")
    _register("job_name", _job_name)
    # CPUs that a launcher asks for: one per torch thread.
    _register("cpus", lambda threads: 1 if threads == "auto" else threads)


def _register(name: str, resolver: Callable[..., Any], use_cache: bool = False) -> None:
    """Register a resolver; OmegaConf 2.4 warns about the name that the function has in 2.3."""
    register: Callable[..., None] = OmegaConf.register_new_resolver
    if "replace" in inspect.signature(OmegaConf.register_resolver).parameters:
        register = OmegaConf.register_resolver
    register(name, resolver, replace=True, use_cache=use_cache)


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
