"""Single transitions of several trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbrl_cli.diagnosis.accuracy.trajectory import Trajectory
from mbrl_cli.models.base import Model
from mbrl_cli.types import State


@dataclass(frozen=True)
class TransitionRows:
    """n transitions of E trajectories; O obs_dim, A encoded action dim.

    Attributes:
        episode: [n] index of the trajectory.
        time: [n] step of the trajectory.
        obs: [n, O].
        action: [n, A].
        reward: [n].
        next_obs: [n, O].
        terminated: [n] whether the transition ended the task.
    """

    episode: NDArray[np.int64]
    time: NDArray[np.int64]
    obs: NDArray[np.float32]
    action: NDArray[np.float32]
    reward: NDArray[np.float64]
    next_obs: NDArray[np.float32]
    terminated: NDArray[np.bool_]

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory], limit: int) -> TransitionRows:
        """Return all transitions, or `limit` of them at equal distances."""
        lengths = [trajectory.steps for trajectory in trajectories]
        episode = np.repeat(np.arange(len(lengths)), lengths)
        time = np.concatenate([np.arange(length) for length in lengths])
        if len(episode) > limit:
            chosen = np.linspace(0, len(episode) - 1, limit).round().astype(np.int64)
            episode, time = episode[chosen], time[chosen]
        pairs = list(zip(episode.tolist(), time.tolist(), strict=True))
        ends = [t == lengths[e] - 1 and trajectories[e].terminated for e, t in pairs]
        return cls(
            episode=episode,
            time=time,
            obs=np.stack([trajectories[e].obs[t] for e, t in pairs]).astype(np.float32),
            action=np.stack([trajectories[e].action[t] for e, t in pairs]),
            reward=np.array([trajectories[e].reward[t] for e, t in pairs]),
            next_obs=np.stack([trajectories[e].obs[t + 1] for e, t in pairs]).astype(np.float32),
            terminated=np.array(ends, np.bool_),
        )

    def at(self, index: NDArray[np.int64]) -> TransitionRows:
        """Return the transitions at `index`."""
        return TransitionRows(*(getattr(self, field.name)[index] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.episode)


@torch.no_grad()
def observed_states(
    model: Model, trajectories: Sequence[Trajectory], rows: TransitionRows
) -> State:
    """Return the model's states of n rows, just before their actions.

    A model with memory gets all observations and actions of the episode up to there.

    Args:
        model: a fitted model whose states need no live environment.
        trajectories: E whole episodes.
        rows: n of their transitions.
    """
    if model.state_source == "observation":
        obs = torch.from_numpy(rows.obs).to(model.device)
        action = torch.zeros(len(obs), model.spec.action.dim, device=model.device)
        return model.observe(model.initial(len(obs)), action, obs)
    state = model.initial(len(trajectories))
    action = torch.zeros(len(trajectories), model.spec.action.dim, device=model.device)
    last = [trajectory.steps - 1 for trajectory in trajectories]
    parts, order = [], []
    for time in range(int(rows.time.max()) + 1):
        # Episodes that have ended repeat their last step; its result is not used.
        steps = [min(time, end) for end in last]
        observed = [trajectory.obs[t] for trajectory, t in zip(trajectories, steps, strict=True)]
        obs = torch.from_numpy(np.stack(observed).astype(np.float32)).to(model.device)
        state = model.observe(state, action, obs)
        wanted = np.flatnonzero(rows.time == time)
        order.append(wanted)
        parts.append({key: value[rows.episode[wanted]] for key, value in state.items()})
        action = _stack(
            [trajectory.action[t] for trajectory, t in zip(trajectories, steps, strict=True)], model
        )
    back = torch.from_numpy(np.argsort(np.concatenate(order)))
    return {key: torch.cat([part[key] for part in parts])[back] for key in state}


def _stack(values: Sequence[NDArray[np.float32]], model: Model) -> Tensor:
    return torch.from_numpy(np.stack(values)).to(model.device)
