"""Format config values as YAML writes them."""

from __future__ import annotations

import json
import re
from typing import Any

FOR_ENV = re.compile(r"\$\{for_env:\s*[^,}]+,\s*(.*)\}")


EVAL_INTERVAL = re.compile(r"\$\{eval_interval:.*\}")


def format_value(value: Any) -> str:
    """Return for example null, true, 0.5, [64, 64] or text without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def format_default(value: Any) -> str:
    """Return an unresolved value; `${for_env:key,default}` as its default with a star."""
    if isinstance(value, str) and EVAL_INTERVAL.fullmatch(value):
        return "1/8*"  # of total_steps
    match = FOR_ENV.fullmatch(value) if isinstance(value, str) else None
    return f"{match[1]}*" if match else format_value(value)
