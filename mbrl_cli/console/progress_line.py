"""The progress of a run as one line of text that fits a given width."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mbrl_cli.console.job_in_sweep import JobInSweep
from mbrl_cli.console.run_progress import RunProgress

# Label on the console -> tags whose last value it may show; the first tag that was logged is used.
SHOWN_TAGS = {
    "return": ("train/return",),
    "eval": ("eval/return",),
    "loss": ("model/holdout_loss", "model/train_loss"),
}
GAP = "  "
MIN_NAME = 8  # characters of the job's name that are always shown


def progress_line(
    progress: RunProgress,
    last: Mapping[str, float],
    width: int,
    name: str = "",
    job: JobInSweep | None = None,
) -> str:
    """Return phase, remaining time, step and last values; the least important parts are left out.

    Args:
        progress: of the run.
        last: last value of each tag.
        width: largest number of characters.
        name: of the job, where several jobs print to one terminal; its middle is left
            out if necessary.
        job: the run's place in a sweep, whose remaining time is shown, too.
    """
    step, total = progress.env_step, progress.total_steps
    phase = progress.phase()
    without_detail = phase.partition(",")[0]
    short = {"left": _time_left(progress), "phase": without_detail}
    wanted = {  # by importance
        "all": "" if job is None else _time_of_all(progress, job),
        "percent": f"{100 * step / total:.0f} %".rjust(5),
        "steps": f"{step:,}/{total:,}",
        "name": name,
        **shown_values(last),
        "phase": phase,
    }
    parts = dict(short)
    if name:
        parts["name"] = _shortened(name, MIN_NAME)
    for key, text in wanted.items():
        longer = parts | {key: text}
        if len(_join(longer)) <= width:
            parts = longer
    if name:
        space = width - len(_join(parts)) + len(parts["name"])
        parts["name"] = _shortened(name, space)
    return _join(parts)[:width]


def _shortened(name: str, length: int) -> str:
    """Return `name` with at most `length` characters: a sweep's names differ at both ends."""
    if len(name) <= length:
        return name
    start = length // 2
    return f"{name[:start]}…{name[len(name) - (length - start - 1) :]}"


def _join(parts: Mapping[str, str]) -> str:
    """Return the parts in the order of the line."""
    order = ("name", "percent", "steps", "phase", *SHOWN_TAGS, "left", "all")
    return GAP.join(parts[key] for key in order if parts.get(key))


def shown_values(last: Mapping[str, float]) -> dict[str, str]:
    """Return the values of `SHOWN_TAGS` that were logged as text, for example 'return 9.5'."""
    values = {}
    for label in ("eval", "return", "loss"):
        tag = next((tag for tag in SHOWN_TAGS[label] if tag in last), None)
        if tag is not None:
            values[label] = f"{label} {last[tag]:.4g}"
    return values


def _time_left(progress: RunProgress) -> str:
    """Return the remaining time, for example '0:01:30 left'.

    It is 'estimating' if it is not known, begins with '> ' while parts of the run are not measured,
    and is empty at the end.
    """
    seconds = progress.seconds_left()
    if seconds is None or not math.isfinite(seconds):
        return "estimating"
    at_least = "> " if progress.is_lower_bound() else ""
    return f"{at_least}{duration(seconds)} left" if seconds else ""


def _time_of_all(progress: RunProgress, job: JobInSweep) -> str:
    """Return the remaining time of all jobs, for example 'all jobs 0:12:00'; empty if unknown."""
    seconds = job.seconds_of_all(progress)
    if seconds is None or not math.isfinite(seconds):
        return ""
    return f"all jobs {'> ' if progress.is_lower_bound() else ''}{duration(seconds)}"


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds as text, for example '0:01:30'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
