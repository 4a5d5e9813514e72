"""Small MBPO agents for tests, with a model that records how it is used."""

import numpy as np
import pytest
import torch

from mbrl_cli.agents.mbpo import MBPO
from mbrl_cli.replay.buffer import ReplayBuffer

CPU = torch.device("cpu")
SAC_SETTINGS = {
    "hidden": [16], "learning_rate": 1e-2, "batch_size": 8, "updates_per_step": 1.0,
    "discount": 0.9, "target_rate": 0.05, "initial_temperature": 0.1, "log_every": 5,
}  # fmt: skip
SETTINGS = {
    "fit_every": 10, "rollout_every": 5, "rollouts": 12, "rollout_length": 3,
    "imagined_capacity": 1000, "proposals": 0,
}  # fmt: skip


def make_mbpo(spec, model, seed=0, sac=None, **changes):
    generator = torch.Generator().manual_seed(seed)
    return MBPO(spec, CPU, generator, model, SAC_SETTINGS | (sac or {}), **SETTINGS | changes)


def drift(obs, action):
    """Add 1 to the observation; the reward is the old one; above 2.5 the episode terminates."""
    next_obs = obs + 1.0
    return next_obs, obs[..., 0], (next_obs[..., 0] <= 2.5).float()


@pytest.fixture
def make_recording_model(make_hand_made):
    """Return a class of hand-made models that count fits and record the actions of `step`."""

    class RecordingModel(make_hand_made):
        def __init__(self, spec, transition=drift, metrics=None, errors=None, **options):
            super().__init__(spec, transition, **options)
            self.is_fitted, self.fits, self.actions = False, 0, []
            self.fit_metrics, self.fit_errors = metrics or {}, errors or {}

        def step(self, state, action, generator, common_noise=False):
            self.actions.append(action)
            return super().step(state, action, generator, common_noise)

        def fit(self, replay, generator):
            self.fits += 1
            self.is_fitted, self.errors = True, self.fit_errors
            return self.fit_metrics

    return RecordingModel


def zeros_replay(spec, num):
    """Return a replay of `num` real transitions from 0 to 0 with reward -7, not terminated."""
    replay = ReplayBuffer(num, spec.obs_dim, spec.action.dim)
    obs, action = np.zeros(spec.obs_dim, np.float32), np.zeros(spec.action.dim, np.float32)
    for _ in range(num):
        replay.add(obs, action, -7.0, obs, False, False)
    return replay
