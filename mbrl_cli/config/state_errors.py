"""Errors that the saved state of a run may have caused, in one line."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mbrl_cli.errors import RunPaused, UserError


@contextmanager
def state_errors(folder: Path) -> Iterator[None]:
    """Raise any unexpected exception inside the block as a UserError that names the run folder.

    A state with a correct checksum may still hold values that no run writes. With the environment
    variable HYDRA_FULL_ERROR the exception passes unchanged, so that its traceback is shown.

    Args:
        folder: the run folder that the state comes from.
    """
    try:
        yield
    except (UserError, OSError, RunPaused):
        raise
    except Exception as error:
        if "HYDRA_FULL_ERROR" in os.environ:
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        where = f"{Path(place.filename).name}, line {place.lineno}"
        raise UserError(
            f"{folder}: cannot continue from its saved state ({reason}; {where}); "
            "HYDRA_FULL_ERROR=1 shows the traceback"
        ) from error
