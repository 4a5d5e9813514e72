"""What is printed at the end of a sweep: failed jobs, the comparison, the next command."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mbrl_cli.errors import UserError, printable
from mbrl_cli.run_files import FAULT_FILE

if TYPE_CHECKING:
    from mbrl_cli.config.sweep_end import SweepEnd

MIN_WIDTH = 40


def report_sweep(end: SweepEnd) -> None:
    """Print the end of a sweep; exit with the code of the first failed job if one failed."""
    from mbrl_cli.api.loading import load_runs
    from mbrl_cli.reports.compare_options import CompareOptions
    from mbrl_cli.reports.compare_runs import compare_runs
    from mbrl_cli.reports.comparison_text import comparison_text

    finished = [run for run in load_runs(end.folder) if run.state == "finished"]
    if len(finished) > 1:
        try:
            comparison = compare_runs(finished, CompareOptions())
        except UserError as error:  # for example: no run has logged an evaluation
            print(f"mbrl: no comparison: {printable(error)}", file=sys.stderr)
        else:
            width = max(MIN_WIDTH, shutil.get_terminal_size().columns)
            print(f"\n{comparison_text(comparison, width)}")
            word = shlex.quote(str(end.folder))
            print(f"next      mbrl compare {word} --html report.html")
    report_failures(end)
    if end.failures:
        raise SystemExit(end.exit_code)


def report_failures(end: SweepEnd) -> None:
    """Print one line for each failed job on stderr, and the command that tries them again."""
    from mbrl_cli.config.sweep_record import resume_command

    again = f"to try again type: {resume_command(end.folder)}"
    is_one = len(end.failures) == 1
    for name, failure in end.failures.items():
        text = f"mbrl: {name} failed: {failure}{_more(end.folder / name)}"
        text += f"; {again}" if is_one else ""
        print(printable(" ".join(text.split())), file=sys.stderr)
    if len(end.failures) > 1:
        print(f"mbrl: {len(end.failures)} jobs failed; {again}", file=sys.stderr)


def _more(folder: Path) -> str:
    """Return the command that shows the trace of a failed job, empty if there is none."""
    trace = folder / FAULT_FILE
    show = "type" if os.name == "nt" else "cat"
    return f"; to see the trace type: {show} {shlex.quote(str(trace))}" if trace.exists() else ""
