"""The run-level settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from mbrl_cli.types import Bounds, Count, CountOrZero, PositiveFloat


@dataclass(frozen=True)
class RunSettings:
    """The run-level keys of `configs/train.yaml`, which explains each; the defaults are equal."""

    seed: CountOrZero = 0
    total_steps: Count = 10_000
    prefill_steps: CountOrZero = 500
    prefill_hold: Count = 1
    num_envs: Count = 1
    eval_every: CountOrZero = 1250
    eval_episodes: Count = 3
    final_eval_episodes: Count = 20
    eval_video: CountOrZero = 0
    stop_at_return: float | None = None
    eval_envs: CountOrZero | Literal["auto"] = "auto"
    holdout_ratio: Annotated[float, Bounds(0.0, 0.5)] = 0.1
    checkpoint_every: CountOrZero = 500
    checkpoint_minutes: PositiveFloat = 2.0
    keep_checkpoints: Count = 2
    env_timeout: Annotated[float, Bounds(0.0, 1e7, low_open=True)] | None = 300.0
    check_known: bool = True
    model_from: str | None = None
    model_from_frozen: bool = False
    model_from_replay: bool = False
    log_every: Count = 100
    console: bool = True

    @property
    def num_eval_envs(self) -> int | None:
        """Return `eval_envs`, or None for "auto"."""
        return None if self.eval_envs == "auto" else self.eval_envs

    @property
    def prefill_limit(self) -> int:
        """Return the environment step at which episodes of the prefill are cut.

        Parallel episodes are cut when the prefill has its steps, because all of them may be long.
        A single episode goes on until two thirds of the steps that were meant for learning.
        """
        if self.num_envs > 1:
            return self.prefill_steps
        return self.prefill_steps + 2 * max(0, self.total_steps - self.prefill_steps) // 3
