"""`mbrl list`: print the choices of each group, or the keys of one choice."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from mbrl_cli.config.groups import LISTED, SIDE_GROUPS, SPACES, choices, unknown_choice
from mbrl_cli.config.published import read_published
from mbrl_cli.errors import UserError, nearest

GROUPS_AND_SPACES = (*LISTED, SPACES)
MAX_COLUMN = 44  # characters of every column but the last
MIN_LAST_COLUMN = 40  # characters


def list_choices(group: str | None, user_dir: Path | None) -> str:
    """Return the choices of one group, or of all, with a description of each."""
    if group is not None:
        _check_group(group)
    lines = []
    for listed in GROUPS_AND_SPACES if group is None else (group,):
        found = _described(listed, user_dir)
        width = max(map(len, found))
        lines.append(listed)
        lines += [f"  {name:<{width}}  {description}" for name, description in found.items()]
    return "\n".join(lines) + "\n"


def list_keys(group: str, name: str, env: str | None, user_dir: Path | None) -> str:
    """Return a table of the keys of one choice.

    Args:
        group: env, model, planner or agent.
        name: the choice, for example cem.
        env: a choice of env; the table then has a column with the values in a run on it.
        user_dir: the folder of `--config-dir`.
    """
    _check_group(group)
    found = _described(group, user_dir)
    if name not in found:
        raise UserError(unknown_choice(group, name, found))
    # Reading signatures imports torch, so it is done only where keys are listed.
    from mbrl_cli.config.choice_keys import file_keys, group_keys

    is_file = group in (*SIDE_GROUPS, "experiment", SPACES)  # no class gives types and defaults
    keys = file_keys(group, name, user_dir) if is_file else group_keys(group, name, env, user_dir)
    head = f"{group}={name}: {found[name]}\n"
    if not keys:
        return f"{head}no keys\n"
    prefix = "" if group in ("experiment", SPACES) else f"{group}."
    columns = {
        "key": [f"{prefix}{key.name}" for key in keys],
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
    note += f"{group} {name} env=NAME\n"
    has_star = env is None and any(key.default.endswith("*") for key in keys)
    return f"{head}\n{_table(columns)}{note if has_star else ''}"


def _described(group: str, user_dir: Path | None) -> dict[str, str]:
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
        close = nearest(group, GROUPS_AND_SPACES)
        hint = f"did you mean {', '.join(close)}? " if close else ""
        raise UserError(
            f"list {group}: unknown group; {hint}allowed are {', '.join(GROUPS_AND_SPACES)}"
        )


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
