"""The names of a run's choices, as they were typed: `choices.json` of a run folder.

config.yaml holds the settings of each choice, from which its name cannot be found: `cem` and `icem`
are one class.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbrl_cli.config.groups import GROUPS
from mbrl_cli.errors import UserError
from mbrl_cli.run_files import read_regular, write_atomically

CHOICES = "choices.json"
MAX_BYTES = 2**16
HYDRA_FILE = Path(".hydra") / "hydra.yaml"  # runs of older versions have the names only there
_HYDRA_CHOICES = re.compile(r"^    choices:\n((?:      .*\n)+)", re.MULTILINE)


def record_choices(folder: Path, choices: Mapping[str, Any]) -> None:
    """Write the names of the choices of `GROUPS`; names of other groups are ignored."""
    names = {group: str(choices[group]) for group in GROUPS if group in choices}
    write_atomically(folder / CHOICES, (json.dumps(names, indent=2) + "\n").encode())


def choice_names(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the name of each group's choice: {"env": "cartpole", "planner": "cem", ...}.

    Where the record is missing, the name is that of the class; of an environment, its id.

    Args:
        folder: a run folder.
        config: its config as plain values.
    """
    names = recorded_choices(folder)
    return {group: names.get(group) or _name_from_class(group, config[group]) for group in GROUPS}


def recorded_choices(folder: Path) -> dict[str, str]:
    """Return the recorded names by group; empty if there is no readable record."""
    try:
        names = json.loads(_text(folder / CHOICES))
        return {group: names[group] for group in GROUPS if isinstance(names.get(group), str)}
    except (ValueError, AttributeError, RecursionError):
        pass
    found = _HYDRA_CHOICES.search(_text(folder / HYDRA_FILE))
    pairs = (line.strip().partition(": ") for line in found[1].splitlines()) if found else ()
    return {key: value for key, _, value in pairs if key in GROUPS}


def _text(path: Path) -> str:
    """Return the text of a file, empty if it cannot be read."""
    try:
        return read_regular(path, MAX_BYTES).decode()
    except (OSError, UserError, UnicodeDecodeError):
        return ""


def _name_from_class(group: str, settings: Any) -> str:
    if not isinstance(settings, dict):
        return "none"
    if group == "env" and settings.get("id"):
        return str(settings["id"])
    return str(settings.get("_target_") or "none").rpartition(".")[2]
