"""The difference of two diagnoses as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mbrl_cli.diagnosis.diagnosis import Diagnosis
from mbrl_cli.diagnosis.output.diagnosis_difference import GradeChange, diagnosis_difference
from mbrl_cli.diagnosis.output.diagnosis_text import (
    MAX_WIDTH,
    fact_lines,
    return_text,
    run_text,
    sentence,
    table_lines,
)
from mbrl_cli.errors import printable
from mbrl_cli.reports.text_table import wrapped

INTERVAL_NOTE = (
    "intervals of differences take the episodes of both runs as independent; they are not "
    "corrected for the number of rows"
)


def difference_text(first: Diagnosis, second: Diagnosis, width: int = MAX_WIDTH) -> str:
    """Return both verdicts, the findings that appeared or vanished, and differences of numbers.

    Args:
        first: the diagnosis of the run that was named first.
        second: the other one.
        width: columns of the terminal.
    """
    width = min(width, MAX_WIDTH)
    difference = diagnosis_difference(first, second)
    lines = [*_run("first", first, width), "", *_run("second", second, width)]
    lines += _changes("appeared in the second run, or became worse", difference.appeared, width)
    lines += _changes("vanished in the second run, or became milder", difference.vanished, width)
    lines += ["", "in both runs"]
    for finding in difference.common:
        lines += wrapped(f"{finding.severity} {finding.fault}", width, "  ", "    ")
    if not difference.common:
        lines.append("  no problem and no note")
    for table in difference.tables:
        lines += ["", *table_lines(table, width)]
    if difference.tables:
        lines += ["", *wrapped(f"note: {INTERVAL_NOTE}", width)]
    return printable("\n".join(lines) + "\n")


def change_text(change: GradeChange) -> str:
    """Return the grades in both diagnoses and the sentence of the worse one."""
    grades = f"{change.first} in the first, {change.second} in the second"
    return f"{change.fault} ({grades}): {sentence(change.finding.text)}"


def _run(name: str, diagnosis: Diagnosis, width: int) -> Iterator[str]:
    yield from fact_lines(name, f"{diagnosis.folder}: {run_text(diagnosis)}", width)
    yield from fact_lines("verdict", diagnosis.verdict, width)
    yield from fact_lines("return", return_text(diagnosis), width)


def _changes(title: str, changes: Sequence[GradeChange], width: int) -> Iterator[str]:
    yield from ("", title)
    for change in changes:
        yield from wrapped(change_text(change), width, "  ", "    ")
    if not changes:
        yield "  none"
