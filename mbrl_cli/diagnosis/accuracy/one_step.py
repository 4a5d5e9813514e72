"""One-step predictions of a model for all transitions: reward, termination, disagreement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_cli.diagnosis.accuracy.transition_rows import TransitionRows
from mbrl_cli.models.base import Model
from mbrl_cli.models.markov import MarkovModel
from mbrl_cli.types import State

PARTICLES = 20  # imagined outcomes of one transition, whose mean is the prediction
CHUNK = 256  # transitions that are predicted at once, with 20 outcomes each, to bound the memory


@dataclass(frozen=True)
class OneStep:
    """Predictions for n transitions.

    Attributes:
        reward: [n] mean of the predicted reward.
        termination: [n] probability that the transition ends the task.
        next_obs: [n, O] mean of the next observation; None: the model is not Markov.
        disagreement: [n] see `Prediction.disagreement`; None: the model has one member.
    """

    reward: NDArray[np.float64]
    termination: NDArray[np.float64]
    next_obs: NDArray[np.float64] | None
    disagreement: NDArray[np.float64] | None


@torch.no_grad()
def predict_one_step(
    model: Model, rows: TransitionRows, state: State, generator: torch.Generator
) -> OneStep:
    """Predict n transitions.

    Args:
        model: a fitted model.
        rows: the transitions.
        state: their states, see `observed_states`.
        generator: for the model.
    """
    plans = -(-PARTICLES // model.num_particles)
    rewards, terminations, means, disagreements = [], [], [], []
    for first in range(0, len(rows), CHUNK):
        part = slice(first, first + CHUNK)
        action = torch.from_numpy(rows.action[part]).to(model.device)
        imagined = model.branch({key: value[part] for key, value in state.items()}, plans)
        step = model.step(imagined, action.repeat_interleave(plans, 0), generator)
        rewards.append(step.reward.reshape(len(action), -1).mean(1))
        terminations.append(1.0 - step.continues.reshape(len(action), -1).mean(1))
        if isinstance(model, MarkovModel):
            prediction = model.predict(torch.from_numpy(rows.obs[part]).to(model.device), action)
            means.append(prediction.mean)
            disagreements.append(prediction.disagreement)
    return OneStep(
        reward=_joined(rewards),
        termination=_joined(terminations),
        next_obs=_joined(means) if means else None,
        disagreement=_joined(disagreements) if means and model.has_disagreement else None,
    )


def _joined(parts: list[torch.Tensor]) -> NDArray[np.float64]:
    joined: NDArray[np.float64] = torch.cat(parts).double().cpu().numpy()
    return joined
