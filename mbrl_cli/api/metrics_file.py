"""Read the metrics.csv of a run folder quickly: all of it, single tags, or the newest rows."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from mbrl_cli.errors import UserError
from mbrl_cli.metrics_csv import HEADER, METRICS_CSV
from mbrl_cli.run_files import open_regular, read_regular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_BYTES = 2**31
TAIL_BYTES = 2**14  # read at once from the end of the file
RETURN_TAG = "eval/return"


class Series(TypedDict):
    """The logged values of one tag, in the order in which they were logged."""

    env_step: NDArray[np.int64]  # [n]
    value: NDArray[np.float64]  # [n]


def read_metrics(folder: Path, tags: Sequence[str] | None = None) -> dict[str, Series]:
    """Return tag -> {"env_step": int64 [n], "value": float64 [n]}, in the order of the file.

    A last row that is not complete, because the run is writing it, is ignored. A run that has
    logged nothing yet has no tags.

    Args:
        folder: a run folder.
        tags: the tags to read; None: all. A tag that the run has not logged is left out.

    Raises:
        UserError: if a row is damaged.
    """
    import numpy as np

    columns: dict[str, tuple[list[str], list[str]]] = {}
    try:
        for env_step, tag, value in _rows(_complete_lines(folder), tags):
            if tag not in columns:
                columns[tag] = ([], [])
            steps, values = columns[tag]
            steps.append(env_step)
            values.append(value)
        return {
            tag: {
                "env_step": np.array(steps, dtype=np.int64),
                "value": np.array(values, dtype=np.float64),
            }
            for tag, (steps, values) in columns.items()
        }
    except (ValueError, OverflowError, csv.Error):  # a number of steps may exceed 64 bits
        raise UserError(f"{folder / METRICS_CSV}: {_first_damaged(folder)}") from None


def last_step_and_return(folder: Path) -> tuple[int, float | None]:
    """Return the newest `env_step` in metrics.csv, and the newest value of `eval/return`.

    Only the end of the file is read. A run that has logged nothing gives (0, None). A damaged row
    counts as no row.
    """
    pattern = re.compile(rb"^(\d{1,18})," + RETURN_TAG.encode() + rb",(\S+)\n", re.MULTILINE)
    try:
        descriptor = open_regular(folder / METRICS_CSV, os.O_RDONLY)
    except (OSError, UserError):
        return 0, None
    with os.fdopen(descriptor, "rb") as file:
        start = file.seek(0, os.SEEK_END)
        tail, step, length = b"", None, TAIL_BYTES
        while start > 0:
            block = min(length, start)
            start -= block
            file.seek(start)
            tail = file.read(block) + tail
            if step is None:
                steps = re.findall(rb"^(\d{1,18}),.*\n", tail, re.MULTILINE)
                step = int(steps[-1]) if steps else None
            returns = pattern.findall(tail)
            if step is not None and returns:
                return step, _number(returns[-1][1])
            length *= 2
    return step or 0, None


def _number(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _complete_lines(folder: Path) -> str:
    """Return the text of metrics.csv up to its last line break; empty if there is no file."""
    path = folder / METRICS_CSV
    try:
        content = read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return content[: content.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text") from None


def _rows(text: str, tags: Sequence[str] | None) -> Iterator[Sequence[str]]:
    """Yield (env_step, tag, value) as texts; raise ValueError or csv.Error for a damaged row."""
    if tags is not None and not any(set(',"\n') & set(tag) for tag in tags):
        names = "|".join(map(re.escape, tags))
        yield from re.findall(rf"^([^,\n]*),({names}),(.*)$", text, re.MULTILINE)
        return
    reader = csv.reader(io.StringIO(text, newline=""))
    if next(reader, list(HEADER)) != list(HEADER):
        raise ValueError("the first row is not the header")
    for row in reader:
        if len(row) != len(HEADER):
            raise ValueError("a row has another number of fields")
        if tags is None or row[1] in tags:
            yield row


def _first_damaged(folder: Path) -> str:
    """Return the error text about the first damaged row."""
    import numpy as np

    for number, line in enumerate(_complete_lines(folder).splitlines(), start=1):
        try:
            (row,) = csv.reader([line])
            if number == 1 and row == list(HEADER):
                continue
            env_step, _, value = row
            np.int64(int(env_step)), float(value)
        except (ValueError, OverflowError, csv.Error):
            return f"row {number} is damaged; delete the row, or restore the file"
    return "a row is damaged; restore the file"
