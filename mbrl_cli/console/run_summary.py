"""The five lines with which a run ends."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mbrl_cli.return_text import format_mean_and_interval

ERROR, BASELINE, COVERAGE = "model/error_k1", "model/baseline_k1", "model/coverage_1sigma"
CALIBRATED = 0.68  # fraction of a Gaussian within one standard deviation


def run_summary(
    returns: np.ndarray,
    env_steps: int,
    seconds: float,
    last: Mapping[str, float],
    has_model: bool,
    folder: Path,
) -> list[str]:
    """Return five lines: return, duration, accuracy of the model, coverage, and the next command.

    Args:
        returns: [episodes] of the final evaluation.
        env_steps: environment steps of the run.
        seconds: duration of the run.
        last: last value of each logged tag.
        has_model: whether the agent uses a model.
        folder: the run folder.
    """
    return [
        f"return    {return_text(returns)}",
        f"duration  {env_steps:,} steps in {seconds / 60:.1f} minutes",
        f"model     {_model_text(last, has_model)}",
        f"coverage  {_coverage_text(last, has_model)}",
        f"next      mbrl eval {shlex.quote(str(_short(folder)))}",
    ]


def return_text(returns: np.ndarray) -> str:
    """Return the mean return with its 95 % interval as text, for returns [episodes]."""
    episodes = f"{len(returns)} episode{'s' if len(returns) > 1 else ''}"
    return f"{format_mean_and_interval(returns)} over {episodes}"


def _model_text(last: Mapping[str, float], has_model: bool) -> str:
    if not has_model:
        return "none: the agent learns without a model"
    if ERROR not in last or BASELINE not in last:
        return f"not compared with predicting no change: {_reason(last)}"
    error, baseline = last[ERROR], last[BASELINE]
    verdict = "better" if error < baseline else "NOT better"
    return f"{verdict} than predicting no change: one-step error {error:.3g} against {baseline:.3g}"


def _coverage_text(last: Mapping[str, float], has_model: bool) -> str:
    if not has_model:
        return "none: no model"
    if COVERAGE in last:
        return (
            f"{last[COVERAGE]:.2f} of the errors within one predicted std, "
            f"{CALIBRATED} if calibrated"
        )
    if ERROR in last:
        return "none: the model predicts no standard deviation"
    return f"none: {_reason(last)}"


def _reason(last: Mapping[str, float]) -> str:
    """Return why there is no one-step error."""
    if not any(tag.startswith("model/") for tag in last):
        return "this run did not fit it to observations"
    return "no episode was held out"


def _short(folder: Path) -> Path:
    """Return the folder relative to the current one if it lies in it."""
    current = Path.cwd()
    return folder.relative_to(current) if folder.is_relative_to(current) else folder
