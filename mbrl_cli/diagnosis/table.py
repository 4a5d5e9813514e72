"""A table of a diagnosis: for the terminal, the page and the JSON file alike."""

from __future__ import annotations

from dataclasses import dataclass, field

Cell = str | float | int | None  # None: could not be measured


@dataclass(frozen=True)
class Table:
    """Named columns and their rows.

    Attributes:
        title: what the rows are, one line.
        columns: names, with units where a column has one.
        rows: as many cells as columns each; the first one names the row.
        note: how to read the table, such as what a calibrated model has; empty: no note.
    """

    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    note: str = ""
