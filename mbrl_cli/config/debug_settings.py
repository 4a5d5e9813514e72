"""`debug=fast`: lower the values of a composed config to the limits in its YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from mbrl_cli.config.groups import GROUPS
from mbrl_cli.errors import UserError

DEBUG = "debug"
LIMITS = "limits"
RUN = "run"  # section of the limits of run-level keys
WIDTHS = ("hidden",)  # keys of lists with one width for each layer; one layer is left
UNLIMITED = (None, "auto")  # values that count as larger than each limit


def apply_limits(config: DictConfig, words: Sequence[str]) -> None:
    """Lower each value that is above its limit, and remove the limits from the config.

    Args:
        config: a composed config, which is changed in place. Without limits nothing changes.
        words: the words of the command line; the keys that they name keep their values.

    Raises:
        UserError: if the limits have another form than those of `configs/debug/fast.yaml`.
    """
    debug = config.get(DEBUG)
    if debug is None or LIMITS not in debug:
        return
    limits = OmegaConf.to_container(debug[LIMITS], resolve=True)
    sections = (RUN, *GROUPS)
    if not isinstance(limits, dict) or not all(
        key in sections and isinstance(values, dict) for key, values in limits.items()
    ):
        raise UserError(f"debug.limits={limits}: must be a mapping of {', '.join(sections)}")
    typed = {word.lstrip("+~").partition("=")[0] for word in words}
    with open_dict(config):
        for section, values in limits.items():
            _limit(config, "" if section == RUN else str(section), values, typed)
        del debug[LIMITS]


def _limit(config: DictConfig, place: str, limits: Mapping[Any, Any], typed: set[str]) -> None:
    """Apply the limits to the section at `place`, "" for the run level, and to those inside it."""
    section = OmegaConf.select(config, place) if place else config
    for name in list(section):
        key = f"{place}.{name}" if place else str(name)
        if key in typed or OmegaConf.is_missing(section, name):
            continue
        value = section[name]
        if place and OmegaConf.is_dict(value):
            _limit(config, key, limits, typed)
        elif name in limits:
            limited = _limited(value, limits[name])
            section[name] = [limited] if name in WIDTHS and OmegaConf.is_list(value) else limited


def _limited(value: Any, limit: Any) -> Any:
    """Return the value, or the limit if the value is above it; a list counts as above it."""
    if isinstance(limit, str) or value in UNLIMITED or OmegaConf.is_list(value):
        return limit
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return min(value, limit) if is_number else value
