"""CartPole-v1 of gymnasium with a continuous force."""

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

    The reward is 1 for each step. The task terminates if |x| > 2.4 m or |angle| > 12 degrees.
    """

    def __init__(self, render_mode: str | None = None):
        super().__init__(render_mode=render_mode)
        self.action_space = spaces.Box(-1.0, 1.0, shape=(1,), dtype=np.float32)
        self._simulator = CartPoleSimulator(self)  # holds the equations of motion

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Apply the force action [1] for one time step `tau` (0.02 s)."""
        assert self.state is not None, "call reset before step"
        state = torch.from_numpy(self.state)  # [4] float64, as gymnasium integrates
        force = torch.as_tensor(action, dtype=torch.float64)  # [1]
        next_state = self._simulator.step(state, force)
        self.state = next_state.numpy()
        terminated = bool(self._simulator.terminated(state, force, next_state))
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        return self.state.astype(np.float32), 1.0, terminated, False, {}
