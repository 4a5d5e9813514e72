"""metrics.csv: every logged number of a run in full precision, one row each."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from mbrl_cli.errors import UserError

METRICS_CSV = "metrics.csv"
HEADER = ("env_step", "tag", "value")


class MetricsCsv:
    """The metrics.csv of one run folder, open for appending."""

    def __init__(self, folder: Path, position: int = 0) -> None:
        """Open the file and cut it back to its first `position` bytes; 0 starts a new file.

        Raises UserError if the file is shorter than `position`.
        """
        self._path = folder / METRICS_CSV
        check_metrics_csv(folder, position)
        self._file = self._path.open("a", newline="", encoding="utf-8")
        self._file.truncate(position)
        self._file.seek(0, os.SEEK_END)
        self._writer = csv.writer(self._file, lineterminator="\n")  # writes floats with repr
        if position == 0:
            self._writer.writerow(HEADER)
            self._file.flush()

    @property
    def position(self) -> int:
        """Return the length of the file in bytes."""
        return self._file.tell()

    def write(self, env_step: int, values: Mapping[str, float]) -> None:
        """Append one row for each tag; the rows survive if the process is killed afterwards."""
        for tag, value in values.items():
            self._writer.writerow((env_step, tag, value))
        self._file.flush()

    def read(self) -> Iterator[tuple[int, str, float]]:
        """Yield (env_step, tag, value) of every row."""
        with self._path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield int(row["env_step"]), row["tag"], float(row["value"])

    def sync(self) -> None:
        """Write everything to the disk, so that it survives a power cut."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def check_metrics_csv(folder: Path, position: int) -> None:
    """Raise UserError if the folder's metrics.csv is shorter than `position` bytes."""
    path = folder / METRICS_CSV
    if position and (not path.exists() or path.stat().st_size < position):
        raise UserError(
            f"{path}: shorter than when the checkpoint was written, rows were lost; restore the "
            f"file, or start a new run with model_from={folder}"
        )
