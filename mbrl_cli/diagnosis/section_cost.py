"""Time and memory that one part of a diagnosis took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SectionCost:
    """Time and memory of one part.

    Attributes:
        seconds: wall-clock time.
        peak_mb: largest resident memory of the process up to the end of the part, in MB; None: not
            measured on this system.
    """

    seconds: float
    peak_mb: float | None = None
