"""The option --config-dir of the subcommands."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add_config_dir(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the option to a parser; `text` explains it."""
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help=text)


def prepare_config_dir(config_dir: Path | None, importable: bool = False) -> None:
    """Check the folder of `--config-dir`, and let its YAML files name code in the current folder.

    Without the option, or `--trust`, the current folder is not importable: it may come from another
    person together with the run.
    """
    from mbrl_cli.config.groups import check_user_dir
    from mbrl_cli.config.targets import make_importable

    if config_dir is not None:
        check_user_dir(config_dir)
    if config_dir is not None or importable:
        make_importable(os.getcwd())
