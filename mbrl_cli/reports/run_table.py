"""The table of runs that `mbrl runs` prints."""

from __future__ import annotations

from collections.abc import Sequence

from mbrl_cli.api.run_summary import RunSummary
from mbrl_cli.errors import printable
from mbrl_cli.return_text import format_return

COLUMNS = (
    "state", "env", "agent", "planner", "seed", "steps", "return", "age", "size", "tags", "folder",
)  # fmt: skip
RIGHT = {"seed", "steps", "return", "age", "size"}
GAP = "  "
MAX_NAME, MAX_NARROW_NAME = 24, 10  # characters of the name of a choice; longer ones are cut
DROPPED = ("size", "age", "tags")  # columns that are left out first where the lines are too wide


def run_table(summaries: Sequence[RunSummary], width: int | None) -> str:
    """Return one line for each run, with a heading.

    If the lines are wider than `width`, each folder stands in a line of its own below its run, so
    that it can be copied. If that is not enough, names are cut, and then columns are left out.

    Args:
        summaries: the runs, in the order of the lines.
        width: of the terminal in characters; None: no limit.
    """
    has_tags = any(summary.tags for summary in summaries)
    columns = [column for column in COLUMNS if column != "tags" or has_tags]
    lines = _lines(summaries, columns, MAX_NAME)
    if width is None or max(map(len, lines)) <= width:
        return "\n".join(lines)
    columns = columns[:-1]
    lines = _lines(summaries, columns, MAX_NAME)
    for dropped in (None, *DROPPED):
        if max(map(len, lines)) <= width:
            break
        columns = [column for column in columns if column != dropped]
        lines = _lines(summaries, columns, MAX_NARROW_NAME)
    folders = [f"{GAP}{printable(summary.folder)}" for summary in summaries]
    pairs = zip(lines[1:], folders, strict=True)
    return "\n".join([lines[0], *(f"{line}\n{folder}" for line, folder in pairs)])


def state_counts(summaries: Sequence[RunSummary]) -> str:
    """Return '3 runs: 2 finished, 1 running'."""
    states = [summary.state for summary in summaries]
    order = ("finished", "running", "interrupted", "failed")
    counts = ", ".join(f"{states.count(state)} {state}" for state in order if state in states)
    return f"{len(states)} run{'' if len(states) == 1 else 's'}{counts and f': {counts}'}"


def _lines(summaries: Sequence[RunSummary], columns: Sequence[str], max_name: int) -> list[str]:
    """Return the heading and the lines of all runs, with aligned columns."""
    heading = {column: column for column in COLUMNS}
    rows = [heading, *(_cells(summary, max_name) for summary in summaries)]
    widths = {column: max(len(row[column]) for row in rows) for column in columns}
    return [
        GAP.join(
            row[column].rjust(size) if column in RIGHT else row[column].ljust(size)
            for column, size in widths.items()
        ).rstrip()
        for row in rows
    ]


def _cells(run: RunSummary, max_name: int) -> dict[str, str]:
    total = f"{run.total_steps:,}"
    cells = {
        "state": run.state,
        "env": _cut(run.env, max_name),
        "agent": _cut(run.agent, max_name),
        "planner": "-" if run.planner == "none" else _cut(run.planner, max_name),
        "seed": str(run.seed),
        "steps": total if run.steps == run.total_steps else f"{run.steps:,}/{total}",
        "return": "-" if run.last_return is None else format_return(run.last_return),
        "age": _duration(run.age),
        "size": _bytes(run.size),
        "tags": _cut(",".join(run.tags), MAX_NAME) or "-",
        "folder": str(run.folder),
    }
    return {column: printable(cell).replace("\n", " ") for column, cell in cells.items()}


def _cut(name: str, max_name: int) -> str:
    return name if len(name) <= max_name else f"{name[: max_name - 1]}…"


def _duration(seconds: float) -> str:
    """Return 40 s, 5 min, 3 h or 12 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _bytes(size: int) -> str:
    """Return the size in kB, MB or GB of 1000 bytes, with two digits."""
    value, unit = size / 1e3, "kB"
    for larger in ("MB", "GB"):
        if value >= 999.5:
            value, unit = value / 1e3, larger
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
