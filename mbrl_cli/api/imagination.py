"""Imagine actions with a model and describe the sampled trajectories by their moments."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from torch import Tensor

from mbrl_cli.api.model_prediction import ModelPrediction
from mbrl_cli.api.space_values import unflatten, unflatten_spread
from mbrl_cli.models.base import Model
from mbrl_cli.types import State

# Mean and standard deviation of the next observation [n, H, O], those of the reward [n, H], and the
# termination probability [n, H].
Moments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def imagined_moments(model: Model, state: State, actions: Tensor, samples: int) -> Moments:
    """Return the moments of imagined steps; the random numbers are the same at each call.

    Axes: n rows, H steps, S samples, O obs_dim, A encoded action dim.

    Args:
        model: a fitted model.
        state: n observed states.
        actions: [n, H, A] encoded.
        samples: S, rounded up to a multiple of the model's particles.
    """
    rows = len(actions)
    generator = torch.Generator(model.device).manual_seed(0)
    plans = -(-samples // model.num_particles)  # of the same actions
    imagined = model.branch(state, plans)
    steps = []
    for action in actions.unbind(1):  # [n, A]
        step = model.step(imagined, action.repeat_interleave(plans, 0), generator)
        imagined = step.state
        decoded = model.decode(imagined).reshape(rows, -1, model.spec.obs_dim)  # [n, S, O]
        std, mean = torch.std_mean(decoded, 1, correction=0)  # [n, O]
        reward_std, reward = torch.std_mean(step.reward.reshape(rows, -1), 1, correction=0)
        termination = 1.0 - step.continues.reshape(rows, -1).mean(1)
        steps.append((mean, std, reward, reward_std, termination))
    mean, std, reward, reward_std, termination = (
        torch.stack(part, 1) for part in zip(*steps, strict=True)
    )
    return mean, std, reward, reward_std, termination


def as_prediction(
    space: gymnasium.Space[Any], moments: Moments, index: tuple[Any, Any]
) -> ModelPrediction:
    """Return the entries `index` of the axes [n, H] in the structure of the observation space."""
    mean, std, reward, reward_std, termination = (
        part.double().cpu().numpy()[index] for part in moments
    )
    return ModelPrediction(
        obs=unflatten(space, mean),
        obs_std=unflatten_spread(space, std),
        reward=reward,
        reward_std=reward_std,
        termination=termination,
    )
