"""Frozen records that travel between the rooms, and the types of hyperparameters. No logic.

Axes used all over the package: B environments (root states), N plans, P particles, H horizon,
E ensemble members, M rows of a batch of imagined states (for planning M = B * N), O obs_dim,
A action dim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from torch import Tensor

# Imagined or filtered states are named tensors whose leading axis is the row. A Markov model holds
# {"obs": ...}, a recurrent one its deterministic and stochastic parts. Nobody but the model looks
# inside; everybody may repeat, index and concatenate rows.
State = dict[str, Tensor]

# (obs [..., O], action [..., A] encoded, next_obs [..., O]) -> [...]
TransitionFn = Callable[[Tensor, Tensor, Tensor], Tensor]


class Simulator(Protocol):
    """The true dynamics of one environment as batched, pure functions of observations."""

    def step(self, obs: Tensor, action: Tensor) -> Tensor:
        """Map obs [..., O], action [..., A] encoded -> next_obs [..., O]."""
        ...

    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the reward [...] of the transition."""
        ...

    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return whether the task ended [...] (bool) with the transition; never a time limit."""
        ...


@dataclass(frozen=True)
class ActionSpec:
    """How actions are encoded everywhere below `envs`: one float vector of length `dim`.

    continuous: every entry in [-1, 1]; the environment adapter rescales to the real bounds.
    discrete: one one-hot block for each component, `sizes` holds the block lengths
    (Discrete(n) -> (n,), MultiDiscrete -> nvec, MultiBinary(n) -> n blocks of 2).
    """

    kind: Literal["discrete", "continuous"]
    dim: int
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class EnvSpec:
    """What the rest of the package may know about an environment."""

    id: str
    obs_dim: int
    obs_integer: tuple[bool, ...]  # per entry: the environment only ever shows whole numbers there
    action: ActionSpec
    max_episode_steps: int | None
    known_reward: TransitionFn | None = None  # None: the model learns the reward
    known_termination: TransitionFn | None = None  # None: the model learns the termination
    simulator: Simulator | None = None  # batched true dynamics, where they exist
    # Axes [channels, height, width] of an observation that is a picture, 0 to 255; None: a vector.
    obs_shape: tuple[int, int, int] | None = None


class Step(NamedTuple):
    """One imagined transition of M rows with P particles each."""

    state: State
    reward: Tensor  # [M, P]
    continues: Tensor  # [M, P] probability in [0, 1] that the task goes on


class Batch(NamedTuple):
    """Real transitions, one row each, as float32 tensors on the model's device."""

    obs: Tensor  # [n, O]
    action: Tensor  # [n, A] encoded
    reward: Tensor  # [n]
    next_obs: Tensor  # [n, O] the last true observation at an episode's end, never the reset's
    terminated: Tensor  # [n] 0 or 1; a time limit is not a termination


class Sequences(NamedTuple):
    """What was seen along T steps of n windows, each observation with what led to it."""

    obs: Tensor  # [T, n, O]
    action: Tensor  # [T, n, A] the action that led here; 0 at an episode's first observation
    reward: Tensor  # [T, n] what it paid
    terminated: Tensor  # [T, n] 1 where the task ended here; a time limit is no end
    first: Tensor  # [T, n] bool: nothing before it is known (an episode's first, a window's first)
    restarts: list[bool]  # [T] whether an episode starts at this step in any window


@dataclass(frozen=True)
class Bounds:
    """Range of a hyperparameter, written `Annotated[int, Bounds(1)]` in a constructor."""

    low: float = float("-inf")
    high: float = float("inf")
    low_open: bool = False  # True: `low` itself is not allowed

    def allows(self, value: float) -> bool:
        """Return whether `value` lies in the range; NaN never does."""
        above = value > self.low if self.low_open else value >= self.low
        return above and value <= self.high

    def __str__(self) -> str:
        """Return the range as a person writes it, for example '>= 1' or 'in (0, 1]'."""
        if self.high == float("inf"):
            return f"{'>' if self.low_open else '>='} {self.low:g}"
        return f"in {'(' if self.low_open else '['}{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class ArgumentsOf:
    """A part's hyperparameters: `Annotated[dict[str, Any], ArgumentsOf(Part)]`, checked alike."""

    target: Callable[..., Any]


Count = Annotated[int, Bounds(1)]
CountOrZero = Annotated[int, Bounds(0)]
Fraction = Annotated[float, Bounds(0.0, 1.0)]
AtLeastOne = Annotated[float, Bounds(1.0)]
PositiveFraction = Annotated[float, Bounds(0.0, 1.0, low_open=True)]
PositiveFloat = Annotated[float, Bounds(0.0, low_open=True)]
NonNegativeFloat = Annotated[float, Bounds(0.0)]
LearningRate = PositiveFraction
Activation = Literal["silu", "relu", "tanh", "elu"]
