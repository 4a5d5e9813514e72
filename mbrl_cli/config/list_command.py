"""`mbrl list`: print the choices of each group, the keys of a choice or of the run, or one key."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from mbrl_cli.config.groups import LISTED, SIDE_GROUPS, SPACES, choices, unknown_choice
from mbrl_cli.config.published import read_published
from mbrl_cli.config.yaml_values import format_value
from mbrl_cli.errors import UserError, nearest, unknown_key

if TYPE_CHECKING:
    from mbrl_cli.config.choice_keys import ChoiceKey

GROUPS_AND_SPACES = (*LISTED, SPACES)
FILE_GROUPS = (*SIDE_GROUPS, "experiment", SPACES)  # no class gives types and defaults
RUN = "run"  # in the place of a group: the keys of the run itself, those of train.yaml
MAX_COLUMN = 44  # characters of every column but the last
MIN_LAST_COLUMN = 40  # characters


def list_choices(group: str | None, user_dir: Path | None) -> str:
    """Return the choices of one group, or of all, with a description of each."""
    if group is not None:
        _check_group(group)
    lines = []
    for listed in GROUPS_AND_SPACES if group is None else (group,):
        found = described(listed, user_dir)
        width = max(map(len, found))
        lines.append(listed)
        lines += [f"  {name:<{width}}  {description}" for name, description in found.items()]
    return "\n".join(lines) + "\n"


def list_keys(group: str, name: str, env: str | None, user_dir: Path | None) -> str:
    """Return a table of the keys of one choice.

    Args:
        group: env, model, planner or agent; or run.
        name: the choice, for example cem; empty for the keys of the run.
        env: a choice of env; the table then has a column with the values in a run on it.
        user_dir: the folder of `--config-dir`.
    """
    keys = _keys(group, name, env, user_dir)
    is_file = group in FILE_GROUPS
    if group == RUN:
        head = "keys of the run, which stand alone: total_steps=5000\n"
    else:
        head = f"{group}={name}: {described(group, user_dir)[name]}\n"
    if not keys:
        return f"{head}no keys\n"
    columns = {
        "key": [full_key(group, key.name) for key in keys],
        "space" if group == SPACES else "default": [key.default for key in keys],
        f"env={env}": [key.for_env for key in keys],
        "allowed": [key.allowed for key in keys],
        "meaning": [key.comment for key in keys],
    }
    if env is None or is_file or group == "env":
        del columns[f"env={env}"]
    if is_file:
        del columns["allowed"]
    note = "\n* an environment may recommend another value; to see it type: mbrl list "
    note += f"{group} {name} env=NAME\n".replace("  ", " ")
    has_star = env is None and any(key.default.endswith("*") for key in keys)
    return f"{head}\n{_table(columns)}{note if has_star else ''}"


def list_key(group: str, name: str, key: str, user_dir: Path | None) -> str:
    """Return all that is known of one key: default, allowed values, comment, recommended values.

    Args:
        group: env, model, planner or agent; or run.
        name: the choice, for example cem; empty for a key of the run.
        key: the key, with or without the group: horizon, planner.horizon.
        user_dir: the folder of `--config-dir`.
    """
    keys = {full_key(group, one.name): one for one in _keys(group, name, None, user_dir)}
    word = key if key in keys else full_key(group, key)
    if word not in keys:
        raise UserError(unknown_key(" ".join(filter(None, ("list", group, name, key))), word, keys))
    found = keys[word]
    rows = [("default", _default(found)), ("allowed", found.allowed), ("meaning", found.comment)]
    width = shutil.get_terminal_size().columns - 13
    lines = [word]
    for label, text in rows:
        for part in textwrap.wrap(text, width):
            lines.append(f"  {label:<9}  {part}")
            label = ""
    if found.recommended:
        values = [format_value(entry.value) for entry in found.recommended]
        column = max(map(len, values))
        lines += ["", "recommended values; the most specific one counts:"]
        for value, entry in zip(values, found.recommended, strict=True):
            lines.append(f"  {value:<{column}}  {entry.condition}")
    selection = "" if group == RUN else f"{group}={name} "
    return "\n".join([*lines, "", f"to set it: mbrl train {selection}{word}=VALUE"]) + "\n"


def _default(key: ChoiceKey) -> str:
    """Return the default value in words."""
    default = key.default.rstrip("*")
    words = {"???": "none: the key must be given", "1/8": "an eighth of total_steps"}
    advice = ", unless the environment recommends another value" if key.recommended else ""
    if default == "1/8" and key.recommended:
        advice = ", or the value that the environment recommends if that is smaller"
    return words.get(default, default) + advice


def full_key(group: str, name: str) -> str:
    """Return the key as it is typed: planner.horizon, or total_steps."""
    return name if group in (RUN, "experiment", SPACES) else f"{group}.{name}"


def _keys(group: str, name: str, env: str | None, user_dir: Path | None) -> list[ChoiceKey]:
    """Return the keys of a choice or of the run; UserError if there is no such choice."""
    # Reading signatures imports torch, so it is done only where keys are listed.
    if group == RUN:
        from mbrl_cli.config.choice_keys import run_keys

        return run_keys(env, user_dir)
    _check_group(group)
    found = choices(group, user_dir)
    if name not in found:
        raise UserError(unknown_choice(group, name, found))
    from mbrl_cli.config.choice_keys import file_keys, group_keys

    if group in FILE_GROUPS:
        return file_keys(group, name, user_dir)
    return group_keys(group, name, env, user_dir)


def described(group: str, user_dir: Path | None) -> dict[str, str]:
    """Return name -> description for each choice; a recipe's has its stated result."""
    found = choices(group, user_dir)
    if group != "experiment":
        return found
    stated = {name: read_published(name, user_dir) for name in found}
    return {
        name: text if (result := stated[name]) is None else f"{text}; stated {result.text()}"
        for name, text in found.items()
    }


def _check_group(group: str) -> None:
    if group not in GROUPS_AND_SPACES:
        close = nearest(group, (*GROUPS_AND_SPACES, RUN))
        hint = f"did you mean {', '.join(close)}? " if close else ""
        allowed = ", ".join((*GROUPS_AND_SPACES, RUN))
        raise UserError(f"list {group}: unknown group; {hint}allowed are {allowed}")


def _table(columns: Mapping[str, Sequence[str]]) -> str:
    """Return aligned columns; long cells are wrapped, the last one at the terminal's width."""
    widths = [max(len(title), *map(len, cells)) for title, cells in columns.items()][:-1]
    widths = [min(width, MAX_COLUMN) for width in widths]
    rest = shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths)
    widths.append(max(rest, MIN_LAST_COLUMN))
    lines = []
    for row in zip(*([title, *cells] for title, cells in columns.items()), strict=True):
        cells = [textwrap.wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            padded = [f"{part:<{width}}" for part, width in zip(parts, widths, strict=True)]
            lines.append("  ".join(padded).rstrip())
    return "\n".join(lines) + "\n"
