"""The lines that `mbrl check` prints, and the faults that it has found."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from mbrl_cli.errors import printable

Verdict = Literal["ok", "note", "fault", ""]
TITLE = 13  # columns of the first column
MAX_WIDTH = 100


@dataclass
class CheckReport:
    """Prints each result as soon as it is known; keeps the faults.

    Attributes:
        faults: the texts of all faults, in the order in which they were found.
    """

    faults: list[str] = field(default_factory=list)
    _title: str = ""

    def add(self, title: str, verdict: Verdict, text: str) -> None:
        """Print one result, wrapped to the width of the terminal.

        Args:
            title: what was checked; it is printed once for consecutive results.
            verdict: ok, note (training works), fault (it does not work, or not as it should); ""
                for a property that cannot be wrong.
            text: the result, or the fault with what to change.
        """
        if verdict == "fault":
            self.faults.append(text)
        shown = {"fault": "FAULT: ", "note": "note: ", "ok": "ok: "}.get(verdict, "")
        self._print(title, _wrapped(shown + text, self._width() - TITLE))

    def table(self, title: str, rows: Sequence[Sequence[str]]) -> None:
        """Print rows of texts in aligned columns; the last column is wrapped."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
        before = sum(widths) + 2 * len(widths)
        lines = []
        for row in rows:
            start = "".join(
                f"{text:<{width}}  " for text, width in zip(row[:-1], widths, strict=True)
            )
            rest = max(20, self._width() - TITLE - before)
            wrapped = _wrapped(row[-1], rest) or [""]
            lines += [f"{start if i == 0 else ' ' * before}{w}" for i, w in enumerate(wrapped)]
        self._print(title, lines)

    def _print(self, title: str, lines: Sequence[str]) -> None:
        first = "" if title == self._title else title
        self._title = title
        for number, line in enumerate(lines or [""]):
            print(f"{first if number == 0 else '':<{TITLE}}{line}".rstrip(), flush=True)

    @staticmethod
    def _width() -> int:
        return max(40, min(MAX_WIDTH, shutil.get_terminal_size().columns))


def _wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a text; words stay whole, so that they can be copied."""
    return textwrap.wrap(printable(text), width, break_long_words=False, break_on_hyphens=False)
