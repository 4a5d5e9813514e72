"""The search space: a file in configs/hparams_search, and words of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mbrl_cli.config.config_changes import flatten
from mbrl_cli.config.groups import SPACES, choices, find_file, unknown_choice
from mbrl_cli.config.search_parameter import FORMS, SearchParameter, parse_parameter
from mbrl_cli.errors import UserError


def read_space(
    name: str | None, words: Sequence[str], user_dir: Path | None
) -> tuple[list[SearchParameter], list[str]]:
    """Return the searched keys, and the words that give one value to a key.

    Args:
        name: a choice of hparams_search; None: the words alone name what is searched.
        words: `key=value` of the command line. They have priority over the file: a key with one
            value is not searched.
        user_dir: the folder of `--config-dir`.

    Raises:
        UserError: if the file does not exist or is malformed, or nothing is searched.
    """
    space = {} if name is None else _read_file(name, user_dir)
    fixed = []
    for word in words:
        parameter = parse_parameter(word)
        if parameter is not None:
            space[parameter.key] = parameter
            continue
        fixed.append(word)
        space.pop(word.partition("=")[0].lstrip("+"), None)
    if not space:
        names = ", ".join(choices(SPACES, user_dir))
        raise UserError(
            f"{SPACES}={name or ''}: the search space is empty; choose one of {names}, "
            f"or type key=VALUES, where VALUES is {FORMS}"
        )
    if "seed" in space or "total_steps" in space:
        raise UserError("seed, total_steps: cannot be searched; type seeds=0,1,2 and one number")
    return list(space.values()), fixed


def _read_file(name: str, user_dir: Path | None) -> dict[str, SearchParameter]:
    """Return key -> values of one file."""
    found = choices(SPACES, user_dir)
    if name not in found:
        raise UserError(unknown_choice(SPACES, name, found))
    path = find_file(SPACES, name, user_dir)
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not readable YAML") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must have keys such as planner: and below it horizon: VALUES")
    space = {}
    for key, text in flatten(content).items():
        parameter = parse_parameter(f"{key}={text}") if isinstance(text, str) else None
        if parameter is None:
            raise UserError(f"{path}: {key}={text}: names no values; allowed are {FORMS}")
        space[key] = parameter
    return space
