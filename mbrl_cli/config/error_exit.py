"""Exit codes: end the program on a UserError or a signal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mbrl_cli.errors import UserError, printable


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print a UserError as one line on stderr and exit with its code; exit silently on Ctrl-C."""
    try:
        yield
    except UserError as error:
        print(f"mbrl: {printable(error)}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt as interrupt:
        raise SystemExit(getattr(interrupt, "exit_code", 130)) from None
