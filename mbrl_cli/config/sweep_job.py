"""One job of a sweep, in the process that a launcher chooses for it."""

from __future__ import annotations

import os
import time
import traceback
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mbrl_cli.config.job_failed import JobFailed
from mbrl_cli.config.model_from import make_source_absolute
from mbrl_cli.config.saved_config import CONFIG
from mbrl_cli.config.sweep_record import read_sweep, record_finished_job
from mbrl_cli.config.sweep_stop import is_worker, start_no_further_job, stop_signal_of_worker
from mbrl_cli.config.train import resume_run, start_run
from mbrl_cli.console.job_in_sweep import JobInSweep
from mbrl_cli.errors import DiskFault, StopRequested, UserError
from mbrl_cli.run_files import FAULT_FILE, write_atomically

# Durations of the jobs that ran from step 0 to their end in this process, in seconds.
_full_seconds: list[float] = []


def run_sweep_job(cfg: DictConfig) -> float:
    """Train one job to its end and return the mean return of its final evaluation.

    A job whose folder holds a run resumes that run.

    Raises:
        JobFailed: for every error, and in a worker process of joblib for a stop signal.
        StopRequested: for a stop signal in another process.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    words = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    assert isinstance(words, list)
    overrides = [str(word) for word in words]
    in_worker = is_worker()
    stop_signal = stop_signal_of_worker() if in_worker else None
    if stop_signal is not None:
        raise JobFailed("not started", 128 + stop_signal, stop_signal)
    job: JobInSweep | None = None
    start = time.monotonic()
    is_new = not (folder / CONFIG).exists()
    try:
        job = _job_in_sweep(hydra, overrides, folder.name)
        make_source_absolute(cfg)
        if is_new:
            result = start_run(cfg, folder, hydra.runtime.choices, job)
        else:
            result = resume_run(folder, cfg, job=job)
        record_finished_job(folder, overrides)
    except StopRequested as stop:
        if in_worker:  # joblib would kill the other workers, which still save their state
            raise JobFailed("stopped", stop.exit_code, stop.signal_number) from None
        raise
    except Exception as error:
        if isinstance(error, DiskFault):  # every further job would fail, too
            start_no_further_job()
        failed = _failure(error, folder)
        print(f"[{job.label if job else folder.name}] failed: {failed.text}", flush=True)
        raise failed from error
    if is_new:
        _full_seconds.append(time.monotonic() - start)
    return result


def _job_in_sweep(hydra: Any, overrides: list[str], name: str) -> JobInSweep:
    record = read_sweep(Path(hydra.sweep.dir))
    jobs = [] if record is None else record.jobs
    numbers = [number for number, other in enumerate(jobs, 1) if other.overrides == overrides]
    parallel = _parallel_jobs(hydra.launcher)
    if not numbers or parallel is None:
        return JobInSweep(name, numbers[0] if numbers else 0, len(jobs))
    waiting = [job.saved_step for job in jobs[numbers[0] :] if job.saved_step is not None]
    mean = fmean(_full_seconds) if _full_seconds else None
    return JobInSweep(name, numbers[0], len(jobs), waiting, parallel, mean)


def _parallel_jobs(launcher: Any) -> int | None:
    """Return how many jobs run at a time; None if a cluster decides it."""
    kind = str(launcher._target_).rpartition(".")[2]
    if kind == "BasicLauncher":
        return 1
    if kind != "JoblibLauncher":
        return None
    cores = os.cpu_count() or 1
    number = int(launcher.get("n_jobs") or 1)
    return max(1, number if number > 0 else cores + 1 + number)


def _failure(error: Exception, folder: Path) -> JobFailed:
    """Return the error in one line; its trace is in a file of the folder, except for mistakes."""
    trace = folder / FAULT_FILE
    if isinstance(error, UserError):
        text, exit_code = str(error), error.exit_code
    else:
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        text, exit_code = f"{reason} ({Path(place.filename).name}, line {place.lineno})", 1
        if not trace.exists():
            with suppress(OSError):  # the disk may be full
                write_atomically(trace, "".join(traceback.format_exception(error)).encode())
    return JobFailed(text, exit_code)
