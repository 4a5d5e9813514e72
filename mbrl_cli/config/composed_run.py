"""A run as its words describe it: composed and checked outside of `mbrl train`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import open_dict

from mbrl_cli.config.build import RunObjects, build, build_env, run_level_settings
from mbrl_cli.config.check_run import check_run
from mbrl_cli.config.command_words import allow_new_group_key, prepare_words
from mbrl_cli.config.composition import compose_with_hydra
from mbrl_cli.config.debug_settings import apply_limits
from mbrl_cli.config.groups import check_user_dir, config_dirs
from mbrl_cli.config.override_check import check_choices
from mbrl_cli.config.targets import make_importable
from mbrl_cli.envs.env import Env
from mbrl_cli.run_settings import RunSettings


class ComposedRun:
    """The run that the words after `mbrl train` describe. It has no folder yet.

    Args:
        words: `key=value` each.
        user_dir: the folder of `--config-dir`.

    Attributes:
        config: the composed config, without Hydra's part.
        folder: where the run would be written.
        choices: the names of the choices by group.

    Raises:
        UserError: for a mistake in the words.
    """

    def __init__(self, words: Sequence[str], user_dir: Path | None = None) -> None:
        make_importable(os.getcwd())
        if user_dir is not None:
            check_user_dir(user_dir)
        overrides = [allow_new_group_key(word) for word in prepare_words(words, user_dir)]
        check_choices(overrides, user_dir)
        self._user_dir = user_dir
        self.config = compose_with_hydra(overrides, user_dir)
        apply_limits(self.config, overrides)
        self.folder = Path(self.config.hydra.run.dir)
        self.choices: dict[str, Any] = dict(self.config.hydra.runtime.choices)
        with open_dict(self.config):
            del self.config["hydra"]

    def check(self) -> None:
        """Build and use every part once, as before each run; raise UserError if one fails."""
        check_run(self.config, config_dirs(self._user_dir))

    def settings(self) -> RunSettings:
        """Return the checked run-level settings."""
        return run_level_settings(self.config)[0]

    def build(self) -> RunObjects:
        """Return the objects of the run."""
        return build(self.config)

    def new_env(self, kwargs: Mapping[str, Any] | None = None) -> Env:
        """Return the environment of the run.

        Args:
            kwargs: further arguments of the environment's constructor.
        """
        return build_env(self.config, kwargs)
