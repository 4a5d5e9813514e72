"""Compose configs outside of `mbrl train`: for `mbrl list`, error texts and saved runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from yaml import YAMLError

from mbrl_cli.config.groups import config_dir
from mbrl_cli.config.hydra_errors import explain_hydra_error
from mbrl_cli.config.hydra_version import VERSION_BASE
from mbrl_cli.config.resolvers import register_resolvers
from mbrl_cli.errors import UserError


def compose_config(overrides: Sequence[str] = (), user_dir: Path | None = None) -> DictConfig:
    """Compose `train.yaml` with `overrides`, as `mbrl train` does; `${...}` is not resolved.

    Args:
        overrides: words of the command line such as planner=cem.
        user_dir: the folder of `--config-dir`.

    Raises:
        UserError: if an override or a YAML file is wrong.
    """
    register_resolvers()
    with _separate_hydra(), hydra_errors_as_user_errors():
        return compose("train", overrides=[*overrides, *_search_path(user_dir)])


def compose_with_hydra(overrides: Sequence[str], user_dir: Path | None = None) -> DictConfig:
    """Compose as `compose_config` does; the key `hydra` has the run's folder and choices."""
    register_resolvers()
    with _separate_hydra(), hydra_errors_as_user_errors():
        words = [*overrides, *_search_path(user_dir)]
        return compose("train", overrides=words, return_hydra_config=True)


def compose_choice(group: str, name: str, user_dir: Path | None = None) -> DictConfig:
    """Compose the YAML of one choice, `defaults:` included; `${...}` is not resolved."""
    choice = compose_config([f"{group}={name}"], user_dir)[group]
    assert isinstance(choice, DictConfig)
    return choice


def composed_files(overrides: Sequence[str], user_dir: Path | None) -> list[tuple[str, str]]:
    """Return (path without .yaml, package) of each YAML file that `overrides` select, in order.

    The package is where the file's keys are put: "planner", or "" for the top level.
    """
    with _separate_hydra(), hydra_errors_as_user_errors():
        loader = GlobalHydra.instance().config_loader()
        words = [*overrides, *_search_path(user_dir)]
        files = loader.compute_defaults_list("train", words, RunMode.RUN).defaults
    return [(file.config_path or "", file.package or "") for file in files]


@contextmanager
def hydra_errors_as_user_errors() -> Iterator[None]:
    """Raise a UserError with one line of text for an error of Hydra's."""
    try:
        yield
    except (HydraException, YAMLError) as error:
        raise UserError(explain_hydra_error(error) or str(error)) from error


@contextmanager
def _separate_hydra() -> Iterator[None]:
    """Initialise Hydra for the block; a Hydra that is active already is active again afterwards."""
    active = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), **VERSION_BASE):
            yield
    finally:
        GlobalHydra.instance().hydra = active


def _search_path(user_dir: Path | None) -> list[str]:
    """Return the override that adds the folder of `--config-dir` to Hydra's search path."""
    if user_dir is None:
        return []
    path = str(user_dir.absolute()).replace('"', '\\"')
    return [f'hydra.searchpath=["file://{path}"]']
