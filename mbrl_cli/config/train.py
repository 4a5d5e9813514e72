"""Start or resume a training run and write its run folder.

The file has more than 300 lines because starting and resuming share the way to the end of a run.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from mbrl_cli.checkpoint_store import (
    CONFIGS,
    REPLAY,
    accept_config,
    load_final_checkpoint,
    load_newest_checkpoint,
    mark_as_damaged,
)
from mbrl_cli.config.build import RunObjects, build, run_level_settings
from mbrl_cli.config.callbacks import make_callbacks
from mbrl_cli.config.choice_record import record_choices, recorded_choices
from mbrl_cli.config.config_changes import (
    Changes,
    find_changes,
    refuse_fixed_keys,
    refuse_other_job,
)
from mbrl_cli.config.debug_settings import DEBUG
from mbrl_cli.config.disk_faults import disk_faults
from mbrl_cli.config.hparams import readable_config, run_hparams
from mbrl_cli.config.loggers import make_trackers, writes_events
from mbrl_cli.config.model_from import load_source_replay
from mbrl_cli.config.output_folder import check_output_folder, check_run_folder
from mbrl_cli.config.own_runs import record_origin, training_folder
from mbrl_cli.config.saved_config import (
    CONFIG,
    MAX_BYTES,
    config_record,
    load_saved_config,
    parse_config_record,
    refuse_other_config,
)
from mbrl_cli.config.state_errors import state_errors
from mbrl_cli.config.state_shapes import refuse_other_shapes
from mbrl_cli.config.stopped_run import report_stopped
from mbrl_cli.config.versions import VERSIONS, collect_versions
from mbrl_cli.console.job_in_sweep import JobInSweep
from mbrl_cli.console.run_summary import run_summary
from mbrl_cli.console.time_profile import time_profile
from mbrl_cli.errors import (
    Diverged,
    EnvironmentFault,
    RunPaused,
    StopRequested,
    UserError,
    printable,
)
from mbrl_cli.grid_figure import grid_image
from mbrl_cli.lock import locked
from mbrl_cli.logger import Logger
from mbrl_cli.metrics_csv import check_metrics_csv
from mbrl_cli.models.markov import MarkovModel
from mbrl_cli.return_text import format_return
from mbrl_cli.run_files import (
    CHECKPOINTS,
    FAULT_FILE,
    STOPPED_FILE,
    read_regular,
    remove_unfinished,
    write_atomically,
)
from mbrl_cli.runner import Runner
from mbrl_cli.signals import stop_on_signals
from mbrl_cli.threads_and_malloc import set_threads_and_malloc

NOTHING_SAVED = "no episode had ended, so nothing is saved and it starts again from step 0"


def start_run(
    cfg: DictConfig,
    folder: Path,
    choices: Mapping[str, Any],
    job: JobInSweep | None = None,
    pause_at: int | None = None,
) -> float:
    """Train a new run in an existing folder; return its final mean return.

    Args:
        cfg: the composed config, without Hydra's part.
        folder: where the run is written.
        choices: the names of the choices by group.
        job: its place in a sweep; None: the run is no job of a sweep.
        pause_at: the step of the evaluation at which RunPaused is raised, None: never.
    """
    run_objects = build(cfg)
    with locked(folder):
        check_output_folder(folder)
        _remove_unfinished(folder)
        resolved = _resolved(cfg)
        versions = json.dumps(collect_versions(), indent=2) + "\n"
        with disk_faults(folder, "" if job else "then type the command again"):
            write_atomically(folder / VERSIONS, versions.encode())
            config = OmegaConf.to_yaml(resolved).encode()
            record_choices(folder, choices)
            record_origin(folder, [parse_config_record(config, folder / CONFIG)], os.getcwd())
            write_atomically(folder / CONFIG, config)
        return _run_to_end(run_objects, resolved, folder, None, {}, job, pause_at)


def resume_run(
    folder: Path,
    cfg: DictConfig,
    trust: bool = True,
    user_dir: Path | None = None,
    job: JobInSweep | None = None,
    new_choices: Mapping[str, Any] = MappingProxyType({}),
    pause_at: int | None = None,
) -> float:
    """Resume the run in `folder` with the settings in `cfg`; return its final mean return.

    Args:
        folder: a run folder.
        cfg: the settings from now on.
        trust: whether the folder's own config may name any code.
        user_dir: the folder of `--config-dir`; its YAML files name code that is allowed.
        job: its place in a sweep that was started again, whose settings must be those of the run.
        new_choices: names by group of the choices from now on; the others stay.
        pause_at: see `start_run`.

    Raises:
        UserError: if `cfg` changes a key that a run must keep, if no checkpoint is readable, or if
            another process runs in the folder.
    """
    check_run_folder(folder)
    with locked(folder):
        _remove_unfinished(folder)
        now = _resolved(cfg)
        before = _resolved(load_saved_config(folder, trust, user_dir))
        changes = find_changes(before, now)
        refuse_fixed_keys(changes, folder)
        if job is not None:
            refuse_other_job(changes, folder)
        total = run_level_settings(cfg)[0].total_steps
        finished, reason = load_final_checkpoint(folder)
        if reason:
            print(f"mbrl: {printable(reason)}; it is written again")
        if finished is not None:
            refuse_other_config(folder, finished.get(CONFIGS, []), finished["env_step"])
        if finished is not None and not changes and (folder / STOPPED_FILE).exists():
            return report_stopped(folder, finished)
        if finished is not None and finished["env_step"] == total:
            if changes:
                build(cfg, restored=True)  # a mistake in the changes is reported all the same
            result: float = finished["result"]
            print(
                f"{folder}: finished its {total:,} steps already, return {format_return(result)}; "
                f"to extend it type: mbrl resume {folder} total_steps={2 * total}"
            )
            return result
        state, stored, damaged = load_newest_checkpoint(folder)
        if state is not None:
            refuse_other_config(folder, state.get(CONFIGS, []), state["env_step"])
        run_objects = build(cfg, restored=state is not None)
        reached = max(point["env_step"] for point in (state, finished, {"env_step": 0}) if point)
        if total < reached:
            raise UserError(
                f"total_steps={total}: must be >= {reached}, the steps that the run has taken"
            )
        if state is not None:
            check_metrics_csv(folder, state["log"]["csv"], state["log"].get("csv_crc"))
            model_keys = [key for key in changes if key.startswith("model.")]
            hint = f"{', '.join(model_keys) or folder}: the saved state does not fit"
            refuse_other_shapes(state["agent"], run_objects.agent.state_dict(), hint, "agent")
        for path, reason in damaged.items():
            print(f"mbrl: {printable(reason)}; the checkpoint before it is used")
            mark_as_damaged(path)
        name = "" if job is None else f"[{job.label}] "
        print(f"{name}resuming    {folder} from step {state['env_step'] if state else 0:,}")
        if changes:
            _record_changes(changes, folder, now, state["env_step"] if state else 0)
            record_choices(folder, recorded_choices(folder) | dict(new_choices))
        return _run_to_end(run_objects, now, folder, state, stored, job, pause_at)


def _remove_unfinished(folder: Path) -> None:
    """Delete the unfinished files of a killed process; each may be as large as a checkpoint."""
    for part in (folder, folder / CHECKPOINTS, folder / REPLAY):
        remove_unfinished(part)


def _record_changes(changes: Changes, folder: Path, now: dict[str, Any], env_step: int) -> None:
    """Print the changes, write the new config and keep the previous one beside it.

    If the process is killed in between, the checkpoints and `origin.json` fit the old config and
    the new one.
    """
    for key, (before, value) in changes.items():
        print(printable(f"  {key}: {before} -> {value}"))
    until = folder / f"config_until_{env_step}.yaml"
    write_atomically(until, read_regular(folder / CONFIG, MAX_BYTES))
    new = OmegaConf.to_yaml(now).encode()
    before_and_after = [config_record(folder), parse_config_record(new, folder / CONFIG)]
    started_in = training_folder(folder, before_and_after[0])
    if started_in is not None:
        record_origin(folder, before_and_after, started_in)
    accept_config(folder, before_and_after[1])
    write_atomically(folder / CONFIG, new)


def _run_to_end(
    run_objects: RunObjects,
    resolved: dict[str, Any],
    folder: Path,
    state: dict[str, Any] | None,
    stored: dict[str, np.ndarray],
    job: JobInSweep | None,
    pause_at: int | None,
) -> float:
    """Run from `state`, or from the start, to the end; return the final mean return.

    Args:
        run_objects: the environment, agent and settings.
        resolved: the config, for TensorBoard's hyperparameter page.
        folder: the run folder.
        state: a saved state of the run, None to start.
        stored: the replay that belongs to `state`: arrays by field.
        job: its place in a sweep; None: the run is no job of a sweep.
        pause_at: see `start_run`.
    """
    start_time = time.monotonic()
    set_threads_and_malloc(run_objects.threads)
    settings = run_objects.settings
    eval_envs = run_objects.eval_envs
    runner: Runner | None = None
    for name in (FAULT_FILE, STOPPED_FILE):  # of the part before
        (folder / name).unlink(missing_ok=True)
    position = state["log"] if state else None
    seconds_before = sum(state["seconds"].values()) if state else 0.0
    trackers = make_trackers(resolved, folder)
    events = writes_events(resolved.get("logger"))
    callbacks = make_callbacks(resolved.get("callbacks"), settings, pause_at)
    try:
        with (
            stop_on_signals(),
            disk_faults(folder, "" if job else f"then type: mbrl resume {folder}"),
            Logger(folder, settings.console, job, position, events, trackers) as logger,
        ):
            logger.result(f"folder    {folder}")
            is_latent = not isinstance(run_objects.model, MarkovModel | None)
            hparams = run_hparams(folder, resolved)
            logger.describe(*hparams, readable_config(resolved), is_latent)
            runner = Runner(
                run_objects.envs,
                eval_envs,
                run_objects.agent,
                settings,
                logger,
                folder,
                config_record(folder),
                callbacks,
            )
            if state is not None:
                with state_errors(folder):
                    runner.resume_from(state, stored)
            elif settings.model_from_replay:
                runner.start_from_replay(*load_source_replay(settings, run_objects.env.spec))
            with state_errors(folder) if state is not None else nullcontext():
                final = runner.run()
            figure = grid_image(run_objects.env, run_objects.model)
            if figure is not None:
                logger.video(runner.env_step, "model/grid_world", figure[None])
            summary = run_summary(
                final.returns,
                runner.env_step,
                seconds_before + time.monotonic() - start_time,
                logger.last_values(),
                run_objects.model is not None,
                folder,
            )
            summary = summary if settings.console else summary[:1]
            if (resolved.get(DEBUG) or {}).get("profile"):
                total = time.monotonic() - start_time
                summary += ["", *time_profile(runner.stopwatch, logger.seconds, total)]
            for line in summary:
                logger.result(line)
    except (EnvironmentFault, Diverged) as fault:
        write_atomically(folder / FAULT_FILE, traceback.format_exc().encode())
        if job is not None:
            raise  # the sweep prints what to type
        saved = (
            f"{'the state before the episode is saved' if _is_saved(runner) else NOTHING_SAVED}, "
            f"the trace is in {FAULT_FILE}; "
            f"to resume type: mbrl resume {folder}"
        )
        raise type(fault)(f"{fault}; {saved}") from fault
    except StopRequested:
        stopped = "stopped and saved" if _is_saved(runner) else f"stopped; {NOTHING_SAVED}"
        if job is None:
            print(f"mbrl: {stopped}; to resume type: mbrl resume {folder}", file=sys.stderr)
        else:  # the sweep prints what to type
            print(f"mbrl: {job.label}: {stopped}", file=sys.stderr)
        raise
    except RunPaused:  # no fault: the caller decides whether it goes on
        raise
    except Exception:
        with suppress(OSError):  # the disk may be full
            write_atomically(folder / FAULT_FILE, traceback.format_exc().encode())
        raise
    finally:
        eval_envs.close()
    return float(final.returns.mean())


def _is_saved(runner: Runner | None) -> bool:
    """Return whether a resumed run starts later than this one did."""
    return runner is not None and runner.store.saved_step > 0


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}
