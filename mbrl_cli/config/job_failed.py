"""The end of a job of a sweep that did not finish."""

from __future__ import annotations

from mbrl_cli.errors import UserError


class JobFailed(UserError):
    """A job of a sweep failed, or a signal stopped it in a worker process.

    It can be pickled, unlike many exceptions of other packages, so it reaches the process that
    started the sweep.

    Args:
        text: the reason in one line.
        exit_code: that of the error.
        stop_signal: the signal that stopped the job; None: the job failed.
    """

    def __init__(self, text: str, exit_code: int = 1, stop_signal: int | None = None) -> None:
        super().__init__(text, exit_code, stop_signal)
        self.text = text
        self.exit_code = exit_code
        self.stop_signal = stop_signal

    def __str__(self) -> str:
        return self.text
