"""What differs between two diagnoses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mbrl_cli.diagnosis.diagnosis import Diagnosis
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.output.interval_columns import interval_columns
from mbrl_cli.diagnosis.output.shown_table import plain_cell
from mbrl_cli.diagnosis.table import Cell, Table
from mbrl_cli.reports.comparison import Estimate

Grade = Literal["problem", "note", "fine", "not checked"]
ORDER: dict[Grade, int] = {"problem": 3, "note": 2, "fine": 1, "not checked": 0}
COLUMNS = ["first", "second", "difference", "difference, low", "difference, high", "conclusion"]


@dataclass(frozen=True)
class GradeChange:
    """A fault that the two diagnoses grade differently.

    Attributes:
        fault: short name of what was checked.
        first: worst grade in the first diagnosis.
        second: worst grade in the second diagnosis.
        finding: of the diagnosis in which the grade is worse.
    """

    fault: str
    first: Grade
    second: Grade
    finding: Finding


@dataclass(frozen=True)
class DiagnosisDifference:
    """What differs between two diagnoses.

    Attributes:
        first: the diagnosis that was named first.
        second: the other one.
        appeared: faults with a worse grade in the second one.
        vanished: faults with a worse grade in the first one.
        common: problems and notes with equal grades, those of the second diagnosis.
        tables: numbers with intervals in equal tables of both, and their differences.
    """

    first: Diagnosis
    second: Diagnosis
    appeared: list[GradeChange]
    vanished: list[GradeChange]
    common: list[Finding]
    tables: list[Table]


def diagnosis_difference(first: Diagnosis, second: Diagnosis) -> DiagnosisDifference:
    """Return the changed findings and the differences, second minus first."""
    before, after = _worst(first), _worst(second)
    appeared, vanished, common = [], [], []
    for fault in dict.fromkeys([*before, *after]):
        grades = _grade(before, fault), _grade(after, fault)
        shown = [ORDER[grade] if grade in ("problem", "note") else 0 for grade in grades]
        if shown[1] > shown[0]:
            appeared.append(GradeChange(fault, *grades, after[fault]))
        elif shown[1] < shown[0]:
            vanished.append(GradeChange(fault, *grades, before[fault]))
        elif shown[1]:
            common.append(after[fault])
    tables = list(_tables(first, second))
    return DiagnosisDifference(first, second, appeared, vanished, common, tables)


def independent_difference(first: Estimate, second: Estimate) -> Estimate:
    """Return second minus first with its 95 % interval; the estimates are independent.

    The interval is made of both intervals (Zou and Donner 2008, equation 8).
    """
    difference = second.value - first.value
    down = math.hypot(second.value - second.low, first.high - first.value)
    up = math.hypot(second.high - second.value, first.value - first.low)
    return Estimate(difference, difference - down, difference + up)


def _worst(diagnosis: Diagnosis) -> dict[str, Finding]:
    """Return the worst finding of each fault."""
    worst: dict[str, Finding] = {}
    for finding in diagnosis.findings():
        worst.setdefault(finding.fault, finding)
    return worst


def _grade(worst: Mapping[str, Finding], fault: str) -> Grade:
    return worst[fault].severity if fault in worst else "not checked"


def _tables(first: Diagnosis, second: Diagnosis) -> Iterator[Table]:
    pair = first.mean_return, second.mean_return
    if pair[0] is not None and pair[1] is not None:
        rows = [["mean return", *_row(pair[0], pair[1])]]
        yield Table("Return of the saved agents", ["number", *COLUMNS], rows)
    others = {
        (section.name, table.title): table for section in first.sections for table in section.tables
    }
    for section in second.sections:
        for table in section.tables:
            other = others.get((section.name, table.title))
            if other is not None and other.columns == table.columns:
                yield from _table(other, table)


def _table(first: Table, second: Table) -> Iterator[Table]:
    """Yield one table for each column that has intervals in both."""
    before = {str(row[0]): row for row in first.rows}
    for column in interval_columns(second.columns):
        rows: list[list[Cell]] = []
        for row in second.rows:
            pair = _estimate(before.get(str(row[0])), column), _estimate(row, column)
            if pair[0] is not None and pair[1] is not None:
                rows.append([str(row[0]), *_row(pair[0], pair[1])])
        if rows:
            name, value = second.columns[0], second.columns[column]
            yield Table(f"{second.title}: {value}", [name, *COLUMNS], rows)


def _estimate(row: list[Cell] | None, column: int) -> Estimate | None:
    """Return the number of a row with its interval; None if one of them was not measured."""
    if row is None:
        return None
    cells = [plain_cell(cell) for cell in row[column : column + 3]]
    numbers = [float(cell) for cell in cells if isinstance(cell, int | float)]
    if len(numbers) < 3 or not all(map(math.isfinite, numbers)):
        return None
    return Estimate(*numbers)


def _row(first: Estimate, second: Estimate) -> list[Cell]:
    difference = independent_difference(first, second)
    if difference.low > 0.0:
        conclusion = "higher in the second"
    elif difference.high < 0.0:
        conclusion = "lower in the second"
    else:
        conclusion = "no difference is shown"
    values = difference.value, difference.low, difference.high
    return [first.value, second.value, *values, conclusion]
