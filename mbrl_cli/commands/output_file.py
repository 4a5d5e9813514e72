"""Files that the user names on the command line, for a page, numbers, or a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mbrl_cli.errors import UserError


def check_output_file(option: str, path: Path | None, suffixes: Sequence[str]) -> None:
    """Raise UserError before minutes of work if the file cannot be written.

    Args:
        option: as it is typed, such as "--html".
        path: what the user gave; None: nothing.
        suffixes: allowed endings, such as ".html".
    """
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{option} {path}: must end in {' or '.join(suffixes)}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{option} {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise UserError(f"{option} {path}: is a folder; type the name of a file")


def write_output_file(option: str, path: Path, text: str) -> None:
    """Write the text and say so; raise UserError if that fails."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be written ({error.strerror})") from error
    print(f"wrote {path}")
