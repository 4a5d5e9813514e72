"""`mbrl diagnose RUN`: which part of a saved run loses the return."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from mbrl_cli.commands.saved_run_parser import SavedRunParser
from mbrl_cli.errors import UserError

if TYPE_CHECKING:
    from mbrl_cli.diagnosis.diagnose import Effort

DEFAULT_MINUTES = 5.0
LARGEST_MINUTES = 1e5
BUDGET = "budget="
EPILOG = """\
settings:
  budget=5               minutes that the diagnosis may take, about (default: 5)

examples:
  mbrl diagnose outputs/RUN                            verdict, findings and tables
  mbrl diagnose outputs/RUN --quick                    in less than a minute, with fewer episodes
  mbrl diagnose outputs/RUN budget=30 --html page.html narrower intervals, and a page
  mbrl diagnose outputs/RUN1 outputs/RUN2              the differences of two runs
"""


def run(argv: list[str]) -> None:
    """Diagnose the runs that the words name."""
    words = _parse(argv)
    folders = [words.run_dir, *(Path(word) for word in words.overrides if _is_run(word))]
    changes = [w for w in words.overrides if not _is_run(w) and not w.startswith(BUDGET)]
    if len(folders) > 2:
        raise UserError(f"{folders[2]}: diagnose takes one run, or two to compare")

    from mbrl_cli.diagnosis.output.report import report_diagnoses

    effort = _effort(words)
    typed = [*(word for word in words.overrides if not _is_run(word))]
    report_diagnoses(
        folders,
        effort,
        changes,
        settings=[*typed, *(["--quick"] if words.quick else [])],
        html=words.html,
        json=words.json,
        trust=words.trust,
        config_dir=words.config_dir,
    )


def _parse(argv: list[str]) -> Namespace:
    parser = SavedRunParser(
        command="diagnose",
        description="Find out which part of a saved run loses the return: the saved agent is "
        "evaluated with one part replaced by the truth, its data and its model are checked.",
        epilog=EPILOG,
        options="[RUN_DIR] [budget=MINUTES] [--quick] [--html FILE] [--json FILE]",
    )
    parser.add_argument("--quick", action="store_true", help="less than a minute on CartPole")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers")
    words = parser.parse(argv)
    if words.quick and any(word.startswith(BUDGET) for word in words.overrides):
        parser.error("--quick: cannot be used together with budget=")
    return words


def _is_run(word: str) -> bool:
    """Return whether a word names a second run, and is no `key=value`."""
    return "=" not in word or os.path.isdir(word)


def _effort(words: Namespace) -> Effort:
    from mbrl_cli.diagnosis.diagnose import DEFAULT_EPISODES, QUICK, Effort

    if words.quick:
        return QUICK
    minutes = DEFAULT_MINUTES
    for word in words.overrides:
        if word.startswith(BUDGET):
            minutes = _minutes(word)
    return Effort(60.0 * minutes, DEFAULT_EPISODES)


def _minutes(word: str) -> float:
    try:
        minutes = float(word.removeprefix(BUDGET))
    except ValueError:
        minutes = float("nan")
    if not 0.0 < minutes <= LARGEST_MINUTES:
        raise UserError(f"{word}: must be a number of minutes > 0, such as budget=10")
    return minutes
