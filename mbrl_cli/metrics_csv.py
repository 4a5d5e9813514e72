"""metrics.csv: every logged number of a run in full precision, one row each."""

from __future__ import annotations

import csv
import io
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from mbrl_cli.errors import UserError
from mbrl_cli.run_files import open_regular

METRICS_CSV = "metrics.csv"
HEADER = ("env_step", "tag", "value")
CHUNK = 2**20  # bytes that are read at once
MAX_ROW = 1000  # characters


class MetricsCsv:
    """The metrics.csv of one run folder, open for appending."""

    def __init__(self, folder: Path, position: int = 0) -> None:
        """Open the file and cut it back to its first `position` bytes; 0 starts a new file.

        Raises UserError if the file is shorter than `position`.
        """
        self._path = folder / METRICS_CSV
        check_metrics_csv(folder, position)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._file = os.fdopen(open_regular(self._path, flags), "ab")
        self._file.truncate(position)
        self.position = position  # length of the file in bytes
        self.crc = _crc(self._path, position)  # CRC-32 of its content
        if position == 0:
            self._append([HEADER])

    def write(self, env_step: int, values: Mapping[str, float]) -> None:
        """Append one row for each tag; the rows survive if the process is killed afterwards."""
        self._append([(env_step, tag, value) for tag, value in values.items()])

    def read(self, stop: int | None = None) -> Iterator[tuple[int, str, float]]:
        """Yield (env_step, tag, value) of every row in the first `stop` bytes; None: of all."""
        for _, row in _rows(self._path, self.position if stop is None else stop):
            if row is not None:
                yield int(row[0]), row[1], float(row[2])

    def sync(self) -> None:
        """Write everything to the disk, so that it survives a power cut."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, rows: list[tuple[object, ...]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)  # writes floats with repr
        content = text.getvalue().encode()
        self._file.write(content)
        self._file.flush()
        self.position += len(content)
        self.crc = zlib.crc32(content, self.crc)


def check_metrics_csv(folder: Path, position: int, crc: int | None = None) -> None:
    """Raise UserError if the first `position` bytes of metrics.csv are not what a run wrote.

    Args:
        folder: the run folder.
        position: length of the file in bytes when the checkpoint was written.
        crc: CRC-32 of these bytes; None: unknown, because an older version wrote the checkpoint.
    """
    path = folder / METRICS_CSV
    remedy = f"restore the file, or start a new run with model_from={folder}"
    if not position:
        return
    if not path.exists() or path.stat().st_size < position:
        raise UserError(
            f"{path}: shorter than when the checkpoint was written, rows were lost; {remedy}"
        )
    if crc is not None and _crc(path, position) == crc:
        return
    for number, row in _rows(path, position):
        if row is None:
            raise UserError(f"{path}: row {number} is damaged; {remedy}")
    if crc is not None:
        raise UserError(f"{path}: a number changed after it was written; {remedy}")


def last_env_step(folder: Path) -> int:
    """Return the environment step of the last complete row of metrics.csv; -1 if there is none."""
    with os.fdopen(open_regular(folder / METRICS_CSV, os.O_RDONLY), "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 2 * MAX_ROW))
        lines = file.read().splitlines(keepends=True)
    rows = [row for line in lines[1:] if (row := _parse_row(line)) is not None]
    return int(rows[-1][0]) if rows else -1


def _crc(path: Path, position: int) -> int:
    """Return the CRC-32 of the first `position` bytes."""
    crc = 0
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        while position > 0 and (chunk := file.read(min(CHUNK, position))):
            crc = zlib.crc32(chunk, crc)
            position -= len(chunk)
    return crc


def _rows(path: Path, position: int) -> Iterator[tuple[int, tuple[str, str, str] | None]]:
    """Yield the number and the fields of each row in the first `position` bytes.

    The header is row 1 and not yielded if it is right. A damaged row is None.
    """
    number = 0
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        while position > 0:
            line = file.readline(min(MAX_ROW, position))
            position -= len(line)
            number += 1
            row = _parse_row(line)
            if number == 1 and line == f"{','.join(HEADER)}\n".encode():
                continue
            yield number, row
            if row is None:
                return


def _parse_row(line: bytes) -> tuple[str, str, str] | None:
    """Return the fields of a row, None if it is damaged."""
    try:
        ((env_step, tag, value),) = csv.reader([line.decode()], strict=True)
        int(env_step), float(value)
    except (ValueError, csv.Error):  # a UnicodeDecodeError is a ValueError
        return None
    return (env_step, tag, value) if line.endswith(b"\n") and tag else None
