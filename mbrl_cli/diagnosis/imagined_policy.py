"""Return of the policy in imagination against its return in the episodes that are played now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.agents.base import Agent
from mbrl_cli.agents.dreamer import Dreamer
from mbrl_cli.agents.mbpo import MBPO
from mbrl_cli.diagnosis.accuracy.episode_resamples import Estimated, mean_of, resample
from mbrl_cli.diagnosis.accuracy.plan_returns import MAX_STARTS, PARTICLES, PlanReturns
from mbrl_cli.diagnosis.accuracy.trajectory import Trajectory
from mbrl_cli.diagnosis.accuracy.transition_rows import TransitionRows, observed_states
from mbrl_cli.diagnosis.episode import Episode
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.models.base import Model
from mbrl_cli.models.rssm import features
from mbrl_cli.optimism_gap import observed_returns
from mbrl_cli.types import State

# Imagined minus real return, divided by the size of real returns; as for plans.
NOTE = 0.15
PROBLEM = 0.5


class ImaginedPolicy(NamedTuple):
    """A policy as a function of imagined states.

    Attributes:
        act: maps states of M rows of P particles to the policy's most likely actions [M, P, A].
        discount: per step.
    """

    act: Callable[[State], Tensor]
    discount: float


def imagined_policy(agent: Agent) -> ImaginedPolicy | None:
    """Return the policy that an agent is evaluated with; None: it has none.

    An agent that plans its actions does not act by its policy, so it has none either.
    """
    if isinstance(agent, Dreamer):
        learner = agent.learner

        def dreamer_action(state: State) -> Tensor:
            feature = features(state)  # [M, P, F]
            action = learner.act(feature.flatten(0, 1), None).clamp(-1.0, 1.0)
            return action.view(*feature.shape[:2], -1)

        return ImaginedPolicy(dreamer_action, learner.discount)
    if isinstance(agent, MBPO) and agent.planning is None:
        model, sac = agent.model, agent.sac

        def sac_action(state: State) -> Tensor:
            obs = model.decode(state)  # [M, P, O]
            return sac.act(obs.flatten(0, 1), None).view(*obs.shape[:2], -1)

        return ImaginedPolicy(sac_action, sac.discount)
    return None


@torch.no_grad()
def imagined_policy_returns(
    model: Model,
    policy: ImaginedPolicy,
    episodes: Sequence[Episode],
    horizon: int,
    generator: torch.Generator,
) -> PlanReturns | None:
    """Imagine the policy from states of real episodes; None: all episodes are too short.

    Args:
        model: a fitted model whose states need no live environment.
        policy: that played the episodes.
        episodes: real ones.
        horizon: steps.
        generator: for the model.
    """
    discount = policy.discount
    trajectories = [Trajectory.of_episode(episode) for episode in episodes]
    observed = [observed_returns(t.reward, t.terminated, horizon, discount) for t in trajectories]
    every = TransitionRows.of(trajectories, sum(t.steps for t in trajectories))
    usable = np.array([len(values) for values in observed])[every.episode] > every.time
    index = np.flatnonzero(usable)
    if not len(index):
        return None
    index = index[np.linspace(0, len(index) - 1, min(len(index), MAX_STARTS)).round().astype(int)]
    rows = every.at(index)
    repeats = -(-PARTICLES // model.num_particles)
    state = model.branch(observed_states(model, trajectories, rows), repeats)
    total, weight = torch.zeros(()), torch.ones(())
    for _ in range(horizon):
        step = model.step(state, policy.act(state), generator)
        total = total + weight * step.reward  # [n * repeats, P]
        weight = weight * discount * step.continues
        state = step.state
    predicted = total.reshape(len(rows), -1).mean(1).double().cpu().numpy()
    true = np.array(
        [observed[e][t] for e, t in zip(rows.episode.tolist(), rows.time.tolist(), strict=True)]
    )
    return PlanReturns("policy, imagined", rows.episode, predicted, true)


def return_gap(returns: PlanReturns) -> Estimated:
    """Return the mean of imagined minus real returns, resampled over episodes."""
    difference = returns.predicted - returns.true
    return resample(returns.episode, np.stack([difference, np.ones(len(difference))], 1), mean_of)


def imagined_policy_finding(returns: PlanReturns, horizon: int, command: str) -> Finding:
    """Return what the gap of imagined and real returns means.

    Args:
        returns: of the policy.
        horizon: steps.
        command: the advice if it is a problem.
    """
    gap = return_gap(returns)
    size = max(abs(float(returns.true.mean())), float(returns.true.std()), 1e-12)
    text = (
        f"over {horizon} steps the policy receives {returns.predicted.mean():.3g} in imagination "
        f"and {returns.true.mean():.3g} in reality: the difference is {gap.text()}"
    )
    high = gap.value > 0.0

    def beyond(limit: float) -> float:
        return gap.confidence(lambda values: (values if high else -values) >= limit * size)

    if abs(gap.value) >= PROBLEM * size:
        return Finding("imagined_return", "problem", text, beyond(PROBLEM), command)
    if abs(gap.value) >= NOTE * size:
        return Finding("imagined_return", "note", text, beyond(NOTE))
    sure = gap.confidence(lambda values: np.abs(values) < NOTE * size)
    return Finding("imagined_return", "fine", text, sure)
