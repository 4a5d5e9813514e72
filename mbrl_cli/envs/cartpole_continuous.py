"""Cart-pole balancing with a continuous force; all else is gymnasium's CartPole-v1."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from numpy.typing import NDArray

from mbrl_cli.envs.simulators.cartpole import CartPoleSimulator


class CartPoleContinuous(CartPoleEnv):
    """Balance the pole with a force in [-1, 1], in units of `force_mag` (10 N).

    Reward 1 a step; terminated where |x| > 2.4 m or |angle| > 12 degrees.
    """

    def __init__(self, render_mode: str | None = None):
        super().__init__(render_mode=render_mode)
        self.action_space = spaces.Box(-1.0, 1.0, shape=(1,), dtype=np.float32)
        self._physics = CartPoleSimulator(self)  # the equations stand there, once

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Push the cart with action [1] for one `tau` (0.02 s)."""
        assert self.state is not None, "call reset before step"
        state = torch.from_numpy(self.state)  # [4] float64, as gymnasium integrates
        push = torch.as_tensor(action, dtype=torch.float64)  # [1]
        after = self._physics.step(state, push)
        self.state = after.numpy()
        terminated = bool(self._physics.terminated(state, push, after))
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        return self.state.astype(np.float32), 1.0, terminated, False, {}
