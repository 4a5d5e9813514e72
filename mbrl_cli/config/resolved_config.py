"""The text of `mbrl train --cfg job --resolve`: the values of a run, with their comments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mbrl_cli.config.composition import compose_config
from mbrl_cli.config.debug_settings import apply_limits
from mbrl_cli.config.yaml_comments import composed_comments
from mbrl_cli.errors import UserError

COMMENT_COLUMN = 40
# Not part of what runs: the values that an environment recommends, which are inserted already.
OMITTED = ("recommended", "agent_name")


def resolved_config(overrides: Sequence[str], user_dir: Path | None) -> str:
    """Return the composed config as YAML with every `${...}` replaced by its value.

    Args:
        overrides: all `key=value` words of the command line.
        user_dir: the folder of `--config-dir`.

    Raises:
        UserError: if an override is wrong or a value cannot be resolved.
    """
    config = compose_config(overrides, user_dir)
    apply_limits(config, overrides)
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"--cfg job --resolve: {str(error).splitlines()[0]}") from error
    assert isinstance(values, dict)
    comments = composed_comments(overrides, user_dir)
    return "".join(_lines(values, comments, prefix="", indent=""))


def _lines(values: dict[Any, Any], comments: dict[str, str], prefix: str, indent: str) -> list[str]:
    lines = []
    for key, value in values.items():
        if key in OMITTED:
            continue
        comment = comments.get(f"{prefix}{key}", "")
        is_section = isinstance(value, dict) and value
        text = f"{indent}{key}:" if is_section else f"{indent}{key}: {_flow(value)}"
        lines.append(f"{text:<{COMMENT_COLUMN}}  # {comment}\n" if comment else f"{text}\n")
        if isinstance(value, dict):
            lines += _lines(value, comments, f"{prefix}{key}.", f"{indent}  ")
    return lines


def _flow(value: object) -> str:
    """Return a value as YAML in one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
