"""Exceptions that end a run with an exit code and a message of one line, without a traceback."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user; the message names the key, the value and the allowed values."""

    exit_code = 2


class EnvironmentFault(UserError):
    """The environment raised an exception, did not return, or returned an invalid value."""

    exit_code = 3


class Diverged(UserError):
    """The model diverged in several fits in a row."""

    exit_code = 4


class DiskFault(UserError):
    """The disk is full, or the run folder can no longer be written."""

    exit_code = 5


class StopRequested(KeyboardInterrupt):
    """A signal asked the run to stop; raised at whatever line is running."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number  # as shells report it


def printable(text: object) -> str:
    r"""Return text for a terminal: control characters and text directions as escapes like \x1b.

    Text from a file of another person could otherwise move the cursor, change the title of the
    window or hide what was printed before. Line breaks stay.
    """
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else c.encode("unicode_escape").decode()
        for c in str(text)
    )  # fmt: skip


def nearest(word: str, allowed: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` names from `allowed` that are similar to `word`, best match first."""
    by_lower_case = {name.lower(): name for name in allowed}
    close = difflib.get_close_matches(word.lower(), by_lower_case, n=count, cutoff=0.5)
    return [by_lower_case[name] for name in close]


def unknown_key(full_key: str, key: str, allowed: Iterable[str]) -> str:
    """Return the error text about an unknown key: the nearest allowed ones, or else all of them.

    Args:
        full_key: the key as it was given, for example planner.horizn.
        key: its last part, which is compared with `allowed`.
        allowed: the keys that exist in its place.
    """
    allowed = list(allowed)
    close = nearest(key, allowed)
    hint = f"did you mean {', '.join(close)}?" if close else f"allowed are {', '.join(allowed)}"
    return f"{full_key}: unknown key; {hint}"
