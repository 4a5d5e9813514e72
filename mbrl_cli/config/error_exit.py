"""Exit codes: end the program on a UserError or a signal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mbrl_cli.errors import UserError, disk_fault, printable


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print a UserError, or an error of the disk, as one line on stderr and exit with its code.

    A stop signal (Ctrl-C, kill) exits without a message.
    """
    try:
        yield
    except UserError as error:
        print(f"mbrl: {printable(error)}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        fault = disk_fault(error)
        if fault is None:
            raise  # not the disk: the trace is needed
        print(f"mbrl: {printable(fault)}", file=sys.stderr)
        raise SystemExit(fault.exit_code) from None
    except KeyboardInterrupt as interrupt:
        raise SystemExit(getattr(interrupt, "exit_code", 130)) from None
