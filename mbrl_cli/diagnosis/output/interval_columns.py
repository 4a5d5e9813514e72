"""Columns of a table that are the ends of intervals."""

from __future__ import annotations

from collections.abc import Sequence


def interval_columns(columns: Sequence[str]) -> list[int]:
    """Return each column that is followed by the ends of its 95 % intervals.

    The names of the two columns after it end in `low` and `high`, such as `gain`, `gain, low`,
    `gain, high`.
    """
    ends = [name.split(", ")[-1] for name in columns]
    return [i for i in range(len(ends) - 2) if (ends[i + 1], ends[i + 2]) == ("low", "high")]
