"""Predicted and true returns of action sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_cli.agents.planning_policy import PlanningPolicy
from mbrl_cli.diagnosis.accuracy.trajectory import Trajectory
from mbrl_cli.diagnosis.accuracy.transition_rows import TransitionRows, observed_states
from mbrl_cli.diagnosis.episode import Episode
from mbrl_cli.models.base import Model
from mbrl_cli.models.plan_evaluation import evaluate_plans
from mbrl_cli.optimism_gap import observed_returns
from mbrl_cli.types import ActionSpec

Array = NDArray[np.float64]

MAX_STARTS = 256  # states from which the real actions are imagined
PLAN_STARTS = 32  # states in which plans are chosen and truly evaluated
RANDOM_PLANS = 16  # for each of these states
PARTICLES = 20


class Start(NamedTuple):
    """A state of an episode that was played, just before the action of a step."""

    episode: Episode
    step: int


# (starts [n], plans [n, N, H, A], discount) -> true discounted returns [n, N] over the horizon,
# without rewards after a termination.
TrueReturns = Callable[[Sequence[Start], NDArray[np.float32], float], Array]


class PlanReturns(NamedTuple):
    """Predicted and true returns of n plans, and the episodes in which they start."""

    name: str
    episode: NDArray[np.int64]  # [n]
    predicted: Array  # [n]
    true: Array  # [n]


class ComparedPlans(NamedTuple):
    """Returns of one chosen and N random plans in each of n states; H steps."""

    episode: NDArray[np.int64]  # [n]
    predicted: Array  # [n, 1 + N], the chosen plan first
    true: Array  # [n, 1 + N]


def decided_returns(
    episodes: Sequence[Episode], horizon: int, discount: float
) -> PlanReturns | None:
    """Return what the policy predicted at its decisions, and what it then received."""
    number, predicted, true = [], [], []
    for i, episode in enumerate(episodes):
        observed = observed_returns(episode.reward, episode.terminated, horizon, discount)
        of_decisions = episode.predicted_return[: len(observed)]
        known = np.isfinite(of_decisions)
        number.append(np.full(int(known.sum()), i))
        predicted.append(of_decisions[known])
        true.append(observed[known])
    if not sum(map(len, number)):
        return None
    return PlanReturns(
        "chosen plans", np.concatenate(number), np.concatenate(predicted), np.concatenate(true)
    )


@torch.no_grad()
def imagined_returns(
    name: str,
    model: Model,
    trajectories: Sequence[Trajectory],
    horizon: int,
    discount: float,
    generator: torch.Generator,
) -> PlanReturns | None:
    """Imagine the actions that were executed, and return what they really brought.

    Args:
        name: of the actions.
        model: a fitted model whose states need no live environment.
        trajectories: real episodes.
        horizon: number of actions.
        discount: per step.
        generator: for the model.
    """
    observed = [observed_returns(t.reward, t.terminated, horizon, discount) for t in trajectories]
    every = TransitionRows.of(trajectories, sum(t.steps for t in trajectories))
    usable = np.array([len(values) for values in observed])[every.episode] > every.time
    if not usable.any():
        return None
    index = np.flatnonzero(usable)
    index = index[np.linspace(0, len(index) - 1, min(len(index), MAX_STARTS)).round().astype(int)]
    rows = every.at(index)
    state = observed_states(model, trajectories, rows)
    starts = list(zip(rows.episode.tolist(), rows.time.tolist(), strict=True))
    plans = np.stack([_following(trajectories[e].action, t, horizon) for e, t in starts])
    on_device = torch.from_numpy(plans).to(model.device)[:, None]  # [n, 1, H, A]
    predicted = _mean_returns(model, state, on_device, discount, generator)[:, 0]
    true = np.array([observed[e][t] for e, t in starts])
    return PlanReturns(name, rows.episode, predicted, true)


@torch.no_grad()
def compare_plans(
    policy: PlanningPolicy,
    episodes: Sequence[Episode],
    true_returns: TrueReturns,
    discount: float,
    generator: torch.Generator,
) -> ComparedPlans:
    """Compare plans that the planner chooses with random ones in states of real episodes.

    Args:
        policy: has the model and the planner.
        episodes: that were played.
        true_returns: evaluates plans.
        discount: per step.
        generator: for plans and model.
    """
    model = policy.model
    trajectories = [Trajectory.of_episode(episode) for episode in episodes]
    rows = TransitionRows.of(trajectories, PLAN_STARTS)
    state = observed_states(model, trajectories, rows)
    memory = policy.planner.initial_memory(len(rows))
    chosen = policy.planner.plan(policy.world, state, memory, generator).actions  # [n, H, A]
    shape = (len(rows), RANDOM_PLANS, *chosen.shape[1:])
    random = random_actions(model.spec.action, shape[:3], generator).to(model.device)
    plans = torch.cat([chosen[:, None], random], 1)  # [n, 1 + N, H, A]
    predicted = _mean_returns(model, state, plans, discount, generator)
    starts = [
        Start(episodes[e], t)
        for e, t in zip(rows.episode.tolist(), rows.time.tolist(), strict=True)
    ]
    true = true_returns(starts, plans.cpu().numpy(), discount)
    return ComparedPlans(rows.episode, predicted, true)


def random_actions(
    action: ActionSpec, shape: tuple[int, ...], generator: torch.Generator
) -> torch.Tensor:
    """Return uniformly drawn legal actions [..., A]."""
    if action.kind == "continuous":
        uniform = torch.rand(*shape, action.dim, generator=generator, device=generator.device)
        return 2.0 * uniform - 1.0
    blocks = []
    for size in action.sizes:
        index = torch.randint(size, shape, generator=generator, device=generator.device)
        blocks.append(torch.nn.functional.one_hot(index, size).float())
    return torch.cat(blocks, -1)


def _following(action: NDArray[np.float32], start: int, horizon: int) -> NDArray[np.float32]:
    """Return the actions [H, A] from `start` on; the last one is repeated after the end."""
    index = np.minimum(np.arange(start, start + horizon), len(action) - 1)
    return action[index]


def _mean_returns(
    model: Model,
    state: dict[str, torch.Tensor],
    plans: torch.Tensor,
    discount: float,
    generator: torch.Generator,
) -> Array:
    """Return the predicted returns [n, N] of plans [n, N, H, A], means over particles."""
    repeats = -(-PARTICLES // model.num_particles) if model.num_particles > 1 else 1
    returns = [
        evaluate_plans(model, state, plans, discount, generator).returns.mean(-1)
        for _ in range(repeats)
    ]
    mean: Array = torch.stack(returns).mean(0).double().cpu().numpy()
    return mean
