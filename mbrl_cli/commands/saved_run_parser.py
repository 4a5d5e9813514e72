"""Argument parser of the subcommands that use one saved run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mbrl_cli.commands.config_dir import add_config_dir, prepare_config_dir
from mbrl_cli.commands.parser import Parser


class SavedRunParser(Parser):
    """Parser of RUN_DIR, settings to change, --trust and --config-dir.

    Args:
        command: the subcommand.
        description: what it does.
        epilog: examples.
        options: usage of the options that the subcommand adds, such as "[--seed S]".
    """

    def __init__(self, command: str, description: str, epilog: str, options: str = "") -> None:
        words = ["RUN_DIR [key=value ...]", options, "[--trust] [--config-dir DIR]"]
        super().__init__(command, " ".join(filter(None, words)), description, epilog)
        self.add_argument(
            "run_dir", nargs="?", metavar="RUN_DIR", type=Path, help="the folder of a run"
        )
        self.add_argument(
            "overrides", nargs="*", metavar="key=value", help="settings to change, or planner=NAME"
        )

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Return the words, after adding the last two options and checking the folders."""
        self.add_argument(
            "--trust",
            action="store_true",
            help="let the run's config import any code that it names",
        )
        add_config_dir(self, "also use the YAML files in DIR, and the code that they name")
        words = self.parse_intermixed_args(argv)
        if words.run_dir is None:
            self.error("RUN_DIR: must be given")
        prepare_config_dir(words.config_dir, importable=words.trust)
        return words
