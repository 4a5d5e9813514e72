"""`sweep.json` in the folder of a sweep: the words that started it, and its jobs."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mbrl_cli.config.own_runs import record_origin
from mbrl_cli.errors import UserError
from mbrl_cli.run_files import FINAL_FILE, read_regular, write_atomically

SWEEP = "sweep.json"
FINISHED_JOB = "job.json"  # in a run folder: the words of the job that has finished there
MAX_BYTES = 2**26
MAX_JOB_BYTES = 2**16


@dataclass(frozen=True)
class RecordedJob:
    """One job of a sweep.

    Attributes:
        overrides: its words, as Hydra passes them to the job.
        name: of its folder; None: known only when the job starts.
        saved_step: environment step of its newest checkpoint when the sweep was started last; None:
            the job was not to be run, because it had finished or another process ran it.
    """

    overrides: list[str]
    name: str | None
    saved_step: int | None = 0

    def has_finished(self, sweep: Path) -> bool:
        """Return whether the run in the job's folder has finished with the job's words."""
        if self.name is None:
            return False
        folder = sweep / self.name
        try:
            content = json.loads(read_regular(folder / FINISHED_JOB, MAX_JOB_BYTES))
        except (OSError, UserError, ValueError, RecursionError):
            return False
        same = isinstance(content, dict) and content.get("overrides") == self.overrides
        return same and (folder / FINAL_FILE).is_file()


@dataclass(frozen=True)
class SweepRecord:
    """What `mbrl resume` needs to start a sweep again, and each job to know its place.

    Attributes:
        words: the words after `mbrl train -m`, without those of the sweep's own folder.
        config_dir: the folder of `--config-dir`, absolute.
        jobs: in the order in which they start; empty if a sweeper chooses them while it runs.
    """

    words: list[str]
    config_dir: str | None
    jobs: list[RecordedJob] = field(default_factory=list)

    def text(self) -> str:
        """Return the part by which this user's own sweeps are recognised."""
        return json.dumps([self.words, self.config_dir])

    def write(self, folder: Path) -> None:
        """Write the record, and that this user started the sweep in the current folder."""
        folder.mkdir(parents=True, exist_ok=True)
        record_origin(folder, [self.text()], os.getcwd())
        content = json.dumps(asdict(self), indent=1) + "\n"
        write_atomically(folder / SWEEP, content.encode())


def read_sweep(folder: Path) -> SweepRecord | None:
    """Return the record of a sweep; None if the folder has none.

    Raises:
        UserError: if the file is damaged.
    """
    path = folder / SWEEP
    try:
        content = json.loads(read_regular(path, MAX_BYTES))
        jobs = [RecordedJob(**job) for job in content["jobs"]]
        words = [str(word) for word in content["words"]]
        return SweepRecord(words, content["config_dir"], jobs)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}: is damaged; type the command of the sweep again with hydra.sweep.dir={folder}"
        ) from error


def record_finished_job(folder: Path, overrides: list[str]) -> None:
    """Write into a run folder that a job with these words has finished there."""
    content = json.dumps({"overrides": overrides}, indent=1) + "\n"
    write_atomically(folder / FINISHED_JOB, content.encode())


def resume_command(folder: Path) -> str:
    """Return the command that continues a sweep."""
    return f"mbrl resume {shlex.quote(str(folder))}"
