"""One statement about a run, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# "fine": this was checked and nothing is wrong. "note": worth knowing, costs no return for sure.
# "problem": loses return, or makes the data wrong.
Severity = Literal["fine", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One statement about a run.

    Attributes:
        fault: short fixed name of what was checked, such as "dynamics" or "shifted_actions".
        severity: see `Severity`.
        text: one sentence that a user understands without the table; it names the numbers.
        confidence: 0 to 1; how sure the severity is.
        command: the one command that is most likely to help; None: there is none. `RUN` stands for
            the run folder.
    """

    fault: str
    severity: Severity
    text: str
    confidence: float = 1.0
    command: str | None = None
