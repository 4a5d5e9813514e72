"""`tags=[a,b]`: words of the user by which `mbrl runs` selects runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from mbrl_cli.errors import UserError

TAGS = "tags"
WORD = re.compile(r"[\w.-]{1,40}")


def check_tags(value: Any) -> None:
    """Raise UserError if the value of `tags` in a config is not a list of words."""
    if value is None:  # a run of an older version
        return
    words = OmegaConf.to_container(value) if OmegaConf.is_list(value) else value
    if not isinstance(words, list) or not all(_is_word(word) for word in words):
        text = ",".join(map(str, words)) if isinstance(words, list) else str(words)
        plain = re.sub(r"[^\w.,-]+", "-", text)[:80]
        raise UserError(
            f"tags={value}: must be a list of words of letters, digits, - _ and ., at most 40 "
            f"characters each; type tags=[{plain}]"
        )


def run_tags(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tags of a run; none if its config has none that are readable."""
    words = config.get(TAGS)
    if not isinstance(words, list):
        return ()
    return tuple(str(word) for word in words if _is_word(word))


def _is_word(word: Any) -> bool:
    is_plain = isinstance(word, str | int) and not isinstance(word, bool)
    return is_plain and WORD.fullmatch(str(word)) is not None
