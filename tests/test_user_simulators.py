"""A user can add a simulator; a wrong one is refused in one line."""

import sys
import types

import pytest
import torch

from mbrl_cli.envs.make import make_env
from mbrl_cli.envs.simulators.builtin import builtin_simulator
from mbrl_cli.errors import UserError
from mbrl_cli.models.oracle import Oracle
from mbrl_cli.types import Simulator


class RepeatedPendulum:
    """A user's simulator of Pendulum-v1 with action_repeat=2; it inherits nothing."""

    def __init__(self, gym_env):
        self.single = builtin_simulator(gym_env.unwrapped)

    def step(self, obs, action):
        return self.single.step(self.single.step(obs, action), action)

    def reward(self, obs, action, next_obs):
        middle = self.single.step(obs, action)
        first = self.single.reward(obs, action, middle)
        return first + self.single.reward(middle, action, next_obs)

    def terminated(self, obs, action, next_obs):
        return torch.zeros(obs.shape[:-1], dtype=torch.bool)


class Noise(Simulator):
    """A random simulator: the next observation is the uniform number, the reward 0."""

    is_random = True

    def __init__(self, gym_env):
        pass

    def step(self, obs, action, uniform=None):
        number = 0.5 if uniform is None else uniform[..., None]
        return torch.zeros_like(obs) + number

    def reward(self, obs, action, next_obs):
        return torch.zeros(obs.shape[:-1])

    def terminated(self, obs, action, next_obs):
        return torch.zeros(obs.shape[:-1], dtype=torch.bool)


def with_changed(method, function):
    """Return a builder of `Noise` in which one method is replaced."""

    def build(gym_env):
        simulator = Noise(gym_env)
        setattr(simulator, method, function)
        return simulator

    return build


def fails(*arguments):
    raise RuntimeError("a bug\nof the user")


@pytest.fixture
def user_module(monkeypatch):
    """Return a module `mine` that the config can name."""
    module = types.ModuleType("mine")
    monkeypatch.setitem(sys.modules, "mine", module)
    return module


def test_a_simulator_of_the_user_gives_the_model_and_the_known_functions(user_module):
    user_module.repeated = RepeatedPendulum
    chosen = {"action_repeat": 2, "reward": "known", "termination": "known"}
    with pytest.raises(UserError, match=r"env\.reward=known: no simulator of Pendulum-v1"):
        make_env("Pendulum-v1", **chosen)
    env = make_env("Pendulum-v1", **chosen, simulator="mine:repeated")
    assert not env.spec.simulator.is_random
    model = Oracle(env.spec, torch.device("cpu"), torch.Generator())
    obs = env.reset(seed=1)
    for torque in (0.3, -0.8, 1.0):
        action = torch.tensor([[torque]])
        state = {"obs": torch.from_numpy(obs)[None, None]}
        step = model.step(state, action, torch.Generator())
        obs, reward, *_ = env.step(action[0].numpy())
        torch.testing.assert_close(
            step.state["obs"][0, 0], torch.from_numpy(obs), atol=1e-4, rtol=0
        )
        assert float(step.reward) == pytest.approx(reward, abs=1e-3)
        known = env.spec.known_reward(state["obs"], action[:, None], step.state["obs"])
        assert float(known) == pytest.approx(reward, abs=1e-3)


def test_each_particle_of_a_random_user_simulator_gets_its_own_number(user_module):
    user_module.noise = Noise
    env = make_env("Pendulum-v1", simulator="mine:noise")
    model = Oracle(env.spec, torch.device("cpu"), torch.Generator(), num_particles=3)
    generator = torch.Generator().manual_seed(0)
    state = model.branch({"obs": torch.zeros(1, 3)}, 2)
    step = model.step(state, torch.zeros(2, 1), generator)
    numbers = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))  # [M, P]
    assert torch.equal(step.state["obs"][..., 0], numbers)
    shared = model.step(state, torch.zeros(2, 1), generator, common_noise=True).state["obs"]
    assert torch.equal(shared[0], shared[1])
    assert model.predict(torch.zeros(1, 3), torch.zeros(1, 1)).mean.tolist() == [[0.5] * 3]


def test_the_user_s_function_gets_the_environment_with_its_wrappers(user_module):
    received = []
    user_module.noise = lambda gym_env: received.append(gym_env) or Noise(gym_env)
    env = make_env("Pendulum-v1", action_repeat=2, simulator="mine:noise")
    assert received == [env.gym]


OBJECT = "must return an object with step, reward and terminated, see mbrl_cli.types.Simulator"
WRONG_SIMULATORS = {
    "nonsense": (None, "env.simulator=nonsense: allowed are auto, package.module:function"),
    "no_module:f": (None, "env.simulator=no_module:f: cannot import no_module: No module named"),
    "mine:nois": (Noise, "env.simulator=mine:nois: mine has no function nois; did you mean noise?"),
    "not for this environment": (fails, "failed for the environment (RuntimeError: a bug of the"),
    "no object": (lambda gym_env: None, f"returned NoneType without a method step; it {OBJECT}"),
    "no method": (
        with_changed("terminated", None),
        f"returned Noise without a method terminated; it {OBJECT}",
    ),
    "step fails": (with_changed("step", fails), "step: failed for obs [2, 3, 3] (RuntimeError: a"),
    "step": (
        with_changed("step", lambda obs, action, uniform=None: obs[..., 0]),
        "step: returned [2, 3] for obs [2, 3, 3]; it must return a tensor [2, 3, 3]",
    ),
    "random step": (
        with_changed("step", lambda obs, action, uniform=None: obs if uniform is None else uniform),
        "step: returned [2, 3] for obs [2, 3, 3]; it must return a tensor [2, 3, 3]",
    ),
    "reward": (
        with_changed("reward", lambda obs, action, next_obs: 0.0),
        "reward: returned float for obs [2, 3, 3]; it must return a tensor [2, 3]",
    ),
    "terminated": (
        with_changed("terminated", lambda obs, action, next_obs: obs > 0),
        "terminated: returned [2, 3, 3] for obs [2, 3, 3]; it must return a tensor [2, 3]",
    ),
}


@pytest.mark.parametrize("name", WRONG_SIMULATORS)
def test_a_wrong_simulator_is_refused_in_one_line(user_module, name):
    function, text = WRONG_SIMULATORS[name]
    user_module.noise = function
    path = name if name == "nonsense" or ":" in name else "mine:noise"
    with pytest.raises(UserError, match=f"^env.simulator={path}: ") as caught:
        make_env("Pendulum-v1", simulator=path)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
