"""One training run: from a composed config to a folder that holds all there is to know of it."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mbrl_cli import __version__
from mbrl_cli.checkpoint import write_atomically
from mbrl_cli.checkpoint_store import load_final_checkpoint, load_newest_checkpoint, mark_as_damaged
from mbrl_cli.config.before_run import check_folder
from mbrl_cli.config.build import Parts, build, run_level
from mbrl_cli.config.changes import Changes, changes, flat, refuse_fixed, refuse_sizes
from mbrl_cli.config.reuse import replay_of
from mbrl_cli.config.run_folder import CONFIG, saved_config
from mbrl_cli.errors import DiskFault, Diverged, EnvironmentFault, StopRequested, UserError
from mbrl_cli.lock import locked
from mbrl_cli.logger import Logger
from mbrl_cli.metrics_csv import check_metrics_csv
from mbrl_cli.runner import Runner
from mbrl_cli.signals import stop_on_signals
from mbrl_cli.threads_and_malloc import set_threads_and_malloc

VERSIONS = "versions.json"
TRACE = "fault.txt"
RECORDED = ("torch", "numpy", "gymnasium", "hydra-core", "omegaconf", "tensorboard", "mujoco")


def train(cfg: DictConfig) -> float:
    """Run to the end and return the mean return of the final evaluation (for sweepers).

    A job of a sweep whose folder holds its run already goes on with it: a sweep that was cut is
    finished by starting it again with the same `hydra.sweep.dir`.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if hydra.mode != RunMode.MULTIRUN:
        return _start(cfg, folder)
    try:
        return go_on(folder, cfg) if (folder / CONFIG).exists() else _start(cfg, folder)
    except UserError as error:
        logging.getLogger(__name__).error("this job failed: %s", error)
        raise
    except Exception:
        # A sweep goes on with its other jobs' logs: leave the trace in this job's own.
        logging.getLogger(__name__).exception("this job failed")
        raise


def _start(cfg: DictConfig, folder: Path) -> float:
    parts = build(cfg)
    with locked(folder):
        check_folder(folder)
        resolved = _resolved(cfg)
        recorded = json.dumps(versions(), indent=2) + "\n"
        (folder / VERSIONS).write_text(recorded, encoding="utf-8")
        write_atomically(folder / CONFIG, OmegaConf.to_yaml(resolved).encode())
        return _play(parts, resolved, folder, None, {})


def go_on(folder: Path, cfg: DictConfig, trust: bool = True) -> float:
    """Go on with the run in `folder`, as `cfg` now says, and return its final mean return.

    `trust` says whether the folder's own config may name code outside of this package.

    Raises:
        UserError: if a key changed that cannot, if nothing in the folder can be read, or if another
            process runs it.
    """
    with locked(folder):
        now = _resolved(cfg)
        before = _resolved(saved_config(folder, trust))
        changed = changes(before, now)
        refuse_fixed(changed, folder)
        total = run_level(cfg)[0].total_steps
        finished = load_final_checkpoint(folder)
        if finished is not None and finished["env_step"] == total:
            if changed:
                build(cfg, restored=True)  # what was given must make sense even so
            result = float(finished["result"])
            print(
                f"{folder}: finished its {total:,} steps already, return {result:.1f}; "
                f"mbrl resume {folder} total_steps={2 * total} extends it"
            )
            return result
        state, stored, damaged = load_newest_checkpoint(folder)
        parts = build(cfg, restored=state is not None)
        reached = max(point["env_step"] for point in (state, finished, {"env_step": 0}) if point)
        if total < reached:
            raise UserError(f"total_steps={total}: the run has taken {reached} steps already")
        if state is not None:
            check_metrics_csv(folder, state["log"]["csv"])
            sized = [key for key in changed if key.startswith("model.")]
            hint = f"{', '.join(sized) or folder}: cannot go on"
            refuse_sizes(state["agent"], parts.agent.state_dict(), hint, "agent")
        for path, why in damaged.items():
            print(f"mbrl: {why}; the checkpoint before it is used")
            mark_as_damaged(path)
        print(f"going on    {folder} from step {state['env_step'] if state else 0:,}")
        if changed:
            _record(changed, folder, now, state["env_step"] if state else 0)
        return _play(parts, now, folder, state, stored)


def _record(changed: Changes, folder: Path, now: dict[str, Any], env_step: int) -> None:
    """Show what changed, and keep the config that held until now beside the new one."""
    for key, (before, value) in changed.items():
        print(f"  {key}: {before} -> {value}")
    until = folder / f"config_until_{env_step}.yaml"
    write_atomically(until, (folder / CONFIG).read_bytes())
    write_atomically(folder / CONFIG, OmegaConf.to_yaml(now).encode())


def _play(
    parts: Parts,
    resolved: dict[str, Any],
    folder: Path,
    state: dict[str, Any] | None,
    stored: dict[str, np.ndarray],
) -> float:
    """Run from `state`, or from the start, to the end; every fault tells how to go on."""
    set_threads_and_malloc(parts.threads)
    settings = parts.settings
    eval_envs = parts.make_eval_envs(max(settings.eval_episodes, settings.final_eval_episodes))
    start_step, position = (state["env_step"], state["log"]) if state else (0, None)
    try:
        with (
            stop_on_signals(),
            Logger(folder, settings.total_steps, settings.console, start_step, position) as logger,
        ):
            logger.message(f"run folder  {folder}")
            logger.hparams(flat(resolved))
            runner = Runner(parts.env, eval_envs, parts.agent, settings, logger, folder)
            if state is not None:
                runner.resume_from(state, stored)
            elif settings.model_from_replay:
                runner.start_from_replay(*replay_of(settings, parts.env.spec))
            final = runner.run()
            logger.message(
                f"final evaluation  return {final.returns.mean():.1f} "
                f"± {final.returns.std():.1f} over {len(final.returns)} episodes"
            )
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror or error}"
        raise DiskFault(f"{reason}; make room, then: mbrl resume {folder}") from error
    except (EnvironmentFault, Diverged) as fault:
        (folder / TRACE).write_text(traceback.format_exc(), encoding="utf-8")
        saved = f"saved before the episode; trace in {TRACE}; go on with: mbrl resume {folder}"
        raise type(fault)(f"{fault}; {saved}") from fault
    except StopRequested:
        print(f"mbrl: stopped and saved; go on with: mbrl resume {folder}", file=sys.stderr)
        raise
    finally:
        for env in (parts.env, *eval_envs):
            env.close()
    return float(final.returns.mean())


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def versions() -> dict[str, str | None]:
    """Return what a person needs to repeat the run: versions, machine, git revision."""
    found: dict[str, str | None] = {
        "mbrl": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": str(os.cpu_count()),
        "git": _git_revision(),
    }
    for name in RECORDED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None  # an extra that is not installed
    return found


def _git_revision() -> str | None:
    """Return the revision of the folder that the run was started in, None outside of git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
