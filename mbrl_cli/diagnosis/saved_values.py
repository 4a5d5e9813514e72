"""The values that a saved agent gives to the states of episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbrl_cli.agents.alphazero import AlphaZero
from mbrl_cli.agents.base import Agent
from mbrl_cli.agents.dreamer import Dreamer
from mbrl_cli.agents.mbpo import MBPO
from mbrl_cli.agents.mpc import MPC
from mbrl_cli.agents.sac import SAC
from mbrl_cli.agents.tdmpc2_agent import TDMPC2Agent
from mbrl_cli.diagnosis.episode import Episode
from mbrl_cli.models.base import Model
from mbrl_cli.models.rssm import features
from mbrl_cli.types import State


class SavedValues(NamedTuple):
    """Values of observations.

    Attributes:
        values: [T + 1] of each episode, in the unit of the environment's rewards.
        discount: per step.
    """

    values: list[NDArray[np.float64]]
    discount: float


def soft_actor_critic(agent: Agent) -> SAC | None:
    """Return the soft actor-critic inside an agent; None: it has none."""
    if isinstance(agent, SAC):
        return agent
    if isinstance(agent, MBPO | MPC):
        return agent.sac
    return None


@torch.no_grad()
def saved_values(
    agent: Agent, episodes: Sequence[Episode], generator: torch.Generator
) -> SavedValues | None:
    """Return the values of all observations; None: the agent has no value.

    Args:
        agent: as it was saved.
        episodes: that are valued.
        generator: for models that draw random numbers.
    """
    sac = soft_actor_critic(agent)
    if sac is not None:
        values = [_array(sac.state_value(torch.from_numpy(e.obs).to(sac.device))) for e in episodes]
        return SavedValues(values, sac.discount)
    if isinstance(agent, Dreamer):
        learner, model = agent.learner, agent.model

        def dreamer_value(state: State) -> Tensor:
            feature = features(state)
            flat = feature.reshape(-1, feature.shape[-1])
            value = learner.two_hot.predict(learner.critic, flat[None])[0]
            return model.reward_scale.restore(value)

        return SavedValues(_filtered(model, episodes, dreamer_value), learner.discount)
    if isinstance(agent, TDMPC2Agent | AlphaZero):
        value = agent.world(generator).value
        assert value is not None  # both agents value the last state of a plan
        of_state = partial(_mean_of_particles, agent.model, value)
        return SavedValues(_filtered(agent.model, episodes, of_state), agent.discount)
    return None


def _filtered(
    model: Model, episodes: Sequence[Episode], value: Callable[[State], Tensor]
) -> list[NDArray[np.float64]]:
    """Return the values of the states that the model filters along each episode."""
    result = []
    for episode in episodes:
        state = model.initial(1)
        action = torch.zeros(1, model.spec.action.dim, device=model.device)
        numbers = []
        for t, obs in enumerate(episode.obs):
            state = model.observe(state, action, torch.from_numpy(obs[None]).to(model.device), [])
            numbers.append(float(value(state).mean()))
            if t < len(episode):
                action = torch.from_numpy(episode.action[t][None]).to(model.device)
        result.append(np.array(numbers))
    return result


def _mean_of_particles(model: Model, value: Callable[[State], Tensor], state: State) -> Tensor:
    """Return the value of an observed state, for functions of imagined states."""
    return value(model.branch(state, 1)).mean()


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.double().cpu().numpy()
