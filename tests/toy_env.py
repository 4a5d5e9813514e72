"""An environment for tests."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces


class Toy(gymnasium.Env):
    """Observe the number of steps of the episode; it is truncated after `length` steps."""

    def __init__(self, action_space=None, length=None, reward=1.0):
        self.observation_space = spaces.Box(-1e6, 1e6, (1,), np.float32)
        self.action_space = action_space or spaces.Discrete(2)
        self.length, self.reward = length, reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._obs(), {}

    def step(self, action):
        self.action = action
        self.count += 1
        return self._obs(), self.reward, False, self.count == self.length, {}

    def _obs(self):
        return np.array([self.count], np.float32)


@pytest.fixture
def register(monkeypatch):
    """Return a function that registers a class as Toy-v0."""

    def make(creator, **changes):
        spec = gymnasium.envs.registration.EnvSpec("Toy-v0", entry_point=creator, **changes)
        monkeypatch.setitem(gymnasium.registry, "Toy-v0", spec)
        return "Toy-v0"

    return make
