"""Argument parser of the subcommands."""

from __future__ import annotations

import argparse
from typing import NoReturn

from mbrl_cli.errors import UserError


class Parser(argparse.ArgumentParser):
    """Argument parser that raises UserError instead of printing two lines and exiting."""

    def __init__(self, command: str, usage: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=f"mbrl {command}",
            usage=f"mbrl {command} {usage}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise UserError with the message and the usage in one line."""
        raise UserError(f"{message}; {' '.join(self.format_usage().split())}")
