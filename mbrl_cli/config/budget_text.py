"""The value of `budget`: a duration such as 90s, 30min, 2h or 1h30min."""

from __future__ import annotations

import re
from typing import Any

from mbrl_cli.errors import UserError

BUDGET = "budget"
SECONDS = {"h": 3600.0, "min": 60.0, "s": 1.0}
_FORM = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)min)?(?:(\d+(?:\.\d+)?)s)?")
MIN_SECONDS = 10.0


def parse_budget(value: Any) -> float | None:
    """Return the seconds of a duration; None for None.

    Raises:
        UserError: if the value is no duration of at least `MIN_SECONDS`.
    """
    if value is None:
        return None
    found = _FORM.fullmatch(str(value).replace(" ", "").lower())
    if found is None or not any(found.groups()):
        raise UserError(
            f"budget={value}: must be a time with its unit, such as 90s, 30min, 2h or 1h30min"
        )
    seconds = sum(
        float(number or 0.0) * unit
        for number, unit in zip(found.groups(), SECONDS.values(), strict=True)
    )
    if not MIN_SECONDS <= seconds < 1e8:
        raise UserError(f"budget={value}: must be at least {MIN_SECONDS:g}s and below 3 years")
    return seconds


def refuse_budget(value: Any, words: str) -> None:
    """Raise UserError if a budget is given where several runs start; `words` names what starts."""
    if value is not None:
        raise UserError(
            f"budget={value}: is for one run, not for {words}; start one run with it, and use the "
            "total_steps that it prints"
        )
