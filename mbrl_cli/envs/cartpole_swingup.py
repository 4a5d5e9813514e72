"""The cart-pole of PETS: swing up a pole that hangs down, in MuJoCo.

Source: Chua et al. 2018, "Deep Reinforcement Learning in a Handful of Trials using Probabilistic
Dynamics Models", section 6 and appendix.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium.envs.mujoco
import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv
from numpy.typing import NDArray

PARTS = Path(gymnasium.envs.mujoco.__file__).parent / "assets" / "inverted_pendulum.xml"
POLE_LENGTH = 0.6  # m
MAX_POSITION = 2.5  # m, of the cart
ACTION_COST = 0.01  # per squared action
START_STD = 0.1  # of positions and velocities


class CartPoleSwingUp(MujocoEnv):
    """Bring the tip of the pole to the point above the middle of the track.

    The bodies are those of Gymnasium's InvertedPendulum; the track is longer, the pole hangs down
    and turns freely. The action is in [-3, 3] (100 N each) and is held for 0.04 s. The reward is
    exp(-d^2 / l^2) - 0.01 a^2 for the distance d of the tip from its goal, the pole's length l and
    the action a. The task never terminates.

    The observation is that of the paper's networks: cart position, sin and cos of the pole's angle
    (0: down), and both velocities.
    """

    metadata = {  # noqa: RUF012  (as gymnasium defines it)
        "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
        "render_fps": 25,
    }

    def __init__(self, **kwargs: Any) -> None:
        space = spaces.Box(-np.inf, np.inf, shape=(5,), dtype=np.float64)
        camera = {"trackbodyid": 0, "distance": 3.0}
        super().__init__(
            str(PARTS), 2, observation_space=space, default_camera_config=camera, **kwargs
        )

    def _initialize_simulation(self) -> tuple[Any, Any]:
        parts = mujoco.MjSpec.from_file(self.fullpath)
        parts.joint("slider").range = [-MAX_POSITION, MAX_POSITION]
        parts.joint("hinge").limited = mujoco.mjtLimited.mjLIMITED_FALSE
        parts.geom("cpole").fromto = [0.0, 0.0, 0.0, 0.001, 0.0, -POLE_LENGTH]
        rail = parts.geom("rail")
        rail.size = [rail.size[0], 3.0, rail.size[2]]
        model = parts.compile()
        model.vis.global_.offwidth, model.vis.global_.offheight = self.width, self.height
        return model, mujoco.MjData(model)

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, np.float64]]:
        """Apply the action [1]."""
        self.do_simulation(action, self.frame_skip)
        obs = self._observation()
        x, sin, cos = obs[:3]
        squared_distance = (x - POLE_LENGTH * sin) ** 2 + (POLE_LENGTH * (cos + 1.0)) ** 2
        reward = np.exp(-squared_distance / POLE_LENGTH**2)
        reward = np.float64(reward - ACTION_COST * np.square(action).sum())
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        return obs, reward, False, False, {}

    def reset_model(self) -> NDArray[np.float64]:
        """Start near the rest position."""
        noise = self.np_random.normal(0.0, START_STD, 4)
        position, velocity = self.init_qpos + noise[:2], self.init_qvel + noise[2:]
        self.set_state(position, velocity)  # type: ignore[no-untyped-call]
        return self._observation()

    def _observation(self) -> NDArray[np.float64]:
        x, angle = self.data.qpos
        return np.array([x, np.sin(angle), np.cos(angle), *self.data.qvel])
