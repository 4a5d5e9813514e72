"""Read the config of many run folders quickly, as plain values.

`saved_config` reads a config with all the checks that code from the folder requires, which takes 40
milliseconds. This module reads it for tables and comparisons, where nothing is imported. The file
is cut into its top-level keys, and equal parts of several files are parsed once.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

# OmegaConf 2.3 and 2.4 define it in different modules; both import it here.
from omegaconf.basecontainer import get_yaml_loader  # type: ignore[attr-defined]

from mbrl_cli.config.saved_config import (
    CONFIG,
    MAX_VALUES,
    checked_groups,
    load_saved_config,
    read_config_bytes,
)
from mbrl_cli.errors import UserError

# A line that starts a top-level key, as OmegaConf writes them.
_TOP_LEVEL = re.compile(rb"^(?=[\w\"'])", re.MULTILINE)
_CACHED_PARTS = 4096
_MAX_CACHED = 2**13  # bytes of a part that is cached


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML loader that reads numbers as OmegaConf does: 1e-3 is a float."""


_Loader.yaml_implicit_resolvers = get_yaml_loader().yaml_implicit_resolvers


def read_run_config(folder: Path, trust: bool = False) -> dict[str, Any]:
    """Return the config of a run folder as nested dicts; the caller may change them.

    Args:
        folder: a run folder.
        trust: whether `${...}` in the file may refer to keys of the same file.

    Raises:
        UserError: if the folder has no readable config.
    """
    path = folder / CONFIG
    content = read_config_bytes(folder)
    if b"${" in content:
        resolved = OmegaConf.to_container(load_saved_config(folder, trust))
        assert isinstance(resolved, dict)
        return {str(key): value for key, value in resolved.items()}
    try:
        config = _copied(_parsed(content), [0])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not readable YAML") from error
    return checked_groups(config, path)


def _parsed(content: bytes) -> Any:
    """Return the values of YAML text; the parts of its top level are cached."""
    parts = _TOP_LEVEL.split(content)
    try:
        config: dict[Any, Any] = {}
        for part in parts:
            values = _load(part) if len(part) <= _MAX_CACHED else _load.__wrapped__(part)
            if values is not None:
                if values.keys() & config.keys():
                    raise ValueError("a key stands twice in the file")
                config |= values
        return config
    except (yaml.YAMLError, AttributeError):  # written by hand, in another form
        return _load.__wrapped__(content)


@lru_cache(_CACHED_PARTS)
def _load(text: bytes) -> Any:
    return yaml.load(text, Loader=_Loader)


def _copied(value: Any, count: list[int]) -> Any:
    """Return a copy of nested values, so that the cached ones stay.

    Raises ValueError for more than `MAX_VALUES` values, which aliases can produce, and for types
    that a config does not have.
    """
    count[0] += 1
    if count[0] > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES:,} values")
    if isinstance(value, dict):
        return {str(key): _copied(item, count) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item, count) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"a value of the type {type(value).__name__}")
