"""Select runs by their settings: `env=cartpole seed=0,1 planner.horizon=25`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from mbrl_cli.api.run import Run
from mbrl_cli.config.config_changes import flatten
from mbrl_cli.config.groups import GROUPS
from mbrl_cli.config.run_tags import TAGS
from mbrl_cli.errors import UserError, unknown_key


def filter_runs(runs: Iterable[Run], words: Sequence[str]) -> list[Run]:
    """Return the runs whose settings have the values of all words.

    `tags=a,b` selects the runs that have one of these tags.

    Args:
        runs: the runs to select from.
        words: `key=value`. A key is a group, whose value is the name of a choice, or a key of the
            config with dots. Several values are separated by commas.

    Raises:
        UserError: if a word is malformed, or no run has its key.
    """
    kept = list(runs)
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key or not text:
            raise UserError(f"{word}: must have the form key=value, such as env=cartpole")
        values = [(run, _setting(run, key)) for run in kept]
        if kept and key != TAGS and all(value is _MISSING for _, value in values):
            keys = {name for run in kept for name in flatten(run.config)}
            raise UserError(f"no run has this key: {unknown_key(key, key, sorted(keys))}")
        if key == TAGS:
            kept = [run for run in kept if set(run.tags) & set(text.strip("[]").split(","))]
            continue
        wanted = _wanted(text)
        kept = [run for run, value in values if value in wanted or str(value) in text.split(",")]
    return kept


_MISSING = object()


def _setting(run: Run, key: str) -> Any:
    """Return the name of a choice, or the value of a key of the config."""
    if key in GROUPS:
        return run.choices[key]
    node: Any = run.config
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return _MISSING
        node = node[part]
    return node


def _wanted(text: str) -> list[Any]:
    """Return the values of `a,b`, read as YAML; a list is written with brackets: [8,8]."""
    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        return []
    return values if isinstance(values, list) else []
