"""How a sweep ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from mbrl_cli.config.job_failed import JobFailed


class SweepEnd:
    """The folder of a sweep whose jobs were run, and the jobs that failed.

    Attributes:
        folder: of the sweep.
        failures: name of the job's folder -> its error.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: dict[str, Exception] = {}

    def add(self, results: Sequence[JobReturn]) -> None:
        """Note the jobs that failed."""
        for result in results:
            if result.status == JobStatus.FAILED:
                assert result.hydra_cfg is not None
                folder = Path(str(result.hydra_cfg.hydra.runtime.output_dir))
                self.failures[folder.name] = result._return_value

    @property
    def exit_code(self) -> int:
        """The exit code of the first failed job; 0 if none failed."""
        for error in self.failures.values():
            return error.exit_code if isinstance(error, JobFailed) else 1
        return 0
