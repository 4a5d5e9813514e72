"""Build a run and use its parts once, before it has a folder."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from mbrl_cli.config.build import build
from mbrl_cli.config.callbacks import make_callbacks
from mbrl_cli.config.loggers import check_loggers
from mbrl_cli.config.recommended import check_recommended
from mbrl_cli.config.rehearsal import has_plugins, rehearse, rehearse_saving


def check_run(config: DictConfig, folders: list[Path], with_rehearsal: bool = True) -> None:
    """Check one run; a rehearsal of each combination of classes is enough for a sweep."""
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    if isinstance(raw.get("env"), dict):
        check_recommended(raw["env"].get("recommended", {}), folders)
    check_loggers(config.get("logger"))
    run = build(config)
    make_callbacks(config.get("callbacks"), run.settings)
    try:
        if with_rehearsal:
            rehearse(run.env, run.model, run.planner, run.agent, run.settings.check_known)
    finally:
        for env in run.envs:
            env.close()  # the run itself reports a failing `close`
    if with_rehearsal:
        # A plug-in must restore its state in a new object, as `mbrl resume` and `mbrl eval` do.
        loaded = build(config) if has_plugins(run.model, run.agent) else run
        rehearse_saving(run.agent, loaded.agent)
        if loaded is not run:
            for env in loaded.envs:
                env.close()
