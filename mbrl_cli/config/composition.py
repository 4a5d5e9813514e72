"""Compose configs outside of `mbrl train`: for error texts, `mbrl list` and saved runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from mbrl_cli.config.groups import config_dir


def compose_config(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose `train.yaml` with `overrides`, `defaults:` of every file included.

    Raises:
        HydraException: if an override or a YAML file is wrong.
    """
    with _separate_hydra():
        return compose("train", overrides=list(overrides))


def compose_choice(group: str, name: str) -> DictConfig:
    """Compose the YAML of one choice, `defaults:` included; `${...}` is not resolved."""
    choice = compose_config([f"{group}={name}"])[group]
    assert isinstance(choice, DictConfig)
    return choice


@contextmanager
def _separate_hydra() -> Iterator[None]:
    """Initialise Hydra for the block; a Hydra that is active already is active again afterwards."""
    active = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = active
