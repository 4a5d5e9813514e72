"""Open-loop predictions: samples of the observation after k imagined steps with real actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbrl_cli.diagnosis.accuracy.trajectory import Trajectory
from mbrl_cli.diagnosis.accuracy.transition_rows import TransitionRows, observed_states
from mbrl_cli.models.base import Model
from mbrl_cli.models.markov import MarkovModel
from mbrl_cli.types import State

SAMPLES = 40  # of each predicted distribution: levels in steps of 2.5 %
MAX_STARTS = 256  # states from which the model imagines; more change the second digit at most
MAX_NUMBERS = 2**23  # sampled entries that are kept: 32 MiB
CHUNK = 64  # starts that are imagined at once
IMAGE_STARTS = 32  # an image has thousands of entries


@dataclass(frozen=True)
class Forecast:
    """Predictions of one length k for w windows; S samples, O obs_dim.

    Attributes:
        steps: k.
        episode: [w] index of the trajectory.
        start: [w, O] the last given observation.
        truth: [w, O] the observation k steps later.
        samples: [w, S, O] in ascending order of each entry; S is 1 if the model imagines without
            spread.
        lost: windows that are left out because a prediction is not finite.
    """

    steps: int
    episode: NDArray[np.int64]
    start: NDArray[np.float32]
    truth: NDArray[np.float32]
    samples: NDArray[np.float32]
    lost: int

    @property
    def error(self) -> NDArray[np.float64]:
        """Mean prediction minus truth [w, O]."""
        mean: NDArray[np.float64] = self.samples.mean(1, dtype=np.float64)
        return mean - self.truth

    @property
    def change(self) -> NDArray[np.float64]:
        """What predicting no change is wrong by [w, O]."""
        return self.start.astype(np.float64) - self.truth

    @property
    def has_spread(self) -> bool:
        """Whether the predictions are distributions."""
        return bool(self.samples.shape[1] > 1)


def lengths_up_to(horizon: int) -> list[int]:
    """Return 1, 2, 5, 10, 20, 50, ... below `horizon`, then `horizon`."""
    steps = [factor * 10**power for power in range(4) for factor in (1, 2, 5)]
    return [*(k for k in steps if k < horizon), max(horizon, 1)]


@torch.no_grad()
def forecast(
    model: Model,
    trajectories: Sequence[Trajectory],
    lengths: Sequence[int],
    generator: torch.Generator,
) -> list[Forecast]:
    """Imagine from states of trajectories, with the actions that were executed there.

    Args:
        model: a fitted model that decodes observations.
        trajectories: the real episodes.
        lengths: the k, ascending. Those that no episode reaches are left out.
        generator: for the model.
    """
    spec = model.spec
    is_image = spec.obs_shape is not None
    samples = 1 if is_image else SAMPLES
    numbers = samples * spec.obs_dim * len(lengths)
    limit = IMAGE_STARTS if is_image else max(1, min(MAX_STARTS, MAX_NUMBERS // numbers))
    rows = TransitionRows.of(trajectories, limit)
    state = observed_states(model, trajectories, rows)
    if not is_image and not _has_spread(model, state, rows, generator):
        samples = 1
    left = np.array([trajectories[e].steps for e in rows.episode]) - rows.time  # [n] steps
    kept: dict[int, list[Tensor]] = {k: [] for k in lengths}
    for first in range(0, len(rows), CHUNK):
        part = slice(first, first + CHUNK)
        chosen = {key: value[part] for key, value in state.items()}
        actions = _actions(trajectories, rows, part, min(lengths[-1], int(left[part].max())))
        actions = actions.to(model.device)
        decoded = _imagine(model, chosen, actions, samples, set(lengths), generator)
        for k, of_chunk in decoded.items():
            kept[k].append(of_chunk[torch.from_numpy(left[part] >= k)])
    return [
        _of_length(trajectories, rows, k, left >= k, torch.cat(kept[k]).cpu().numpy())
        for k in lengths
        if (left >= k).any()
    ]


def gaussian_forecast(model: MarkovModel, rows: TransitionRows) -> Forecast | None:
    """Return one-step predictions as quantiles of the Gaussian that `model.predict` returns.

    For a model that imagines without spread but knows its residuals. None: it predicts no spread.
    """
    with torch.no_grad():
        obs, action = (torch.from_numpy(x).to(model.device) for x in (rows.obs, rows.action))
        prediction = model.predict(obs, action)
    if not bool((prediction.std > 0.0).any()):
        return None
    level = (torch.arange(SAMPLES, device=obs.device) + 0.5) / SAMPLES
    quantile = torch.special.ndtri(level)[:, None]  # [S, 1]
    samples = prediction.mean[:, None] + prediction.std[:, None] * quantile  # [n, S, O]
    return _finite(1, rows.episode, rows.obs, rows.next_obs, samples.cpu().numpy())


def _has_spread(
    model: Model, state: State, rows: TransitionRows, generator: torch.Generator
) -> bool:
    """Return whether samples of one step differ."""
    few = slice(0, 8)
    actions = torch.from_numpy(rows.action[few]).to(model.device)[None]
    chosen = {key: value[few] for key, value in state.items()}
    decoded = _imagine(model, chosen, actions, 4, {1}, generator)[1]
    return bool((decoded.std(1) > 0.0).any())


def _imagine(
    model: Model,
    state: State,
    actions: Tensor,
    samples: int,
    lengths: set[int],
    generator: torch.Generator,
) -> dict[int, Tensor]:
    """Return by k the sorted samples [n, S, O] after k of the actions [H, n, A]."""
    plans = -(-samples // model.num_particles)
    imagined = model.branch(state, plans)
    found = {}
    for k, action in enumerate(actions, 1):
        imagined = model.step(imagined, action.repeat_interleave(plans, 0), generator).state
        if k in lengths:
            decoded = model.decode(imagined).reshape(len(action), -1, model.spec.obs_dim)
            found[k] = decoded.mean(1, keepdim=True) if samples == 1 else decoded.sort(1).values
    return found


def _actions(
    trajectories: Sequence[Trajectory], rows: TransitionRows, part: slice, steps: int
) -> Tensor:
    """Return the actions [steps, n, A] from each start on; zeros after the end of its episode."""
    starts = list(zip(rows.episode[part].tolist(), rows.time[part].tolist(), strict=True))
    actions = np.zeros((steps, len(starts), rows.action.shape[1]), np.float32)
    for i, (episode, time) in enumerate(starts):
        following = trajectories[episode].action[time : time + steps]
        actions[: len(following), i] = following
    return torch.from_numpy(actions)


def _of_length(
    trajectories: Sequence[Trajectory],
    rows: TransitionRows,
    k: int,
    used: NDArray[np.bool_],
    samples: NDArray[np.float32],
) -> Forecast:
    episode, time = rows.episode[used], rows.time[used]
    truth = np.stack(
        [trajectories[e].obs[t + k] for e, t in zip(episode.tolist(), time.tolist(), strict=True)]
    )
    return _finite(k, episode, rows.obs[used], truth.astype(np.float32), samples)


def _finite(
    k: int,
    episode: NDArray[np.int64],
    start: NDArray[np.float32],
    truth: NDArray[np.float32],
    samples: NDArray[np.float32],
) -> Forecast:
    """Return a forecast without the windows whose prediction is not finite."""
    finite = np.isfinite(samples).all((1, 2))
    return Forecast(
        k, episode[finite], start[finite], truth[finite], samples[finite], int((~finite).sum())
    )
