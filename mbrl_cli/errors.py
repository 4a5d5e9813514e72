"""The one exception that means "the user can fix this": one or two lines, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what was asked for; the message names the key, the value and what is allowed."""


def nearest(word: str, allowed: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` names from `allowed` that look like `word`, the closest first."""
    folded = {name.lower(): name for name in allowed}
    found = difflib.get_close_matches(word.lower(), folded, n=count, cutoff=0.5)
    return [folded[name] for name in found]
