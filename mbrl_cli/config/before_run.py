"""Check a run, or each job of a sweep, before Hydra makes its folder."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from mbrl_cli.config.callbacks import make_callbacks
from mbrl_cli.config.composition import hydra_errors_as_user_errors
from mbrl_cli.config.error_exit import exit_on_user_error
from mbrl_cli.config.groups import GROUPS, config_dir
from mbrl_cli.config.loggers import check_loggers
from mbrl_cli.config.output_folder import check_output_folder
from mbrl_cli.config.recommended import check_recommended
from mbrl_cli.console.waiting import waiting


class CheckBeforeRun(Callback):
    """Hydra callback that builds everything once and exits on a mistake.

    It exits the process because Hydra turns exceptions of callbacks into warnings.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check a single run."""
        HydraConfig.instance().set_config(config)  # `launch` names its folder if the disk is full
        with exit_on_user_error(), waiting("checking the run"):
            check_run(config, _folders(config))
            check_output_folder(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every job of a sweep.

        A sweeper that chooses values itself is not known here; its jobs are checked as they start.
        """
        HydraConfig.instance().set_config(config)
        with exit_on_user_error(), waiting("checking the jobs of the sweep"):
            if config.hydra.sweeper._target_.endswith("basic_sweeper.BasicSweeper"):
                rehearsed: set[tuple[str, ...]] = set()
                for overrides in _sweep_jobs(config):
                    job = _compose_job(overrides)
                    classes = (
                        str(job.env.get("id")),
                        *(str(job[g].get("_target_")) for g in GROUPS),
                    )
                    check_run(job, _folders(config), classes not in rehearsed)
                    rehearsed.add(classes)
            check_output_folder(Path(config.hydra.sweep.dir))


def check_run(config: DictConfig, folders: list[Path], with_rehearsal: bool = True) -> None:
    """Check one run; a rehearsal of each combination of classes is enough for a sweep."""
    # These import torch, which takes seconds: `waiting` is on the terminal by then.
    from mbrl_cli.config.build import build
    from mbrl_cli.config.rehearsal import has_plugins, rehearse, rehearse_saving

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


def _folders(config: DictConfig) -> list[Path]:
    """Return the folders in which Hydra searches for YAML files."""
    sources = config.hydra.runtime.config_sources
    found = [Path(source.path) for source in sources if source.schema == "file"]
    return [config_dir(), *(folder for folder in found if folder != config_dir())]


def _compose_job(overrides: list[str]) -> DictConfig:
    with hydra_errors_as_user_errors():
        return compose("train", overrides=overrides)


def _sweep_jobs(config: DictConfig) -> list[list[str]]:
    """Return the overrides of each job of a sweep."""
    parsed = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    options = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [o.input_line or ""]
        for o in parsed
    ]
    return [list(job) for job in product(*options)]
