"""Bars of the numbers of a table that have intervals."""

from __future__ import annotations

import math

from mbrl_cli.diagnosis.bars import Bars
from mbrl_cli.diagnosis.output.interval_columns import interval_columns
from mbrl_cli.diagnosis.table import Cell, Table


def table_bars(table: Table, unit: str) -> list[Bars]:
    """Return one figure for each column with intervals; rows without a number are left out.

    Args:
        table: its first column names the bars.
        unit: of the numbers.
    """
    figures = []
    for column in interval_columns(table.columns):
        rows = [row for row in table.rows if not math.isnan(_number(row[column]))]
        if rows:
            name = table.columns[column]
            values, low, high = ([_number(row[column + i]) for row in rows] for i in range(3))
            title = f"{name.capitalize()}, with 95 % intervals"
            names = [_label(str(row[0])) for row in rows]
            figures.append(Bars(title, f"{name}, {unit}", names, values, low, high))
    return figures


def _label(name: str) -> str:
    """Return a name that fits beside a figure."""
    return name.replace(" + true ", " + ").replace("times the", "x")


def _number(cell: Cell) -> float:
    return float(cell) if isinstance(cell, int | float) else math.nan
