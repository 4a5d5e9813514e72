"""What ends a run in one or two lines and an exit code, instead of a trace."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what was asked for; the message names the key, the value and what is allowed."""

    exit_code = 2


class EnvironmentFault(UserError):
    """The environment raised, hung, or returned what no environment may."""

    exit_code = 3


class Diverged(UserError):
    """The model became useless in one fit after another."""

    exit_code = 4


class DiskFault(UserError):
    """The disk is full, or the run's folder cannot be written any more."""

    exit_code = 5


class Stopped(KeyboardInterrupt):
    """A signal asked the run to stop; raised wherever the run was."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def nearest(word: str, allowed: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` names from `allowed` that look like `word`, the closest first."""
    folded = {name.lower(): name for name in allowed}
    found = difflib.get_close_matches(word.lower(), folded, n=count, cutoff=0.5)
    return [folded[name] for name in found]
