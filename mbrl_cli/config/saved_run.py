"""`mbrl eval RUN_DIR`: bring a saved run back and play evaluation episodes with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.table import Table

from mbrl_cli.checkpoint_store import load_newest_agent_state
from mbrl_cli.config.app import explain
from mbrl_cli.config.build import Parts, build
from mbrl_cli.config.changes import refuse_sizes
from mbrl_cli.config.composition import compose_config
from mbrl_cli.config.groups import GROUPS
from mbrl_cli.config.run_folder import run_folder, saved_config
from mbrl_cli.config.values import unknown_key
from mbrl_cli.errors import UserError
from mbrl_cli.evaluation import Evaluation, evaluate
from mbrl_cli.threads_and_malloc import set_threads_and_malloc

USAGE = "usage: mbrl eval RUN_DIR [eval_episodes=20] [planner=cem] [key=value ...] [--trust]"
LEARNED = ("env", "model", "agent")  # another choice of these would not fit what was learned


def evaluate_saved(argv: Sequence[str]) -> None:
    """Print a table of the evaluation returns of the run in `argv[0]`."""
    folder, overrides, trust = run_folder(argv, USAGE)
    parts, env_step = load_run(folder, overrides, trust)
    asked = any(override.startswith("eval_episodes=") for override in overrides)
    settings = parts.settings
    envs = parts.make_eval_envs(settings.eval_episodes if asked else settings.final_eval_episodes)
    result = evaluate(parts.agent, envs, settings.seed)
    for env in (parts.env, *envs):
        env.close()
    _print(f"{folder.name} after {env_step:,} steps", result)


def load_run(folder: Path, overrides: Sequence[str] = (), trust: bool = False) -> tuple[Parts, int]:
    """Return the parts of a saved run with what they had learned, and its environment step.

    Args:
        folder: a run folder.
        overrides: `key=value` for keys of the run's config, and `planner=NAME` for another planner.
        trust: whether the folder's config may name code outside of this package.

    Raises:
        UserError: if the folder holds no run, an override does not fit, or a file is damaged.
    """
    config = saved_config(folder, trust)
    loaded = load_newest_agent_state(folder)
    apply_overrides(config, overrides)
    parts = build(config, restored=True)
    set_threads_and_malloc(parts.threads)
    refuse_sizes(loaded["agent"], parts.agent.state_dict(), f"{folder}: does not fit", "agent")
    parts.agent.load_state_dict(loaded["agent"])
    return parts, loaded["env_step"]


def apply_overrides(config: DictConfig, overrides: Sequence[str]) -> None:
    """Change the run's resolved config as the command line says."""
    OmegaConf.set_struct(config, True)
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise UserError(explain(error) or str(error)) from error
    # A group's own YAML comes first, single keys change it afterwards.
    for override in sorted(parsed, key=lambda o: o.key_or_group not in GROUPS):
        key, value = override.key_or_group, override.value()
        if key in LEARNED:
            raise UserError(f"{key}={value}: a saved run keeps its {key}; planner=NAME can change")
        if key == "planner":
            config.planner = _group_config(config, key, str(value))
            continue
        section = key.rpartition(".")[0]
        # A key of a group may be younger than the run; `build` tells whether there is one.
        in_group = section.partition(".")[0] in GROUPS and _has(config, section)
        if not in_group and not _has(config, key):
            raise UserError(_unknown(config, key))
        try:
            OmegaConf.update(config, key, value, merge=False, force_add=in_group)
        except OmegaConfBaseException as error:
            raise UserError(f"{key}={value}: {str(error).splitlines()[0]}") from error


def _group_config(config: DictConfig, group: str, name: str) -> Any:
    """Compose the YAML of one choice as it would be in a run on this environment."""
    try:
        composed = compose_config([f"{group}={name}"])
    except HydraException as error:
        raise UserError(explain(error) or str(error)) from error
    composed.env = config.env  # what the environment recommends counts
    return OmegaConf.create(OmegaConf.to_container(composed[group], resolve=True))


def _has(config: DictConfig, key: str) -> bool:
    section, _, name = key.rpartition(".")
    node = OmegaConf.select(config, section) if section else config
    return OmegaConf.is_dict(node) and name in node


def _unknown(config: DictConfig, key: str) -> str:
    section, _, name = key.rpartition(".")
    while section and not _has(config, section):  # the first part that is not there
        section, _, name = section.rpartition(".")
    node = OmegaConf.select(config, section) if section else config
    allowed = [str(k) for k in node if k != "_target_"] if OmegaConf.is_dict(node) else []
    return unknown_key(key, name, allowed)


def _print(title: str, result: Evaluation) -> None:
    table = Table(title=title)
    for column in ("episode", "seed", "return", "steps"):
        table.add_column(column, justify="right")
    rows = zip(result.seeds, result.returns, result.lengths, strict=True)
    for episode, (seed, value, length) in enumerate(rows):
        table.add_row(str(episode), str(seed), f"{value:.1f}", str(length))
    console = Console()
    console.print(table)
    spread = f"± {result.returns.std():.1f}, min {result.returns.min():.1f}"
    console.print(f"mean return {result.returns.mean():.1f} {spread}", highlight=False)
