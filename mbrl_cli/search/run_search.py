"""Start a search or continue it, and print its table."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from mbrl_cli.config.output_folder import check_output_folder
from mbrl_cli.errors import StopRequested, UserError
from mbrl_cli.run_files import write_atomically
from mbrl_cli.search.definition import FILE, Definition
from mbrl_cli.search.report import Report
from mbrl_cli.search.worker import Worker

TABLE = "trials.csv"


def is_search_folder(folder: Path) -> bool:
    """Return whether a folder holds a search."""
    return (folder / FILE).is_file()


def start_search(folder: Path, definition: Definition) -> None:
    """Run a search in a folder, which may hold the same one with another number of trials."""
    if is_search_folder(folder):
        # It is only compared, so it need not be trusted: another machine may have written it.
        there = Definition.load(folder, trust=True)
        definition.refuse_other(there, folder)
        definition = there.with_trials(definition.settings.trials)
    else:
        check_output_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    definition.save(folder)
    _run(folder, definition)


def resume_search(folder: Path, trials: int | None, trust: bool) -> None:
    """Continue the search in a folder.

    Args:
        folder: of the search.
        trials: their number from now on; None: as before.
        trust: whether its runs may import any code.
    """
    absolute = folder.absolute()
    definition = Definition.load(absolute, trust)
    started_in = Definition.started_in(absolute)
    if started_in is not None and started_in.is_dir():
        os.chdir(started_in)  # words may have paths relative to it
    if trials is not None:
        definition = definition.with_trials(trials)
        definition.save(absolute)
    _run(absolute, definition)


def _run(folder: Path, definition: Definition) -> None:
    settings, again = definition.settings, f"mbrl resume {shlex.quote(str(folder))}"
    keys = ", ".join(parameter.key for parameter in definition.space)
    print(
        f"folder    {folder}\n"
        f"search    {settings.trials} trials of {len(settings.seeds)} seeds over {keys}\n"
        f"compared  after {', '.join(f'{steps:,}' for steps in definition.rungs)} steps\n"
        f"steps     {definition.most_steps:,} of all runs at most\n"
        f"to continue it, or to add a worker, type: {again}",
        flush=True,
    )
    try:
        worker = Worker(folder, definition)
        records = worker.run()
    except StopRequested:
        print(f"stopped and saved; to continue type: {again}", flush=True)
        raise
    report = Report(definition, records)
    write_atomically(folder / TABLE, report.csv().encode())
    print(f"\n{report.text()}", end="")
    if report.best is None:
        raise UserError(f"{folder}: all {len(records)} trials failed")
