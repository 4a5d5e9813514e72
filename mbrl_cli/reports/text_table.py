"""Aligned tables and wrapped sentences for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence

GAP = "  "  # between two columns
FIXED_SPACE = "\u00a0"  # between a number and its percent sign, where no line ends


def text_table(
    rows: Sequence[Sequence[str]],
    width: int,
    notes: Sequence[Sequence[str]] = (),
    text_columns: Collection[int] = (),
) -> list[str]:
    """Return aligned lines: the first column to the left, the others to the right.

    A name that is too long for `width` characters has a line of its own above its numbers.

    Args:
        rows: of equal length; the first one is the heading.
        width: of the terminal.
        notes: lines below each row.
        text_columns: further columns that are aligned to the left.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    room = width - sum(widths[1:]) - len(GAP) * (len(widths) - 1)
    widths[0] = max((len(row[0]) for row in rows if len(row[0]) <= room), default=0)
    lines = []
    for index, (name, *cells) in enumerate(rows):
        aligned = [
            f"{cell:<{size}}" if column in text_columns else f"{cell:>{size}}"
            for column, (cell, size) in enumerate(zip(cells, widths[1:], strict=True), 1)
        ]
        if len(name) > widths[0]:
            lines.append(name)
            name = ""
        lines.append(GAP.join([f"{name:<{widths[0]}}", *aligned]).rstrip())
        lines += notes[index] if notes else []
    return lines


def wrapped(text: str, width: int, indent: str = "", hanging: str = "  ") -> list[str]:
    """Return the lines of a sentence; words with hyphens and percentages stay whole.

    Args:
        text: without line breaks.
        width: of the terminal.
        indent: before the first line.
        hanging: added before the other lines.
    """
    lines = textwrap.wrap(
        text.replace(" %", f"{FIXED_SPACE}%"), width, initial_indent=indent,
        subsequent_indent=f"{indent}{hanging}", break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace(FIXED_SPACE, " ") for line in lines]
