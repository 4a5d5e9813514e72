"""The simulators of this package and the environments that they simulate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.envs.classic_control import (
    AcrobotEnv,
    CartPoleEnv,
    Continuous_MountainCarEnv,
    MountainCarEnv,
    PendulumEnv,
)
from gymnasium.envs.toy_text.cliffwalking import CliffWalkingEnv
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv
from gymnasium.envs.toy_text.taxi import TaxiEnv

from mbrl_cli.envs.cartpole_continuous import CartPoleContinuous
from mbrl_cli.envs.gridworld import GridWorld
from mbrl_cli.envs.simulators.acrobot import AcrobotSimulator
from mbrl_cli.envs.simulators.cartpole import CartPoleSimulator
from mbrl_cli.envs.simulators.gridworld import GridWorldSimulator
from mbrl_cli.envs.simulators.mountain_car import MountainCarSimulator
from mbrl_cli.envs.simulators.pendulum import PendulumSimulator
from mbrl_cli.envs.simulators.toy_text import ToyTextSimulator
from mbrl_cli.envs.transparent_wrappers import without_transparent_wrappers
from mbrl_cli.types import Simulator

# Some of the environments below, for error messages.
BUILTIN_IDS = (
    "mbrl/GridWorld-v0",
    "CartPole-v1",
    "mbrl/CartPoleContinuous-v0",
    "Pendulum-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "FrozenLake-v1",
)

_SIMULATOR_OF: dict[type, Callable[[Any], Simulator]] = {
    GridWorld: GridWorldSimulator,
    CartPoleEnv: CartPoleSimulator,
    CartPoleContinuous: CartPoleSimulator,
    PendulumEnv: PendulumSimulator,
    AcrobotEnv: AcrobotSimulator,
    MountainCarEnv: MountainCarSimulator,
    Continuous_MountainCarEnv: MountainCarSimulator,
    FrozenLakeEnv: ToyTextSimulator,
    CliffWalkingEnv: ToyTextSimulator,
    TaxiEnv: ToyTextSimulator,
}


def builtin_simulator(gym_env: gymnasium.Env[Any, Any]) -> Simulator | None:
    """Return the simulator of `gym_env`, or None if its dynamics are not known exactly.

    Only the exact classes have one: a subclass may have other dynamics, and an unknown wrapper
    other observations.
    """
    layer = without_transparent_wrappers(gym_env)
    if type(layer) not in _SIMULATOR_OF:
        return None
    if isinstance(layer, AcrobotEnv) and layer.torque_noise_max > 0:
        return None
    if getattr(layer, "fickle_passenger", False):  # this Taxi deviates from its transition table
        return None
    return _SIMULATOR_OF[type(layer)](layer)
