"""The text of `mbrl train --help`, with keys and comments from `configs/train.yaml`."""

from __future__ import annotations

import textwrap
from pathlib import Path

from omegaconf import OmegaConf

from mbrl_cli.config.groups import GROUPS, LISTED, choices, config_dir
from mbrl_cli.config.yaml_comments import key_comments
from mbrl_cli.config.yaml_values import format_default

WIDTH = 80  # columns

HEAD = """\
usage: mbrl train [key=value ...] [-m] [--config-dir DIR] [--cfg job]
example: mbrl train env=pendulum planner=icem planner.horizon=20 seed=1

Choices of each group; mbrl list GROUP CHOICE shows the keys of a choice:
"""
KEYS = """\

Keys of a run (*: an environment may recommend another value):
"""
OPTIONS = """\

Options:
  -m, --multirun     one run for each combination: planner=cem,icem seed=0,1,2
  --config-dir DIR   also use the YAML files in DIR, as DIR/planner/mine.yaml
  --cfg job          print the composed config; --hydra-help: Hydra's options
"""


def train_help(user_dir: Path | None = None) -> str:
    """Return the help text: usage, choices of each group, run-level keys and options."""
    return "".join([HEAD, _choices(user_dir), KEYS, _run_level_keys(), OPTIONS])


def _choices(user_dir: Path | None) -> str:
    found = {group: choices(group, user_dir) for group in LISTED}
    lines = {group: ", ".join(names) for group, names in found.items() if list(names) != ["none"]}
    lines["experiment"] = "complete settings of a run: mbrl list experiment"
    return "".join(
        textwrap.fill(
            text,
            width=WIDTH,
            initial_indent=f"  {group:<12}",
            subsequent_indent=" " * 14,
        )
        + "\n"
        for group, text in lines.items()
    )


def _run_level_keys() -> str:
    """Return one entry for each key of `train.yaml`: name, default value and comment."""
    path = config_dir() / "train.yaml"
    comments = key_comments(path)
    raw = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(raw, dict)
    defaults = {
        str(key): format_default(value)
        for key, value in raw.items()
        if key not in ("defaults", "hydra") and key not in GROUPS
    }
    key_width = max(map(len, defaults))
    value_width = max(map(len, defaults.values()))
    return "".join(
        textwrap.fill(
            comments.get(key, ""),
            width=WIDTH,
            initial_indent=f"  {key:<{key_width}} {value:<{value_width}} ",
            subsequent_indent=" " * (key_width + value_width + 4),
        )
        + "\n"
        for key, value in defaults.items()
    )
