"""`mbrl diagnose RUN`: which part of a saved run loses the return."""

from __future__ import annotations

import os
import shutil
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from mbrl_cli.commands.output_file import check_output_file, write_output_file
from mbrl_cli.commands.saved_run_parser import SavedRunParser
from mbrl_cli.errors import UserError

if TYPE_CHECKING:
    from mbrl_cli.diagnosis.diagnose import Effort
    from mbrl_cli.diagnosis.diagnosis import Diagnosis

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
    """Diagnose the run that the words name, or two runs and their differences."""
    words = _parse(argv)
    folders = [words.run_dir, *(Path(word) for word in words.overrides if _is_run(word))]
    if len(folders) > 2:
        raise UserError(f"{folders[2]}: diagnose takes one run, or two to compare")
    for name in ("html", "json"):
        check_output_file(f"--{name}", getattr(words, name), [f".{name}"])

    from mbrl_cli.config.sweep_folder import refuse_sweep_folder
    from mbrl_cli.diagnosis.output.diagnosis_json import diagnosis_json, difference_json
    from mbrl_cli.diagnosis.output.diagnosis_page import diagnosis_page
    from mbrl_cli.diagnosis.output.diagnosis_text import diagnosis_text
    from mbrl_cli.diagnosis.output.difference_page import difference_page
    from mbrl_cli.diagnosis.output.difference_text import difference_text
    from mbrl_cli.diagnosis.output.tensorboard_output import check_event_folder, write_events

    if words.tensorboard is not None:
        check_event_folder(words.tensorboard)
    for folder in folders:
        refuse_sweep_folder("diagnose", folder)
    found = [_diagnose(folder, words, len(folders) > 1) for folder in folders]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    if len(found) == 1:
        print(diagnosis_text(found[0], width), end="")
    else:
        print(difference_text(found[0], found[1], width), end="")
    if words.tensorboard is not None:
        for diagnosis in found:
            name = Path(diagnosis.folder).name if len(found) > 1 else ""
            write_events(diagnosis, words.tensorboard / name)
        print(f"wrote {words.tensorboard}")
    if words.html is not None:
        page = diagnosis_page(found[0]) if len(found) == 1 else difference_page(*found)
        write_output_file("--html", words.html, page)
    if words.json is not None:
        text = diagnosis_json(found[0]) if len(found) == 1 else difference_json(*found)
        write_output_file("--json", words.json, text)


def _parse(argv: list[str]) -> Namespace:
    parser = SavedRunParser(
        command="diagnose",
        description="Find out which part of a saved run loses the return: the saved agent is "
        "evaluated with one part replaced by the truth; its model and its data are checked.",
        epilog=EPILOG,
        options="[RUN_DIR] [budget=MINUTES] [--quick] [--html FILE] [--json FILE] "
        "[--tensorboard DIR]",
    )
    parser.add_argument("--quick", action="store_true", help="less than a minute on CartPole")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers")
    parser.add_argument(
        "--tensorboard", type=Path, metavar="DIR", help="also write an event file for TensorBoard"
    )
    words = parser.parse(argv)
    if words.quick and any(word.startswith(BUDGET) for word in words.overrides):
        parser.error("--quick: cannot be used together with budget=")
    return words


def _diagnose(folder: Path, words: Namespace, several: bool) -> Diagnosis:
    from mbrl_cli.api.loading import load_run
    from mbrl_cli.diagnosis.diagnose import diagnose
    from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
    from mbrl_cli.diagnosis.output.diagnosis_progress import DiagnosisProgress

    settings = [word for word in words.overrides if not _is_run(word)]
    changes = [word for word in settings if not word.startswith(BUDGET)]
    saved = DiagnosedRun(load_run(folder, words.trust, words.config_dir), changes)
    if words.quick:
        settings.append("--quick")
    effort = _effort(words)
    with DiagnosisProgress(folder.name if several else "") as progress:
        return diagnose(saved, effort, progress, settings)


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
