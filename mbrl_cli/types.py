"""Records that packages exchange, interfaces of functions they share, and types of hyperparameters.

Axes used in the whole package: B environments (root states), N plans, P particles, H horizon,
E ensemble members, M rows of a batch of imagined states (for planning M = B * N), O obs_dim,
A action dim.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from torch import Tensor

# An imagined or filtered state: named tensors whose leading axis is the row. A Markov model holds
# {"obs": ...}, a recurrent one its deterministic and stochastic parts. Only the model reads the
# entries; any code may repeat, index and concatenate rows.
State = dict[str, Tensor]

# (obs [..., O], action [..., A] encoded, next_obs [..., O]) -> [...]
TransitionFn = Callable[[Tensor, Tensor, Tensor], Tensor]


class Simulator(Protocol):
    """The true dynamics of one environment as batched, pure functions of observations.

    Actions are encoded, see `ActionSpec`. All methods accept any leading axes `...`.
    """

    is_random: bool = False  # whether `step` depends on `uniform`

    @abstractmethod
    def step(self, obs: Tensor, action: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Return the next observations.

        Args:
            obs: [..., O].
            action: [..., A] encoded.
            uniform: [...] numbers in [0, 1), one for each transition, that decide the outcome of a
                random simulator; None: the most likely outcome. Unused if `is_random` is false.

        Returns:
            next_obs [..., O].
        """
        ...

    @abstractmethod
    def reward(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the reward [...] of each transition."""
        ...

    @abstractmethod
    def terminated(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return [...] (bool) whether the transition terminated the task; never a time limit."""
        ...


@dataclass(frozen=True)
class ActionSpec:
    """How actions are encoded outside of `envs`: one float vector of length `dim`.

    continuous: every entry is in [-1, 1]; `ActionCodec` rescales it to the environment's bounds.
    discrete: one one-hot block for each component; `sizes` holds the block lengths
    (Discrete(n) -> (n,), MultiDiscrete -> nvec, MultiBinary(n) -> n blocks of 2).
    """

    kind: Literal["discrete", "continuous"]
    dim: int
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class EnvSpec:
    """Properties of an environment that models, planners and agents depend on."""

    id: str
    obs_dim: int
    obs_integer: tuple[bool, ...]  # for each entry of an observation: whether it is always integer
    action: ActionSpec
    max_episode_steps: int | None
    known_reward: TransitionFn | None = None  # None: the model learns the reward
    known_termination: TransitionFn | None = None  # None: the model learns the termination
    # Which of "reward" and "termination" are known only approximately, so that they may differ from
    # the environment.
    approximate: tuple[str, ...] = ()
    simulator: Simulator | None = None  # None: the environment has no batched simulator
    # [channels, height, width] of image observations with values 0 to 255; None: vectors.
    obs_shape: tuple[int, int, int] | None = None


class Step(NamedTuple):
    """One imagined transition of M rows with P particles each."""

    state: State
    reward: Tensor  # [M, P]
    continues: Tensor  # [M, P] probability that the transition does not terminate the task


class Batch(NamedTuple):
    """Real transitions, one row each, as float32 tensors on the model's device."""

    obs: Tensor  # [n, O]
    action: Tensor  # [n, A] encoded
    reward: Tensor  # [n]
    next_obs: Tensor  # [n, O]; at the end of an episode its last observation, not the reset's
    terminated: Tensor  # [n] 0 or 1; a time limit is not a termination


class Sequences(NamedTuple):
    """Windows of T consecutive observations, each with the action and reward that led to it.

    n windows; a window may run from one episode into the next.
    """

    obs: Tensor  # [T, n, O]
    action: Tensor  # [T, n, A] the action before the observation; 0 at the start of an episode
    reward: Tensor  # [T, n] the reward that came with the observation; 0 at the start
    terminated: Tensor  # [T, n] 1 if the task terminated there; a time limit is not a termination
    first: Tensor  # [T, n] bool: the first observation of an episode or of the window
    restarts: list[bool]  # [T] whether `first` is true in any window


@dataclass(frozen=True)
class Bounds:
    """Range of a hyperparameter, written `Annotated[int, Bounds(1)]` in a constructor."""

    low: float = float("-inf")
    high: float = float("inf")
    low_open: bool = False  # True: `low` itself is not allowed

    def allows(self, value: float) -> bool:
        """Return whether `value` lies in the range; false for NaN."""
        above = value > self.low if self.low_open else value >= self.low
        return above and value <= self.high

    def __str__(self) -> str:
        """Return the range as text, for example '>= 1' or 'in (0, 1]'."""
        if self.high == float("inf"):
            return f"{'>' if self.low_open else '>='} {self.low:g}"
        return f"in {'(' if self.low_open else '['}{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class ArgumentsOf:
    """Marks a dict as the arguments of `target`, against whose signature they are checked.

    Written `Annotated[dict[str, Any], ArgumentsOf(SAC)]` in a constructor.
    """

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
