"""A table of a diagnosis as texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mbrl_cli.diagnosis.output.interval_columns import interval_columns
from mbrl_cli.diagnosis.table import Cell, Table
from mbrl_cli.return_text import LARGE, format_return

NONE = "-"
INTERVAL = "95 % interval"
VALUE = "value"  # a column with this name has another quantity in each row
# A column whose largest value is this many times its smallest has three digits in each cell.
MIXED = 1000.0


class ShownTable(NamedTuple):
    """Texts of a table; both ends of an interval are one column.

    Attributes:
        head: names of the columns.
        rows: as many texts as columns each.
        text_columns: columns without numbers, which are aligned to the left.
    """

    head: list[str]
    rows: list[list[str]]
    text_columns: list[int]


def shown_table(table: Table) -> ShownTable:
    """Return the texts of a table; numbers of one column have equal decimals."""
    table = replace(table, rows=[[plain_cell(cell) for cell in row] for row in table.rows])
    starts = interval_columns(table.columns)
    columns: list[tuple[str, list[str]]] = []
    index = 0
    while index < len(table.columns):
        cells = [row[index] for row in table.rows]
        if index in starts:
            ends = [(row[index + 1], row[index + 2]) for row in table.rows]
            scale = number_scale([*cells, *(end for pair in ends for end in pair)])
            columns.append((table.columns[index], [cell_text(cell, scale) for cell in cells]))
            columns.append((INTERVAL, [interval_text(low, high, scale) for low, high in ends]))
            index += 3
        else:
            mixed = table.columns[index] == VALUE
            scale = None if mixed else number_scale(cells)
            columns.append((table.columns[index], [cell_text(cell, scale) for cell in cells]))
            index += 1
    rows = [list(texts) for texts in zip(*(texts for _, texts in columns), strict=True)]
    words = {name for i, name in enumerate(table.columns) if _is_text(table, i)}
    text_columns = [i for i, (name, _) in enumerate(columns) if name in words]
    return ShownTable([name for name, _ in columns], rows, text_columns)


def plain_cell(cell: Cell) -> Cell:
    """Return a cell without types of numpy."""
    plain: Cell = cell.item() if isinstance(cell, np.generic) else cell
    return plain


def number_scale(cells: Sequence[Cell]) -> float | None:
    """Return the size of the numbers of a column, by which they get equal decimals.

    None: they differ too much, so each has its own.
    """
    numbers = [abs(c) for c in cells if isinstance(c, float) and math.isfinite(c) and c != 0.0]
    if numbers and max(numbers) > MIXED * min(numbers):
        return None
    return max(numbers, default=0.0)


def cell_text(cell: Cell, scale: float | None = None) -> str:
    """Return the text of a cell; see `number_scale`."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return NONE
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, str):
        return cell
    if scale is not None:
        return format_return(cell, scale)
    return f"{cell:,.0f}" if 1000.0 <= abs(cell) < LARGE else f"{cell:.3g}"


def interval_text(low: Cell, high: Cell, scale: float | None = None) -> str:
    """Return `485.5 to 500.0`, or a hyphen if there is no interval."""
    ends = cell_text(low, scale), cell_text(high, scale)
    return NONE if NONE in ends else " to ".join(ends)


def _is_text(table: Table, index: int) -> bool:
    cells = [row[index] for row in table.rows if row[index] is not None]
    return bool(cells) and all(isinstance(cell, str) for cell in cells)
