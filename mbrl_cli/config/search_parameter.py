"""One searched key: the values that it can have."""

from __future__ import annotations

from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from mbrl_cli.config.composition import hydra_errors_as_user_errors
from mbrl_cli.errors import UserError

FORMS = "choice(1,2), range(1,10,3), interval(0.1,1), int(interval(1,9)) or tag(log,interval(1,9))"
DIGITS = 4  # of a float that is searched


@dataclass(frozen=True)
class SearchParameter:
    """The values of one key: a list, or an interval of numbers with both ends.

    Attributes:
        key: with its group, such as planner.horizon.
        text: the values in Hydra's form, such as int(interval(10,50)).
        choices: as texts for the command line; None: an interval.
        low: lower end of the interval.
        high: upper end.
        step: distance between two values; None: any number in the interval.
        log: whether the logarithm is drawn uniformly.
    """

    key: str
    text: str
    choices: tuple[str, ...] | None = None
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    @property
    def is_integer(self) -> bool:
        """Return whether the values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def rounded(self, value: float | int | str) -> float | int | str:
        """Return a float with few digits, so that it can be typed; other values as they are."""
        if not isinstance(value, float):
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


def parse_parameter(word: str) -> SearchParameter | None:
    """Return the values that `key=choice(...)` or another form names; None for a single value.

    Args:
        word: `key=value` in the grammar of Hydra's sweeps.

    Raises:
        UserError: if the word is malformed, or an interval is empty.
    """
    with hydra_errors_as_user_errors():
        override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override():
        return None
    key, text = override.key_or_group, word.partition("=")[2]
    value = override.value()
    if isinstance(value, ChoiceSweep):
        texts = [
            str(entry).lower()
            if isinstance(entry, bool)
            else Override._get_value_element_as_str(entry)
            for entry in value.list
        ]
        return SearchParameter(key, text, choices=tuple(dict.fromkeys(texts)))
    if isinstance(value, IntervalSweep) and value.start is not None and value.end is not None:
        parameter = SearchParameter(
            key, text, low=value.start, high=value.end, log="log" in value.tags
        )
    elif isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        # The end is not among the values, as in Python.
        count = len(list(value.range()))
        last = value.start + max(0, count - 1) * value.step
        parameter = SearchParameter(key, text, low=value.start, high=last, step=value.step)
    else:
        raise UserError(f"{word}: cannot be searched; allowed are {FORMS}")
    if not parameter.low < parameter.high or (parameter.log and parameter.low <= 0):
        lowest = "0 < low < high" if parameter.log else "low < high"
        raise UserError(f"{word}: must have {lowest}; for one value type {key}={parameter.low}")
    return parameter
