"""The words of `mbrl search` that are about the search itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mbrl_cli.errors import UserError

SAMPLERS = ("tpe", "random")


@dataclass(frozen=True)
class Settings:
    """How a space is searched. docs/sweeps.md explains each key; the defaults are equal."""

    trials: int = 20
    max_steps: int = 0  # environment steps of all runs; sets `trials`; 0: `trials` is given
    seeds: tuple[int, ...] = (0, 1, 2)  # each trial has one run for each
    sampler: str = "tpe"
    pruning: bool = True
    min_steps: int = 0  # before which no trials are compared; 0: the end of the prefill
    reduction: int = 3  # one of this number of trials is promoted at each rung
    brackets: int = 1  # Hyperband: bracket k starts at rung k
    search_seed: int = 0  # of the sampler

    def __post_init__(self) -> None:
        for key, low in (
            ("trials", 1),
            ("reduction", 2),
            ("brackets", 1),
            ("max_steps", 0),
            ("min_steps", 0),
            ("search_seed", 0),
        ):
            if getattr(self, key) < low:
                raise UserError(f"{key}={getattr(self, key)}: must be {low} or more")
        if self.sampler not in SAMPLERS:
            raise UserError(f"sampler={self.sampler}: allowed are {', '.join(SAMPLERS)}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError("seeds: must be different numbers, such as seeds=0,1,2")

    @staticmethod
    def of_words(words: Mapping[str, str]) -> Settings:
        """Return the settings that `key=value` words give; the others have their defaults."""
        if "trials" in words and "max_steps" in words:
            raise UserError(
                f"max_steps={words['max_steps']}: sets the number of trials; leave out "
                f"trials={words['trials']}"
            )
        values: dict[str, Any] = {}
        for key, text in words.items():
            if key == "seeds":
                values[key] = tuple(_number(key, part) for part in text.split(","))
            elif key == "pruning":
                if text not in ("true", "false"):
                    raise UserError(f"pruning={text}: allowed are true, false")
                values[key] = text == "true"
            else:
                values[key] = text if key == "sampler" else _number(key, text)
        return Settings(**values)


def _number(key: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        example = "0,1,2" if key == "seeds" else "20"
        raise UserError(f"{key}={text}: must be a whole number, such as {key}={example}")
    return int(text)
