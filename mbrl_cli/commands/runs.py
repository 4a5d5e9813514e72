"""`mbrl runs [FOLDER]`: list the runs in a folder."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import sys
from typing import Any

from mbrl_cli.commands.parser import Parser
from mbrl_cli.errors import UserError, printable

EPILOG = """\
examples:
  mbrl runs                                       the runs in outputs/
  mbrl runs outputs/SWEEP env=cartpole seed=0,1   those with these settings
  mbrl runs planner.horizon=25 --sort return      any key of the config is a filter
  mbrl runs tags=baseline                         those with a tag: mbrl train tags=[baseline]
  mbrl runs --state interrupted,failed            those that have not finished
  mbrl runs --json                                for other programs
"""
STATES = ("running", "finished", "interrupted", "failed")
SORT_KEYS = {
    "state": "state", "env": "env", "agent": "agent", "planner": "planner", "model": "model",
    "seed": "seed", "steps": "steps", "return": "last_return", "age": "age", "size": "size",
    "folder": "folder",
}  # fmt: skip
MAX_REASONS = 5  # skipped folders that are named


def run(argv: list[str]) -> None:
    """Print a table of runs, or JSON."""
    parser = Parser(
        command="runs",
        usage="[FOLDER] [key=value ...] [--state STATE] [--sort COLUMN] [--reverse] [--json]",
        description="List the runs in a folder and in its subfolders.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="FOLDER or key=value",
        help="the folder (default: outputs); settings that the runs must have",
    )
    parser.add_argument("--state", help=f"one or more of {', '.join(STATES)}, with commas between")
    parser.add_argument("--sort", metavar="COLUMN", default="folder", help=", ".join(SORT_KEYS))
    parser.add_argument("--reverse", action="store_true", help="largest or last first")
    parser.add_argument("--json", action="store_true", help="print a list of JSON objects")
    words = parser.parse_intermixed_args(argv)
    states = _states(words.state)
    if words.sort not in SORT_KEYS:
        raise UserError(f"--sort {words.sort}: allowed are {', '.join(SORT_KEYS)}")
    folders = [word for word in words.words if "=" not in word or os.path.isdir(word)]
    if len(folders) > 1:
        raise UserError(f"{folders[1]}: runs takes one folder; use one that holds both")
    folder = folders[0] if folders else "outputs"
    if not folders and not os.path.isdir(folder):
        raise UserError(
            "outputs: is not here; type mbrl runs FOLDER, or start a run: mbrl train env=cartpole"
        )

    from mbrl_cli.api.loading import load_runs
    from mbrl_cli.reports.run_filter import filter_runs
    from mbrl_cli.reports.run_table import run_table, state_counts

    found = load_runs(folder)
    filters = [word for word in words.words if word not in folders]
    summaries = [run.summary() for run in filter_runs(found, filters)]
    summaries = [summary for summary in summaries if summary.state in states]
    attribute = SORT_KEYS[words.sort]

    def rank(summary: Any) -> tuple[bool, Any]:
        value = getattr(summary, attribute)
        is_number = isinstance(value, int | float) and not math.isnan(value)
        return (value is None, value if is_number or isinstance(value, str) else str(value))

    summaries.sort(key=rank, reverse=words.reverse)
    if words.json:
        print(json.dumps([_plain(summary) for summary in summaries], indent=2))
    elif summaries:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print(run_table(summaries, width))
        print(state_counts(summaries))
    else:
        print(_nothing(folder, len(found), filters, words.state))
    _report_skipped({str(path): reason for path, reason in found.skipped.items()})


def _states(text: str | None) -> list[str]:
    chosen = list(STATES) if text is None else text.split(",")
    for state in chosen:
        if state not in STATES:
            raise UserError(f"--state {state}: allowed are {', '.join(STATES)}")
    return chosen


def _plain(summary: Any) -> dict[str, Any]:
    """Return a summary as JSON can hold it: no NaN, no paths."""
    values = dataclasses.asdict(summary) | {"folder": str(summary.folder)}
    value = values["last_return"]
    return values | {"last_return": value if value is not None and math.isfinite(value) else None}


def _nothing(folder: str, found: int, filters: list[str], state: str | None) -> str:
    if not found:
        return f"{folder}: holds no runs"
    chosen = [*filters, *([f"--state {state}"] if state else [])]
    return f"{folder}: none of its {found} runs has {' '.join(chosen)}"


def _report_skipped(skipped: dict[str, str]) -> None:
    """Print the folders that could not be read on stderr."""
    for reason in list(skipped.values())[:MAX_REASONS]:
        print(f"mbrl: skipped: {printable(reason)}", file=sys.stderr)
    if len(skipped) > MAX_REASONS:
        print(f"mbrl: skipped: {len(skipped) - MAX_REASONS} more folders", file=sys.stderr)
