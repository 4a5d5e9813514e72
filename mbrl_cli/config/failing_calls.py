"""Exceptions of a user's class as one line that names the class, the method and the place."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mbrl_cli.errors import UserError


@contextmanager
def failing_call(role: str, name: str, what: str) -> Iterator[None]:
    """Raise any exception inside the block again as a UserError.

    Args:
        role: env, model, planner, agent or policy.
        name: the class.
        what: the verb phrase of the message, for example "plan failed".
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        where = f"{Path(place.filename).name}, line {place.lineno}"
        raise UserError(f"{role}={name}: {what} ({reason}; {where})") from error
