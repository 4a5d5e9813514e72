"""Names of the folders of a sweep's jobs: only the values that differ, such as cem_horizon-20_s0.

The names have neither `=` nor `,` nor spaces, so they can be typed in a shell and after
`model_from=` without quotes, and TensorBoard shows them whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from mbrl_cli.config.groups import GROUPS

GROUP_KEYS = (*GROUPS, "experiment")  # their choices are named without the key
MAX_VALUE, MAX_NAME = 40, 120  # characters
PLAIN = re.compile(r"[A-Za-z0-9_.-]+")


def job_name(overrides: Sequence[str], keys: Sequence[str] = ()) -> str:
    """Return the folder name of one job: group choices, other values, the seed.

    Args:
        overrides: `key=value` of the job.
        keys: those that differ between the jobs; empty: all.
    """
    values: dict[str, str] = {}
    for word in overrides:
        key, _, value = word.lstrip("+~").partition("=")
        if (not keys or key in keys) and not key.startswith("hydra."):
            values[key] = value
    order = {group: index for index, group in enumerate(GROUP_KEYS)}
    last = len(values) + len(order)
    places = [order.get(key, last if key == "seed" else len(order)) for key in values]
    ordered = [key for _, key in sorted(zip(places, values, strict=True), key=lambda pair: pair[0])]
    parts = [_part(key, values[key], ordered) for key in ordered]
    name = "_".join(parts)
    if len(name) > MAX_NAME:
        exact = _digest(",".join(f"{key}={values[key]}" for key in ordered), 8)
        while len("_".join([*parts, exact])) > MAX_NAME:
            parts.pop()
        name = "_".join([*parts, exact])
    return name or "run"


def _part(key: str, value: str, keys: Sequence[str]) -> str:
    text = _text(value, is_path=key == "model_from")
    if key in GROUP_KEYS:
        return text
    if key == "seed":
        return f"s{text}"
    short = key.rpartition(".")[2]
    if sum(other.rpartition(".")[2] == short for other in keys) > 1:
        short = key
    return f"{short}-{text}"


def _text(value: str, is_path: bool) -> str:
    """Return a value in letters, digits, `.`, `-` and `_`; different values have different texts.

    The items of a list are joined by x. `/` and `:` become `-`. Of a path the last folder stays.
    """
    value = value.strip("'\"")
    if re.fullmatch(r"\[[^\[\]]*\]", value):
        items = [item.strip(" '\"") for item in value[1:-1].split(",")]
        plain = "x".join(items)
    elif is_path:
        plain = f"{value.rstrip('/').rpartition('/')[2]}-{_digest(value)}"
    else:
        plain = re.sub("[/:]", "-", value).strip("-") if "/" in value else value
    if PLAIN.fullmatch(plain) and len(plain) <= MAX_VALUE:
        return plain
    words = re.sub(r"[^A-Za-z0-9_.]+", "-", plain).strip("-.")
    digest = _digest(value)
    return f"{words}-{digest}" if words and len(words) <= MAX_VALUE else digest


def _digest(text: str, length: int = 4) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
