"""Published results from a CSV file, drawn beside the runs.

docs/compare.md lists the columns. Numbers of other papers count simulator steps; a run counts
actions, each of which takes `env.action_repeat` simulator steps.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mbrl_cli.errors import UserError, nearest
from mbrl_cli.reports.student_t import t_quantile

# Meaning -> names of the column, the first one that exists is read.
COLUMNS = {
    "name": ("name", "algo", "algorithm", "agent"),
    "task": ("task", "env", "environment"),
    "env_step": ("env_step", "env_steps", "step", "steps"),
    "mean": ("mean", "return", "score"),
    "low": ("ci_low", "low"),
    "high": ("ci_high", "high"),
    "std": ("std",),
    "seeds": ("n", "n_seeds", "seeds"),
    "obs": ("obs",),
}
OBSERVATIONS = {"state": "vector", "states": "vector", "proprio": "vector"}


@dataclass(frozen=True)
class Baseline:
    """The curve of one algorithm in one task; one point without a step is a horizontal line."""

    name: str
    task: str  # as the file names it
    steps: np.ndarray  # [n] simulator steps, empty for a horizontal line
    mean: np.ndarray  # [n], or [1] for a horizontal line
    low: np.ndarray  # [n], NaN where the file has no interval
    high: np.ndarray  # [n]


def read_baselines(path: Path, names: Sequence[str], env: Mapping[str, object]) -> list[Baseline]:
    """Return the baselines of a file that belong to an environment.

    Args:
        path: a CSV file.
        names: the algorithms to read; empty: all.
        env: the `env` section of a config. A task is found by the name without namespace and
            version: `hopper`, `Hopper-v4` and `hopper-v5` belong to `Hopper-v5`.

    Raises:
        UserError: if the file is not readable, a column is missing, or a value is not a number.
    """
    rows = _read(path)
    known = list(dict.fromkeys(row["name"] for row in rows))
    for name in names:
        if name not in known:
            close = nearest(name, known) or known[:8]
            raise UserError(f"--baseline {path}:{name}: unknown name; nearest: {', '.join(close)}")
    task = plain_task(str(env.get("id")))
    by_name: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        obs = row.get("obs", "").lower()
        fits = not obs or OBSERVATIONS.get(obs, obs) == env.get("obs", "vector")
        if fits and plain_task(row["task"]) == task and (not names or row["name"] in names):
            by_name.setdefault(row["name"], []).append(row)
    return [_baseline(name, found, path) for name, found in by_name.items()]


def plain_task(name: str) -> str:
    """Return the name of a task without namespace and version, in lower case with hyphens."""
    plain = re.sub(r"-v\d+$", "", name.rpartition("/")[2].rpartition(":")[2])
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", plain)
    return re.sub(r"[_\s]+", "-", plain).lower()


def _read(path: Path) -> list[dict[str, str]]:
    """Return the rows of the file with the names of `COLUMNS`."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or []
            found = {
                meaning: next((name for name in names if name in header), None)
                for meaning, names in COLUMNS.items()
            }
            for meaning in ("name", "task", "mean"):
                if found[meaning] is None:
                    allowed = " or ".join(COLUMNS[meaning])
                    raise UserError(
                        f"--baseline {path}: has no column {allowed}; its columns are "
                        f"{', '.join(header) or 'none'}"
                    )
            return [
                {meaning: row[name] or "" for meaning, name in found.items() if name is not None}
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not a CSV file in UTF-8"
        raise UserError(f"--baseline {path}: {reason}") from error


def _baseline(name: str, rows: Sequence[Mapping[str, str]], path: Path) -> Baseline:
    points = []
    for row in rows:
        numbers = {
            key: _number(row.get(key, ""), f"--baseline {path}: {name}: {key}")
            for key in ("env_step", "mean", "low", "high", "std", "seeds")
        }
        if math.isnan(numbers["low"]) and numbers["seeds"] >= 2:
            half = t_quantile(0.975, int(numbers["seeds"]) - 1) * numbers["std"]
            half /= math.sqrt(numbers["seeds"])
            numbers |= {"low": numbers["mean"] - half, "high": numbers["mean"] + half}
        if not math.isnan(numbers["mean"]):
            points.append([numbers[key] for key in ("env_step", "mean", "low", "high")])
    table = np.array(points or np.empty((0, 4)))
    table = table[np.argsort(table[:, 0], kind="stable")]
    has_step = ~np.isnan(table[:, 0])
    table = table[has_step] if has_step.any() else table[-1:]
    steps = table[:, 0] if has_step.any() else np.empty(0)
    return Baseline(name, rows[0]["task"], steps, table[:, 1], table[:, 2], table[:, 3])


def _number(text: str, key: str) -> float:
    if not text:
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{key}={text}: is not a number") from None
