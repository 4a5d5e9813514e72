"""The same task in other units gives the same result.

All units are powers of two, so results must be equal to the bit: every number of the computation
differs by its unit alone.
"""

import csv

import pytest
import torch

from mbrl_cli.models.linear import Linear
from mbrl_cli.planners.mppi import MPPI

CPU = torch.device("cpu")
UNITS = [2.0**-27, 2.0**27]  # 7.5e-9 and 1.3e8

TOY = """
import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Toy(gym.Env):
    "A cart on a track of `unit` metres; the reward is paid in `coin`."

    def __init__(self, unit=1.0, coin=1.0):
        self.unit, self.coin = unit, coin
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)

    def look(self):
        return np.array([self.x, self.v], np.float32) * np.float32(self.unit)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.x, self.v = 0, float(self.np_random.uniform(-1, 0)), 0.0
        return self.look(), {}

    def step(self, action):
        self.v = 0.5 * self.v + 0.2 * float(action[0])
        self.x += self.v
        self.t += 1
        reward = float(np.float32(-abs(self.x - 1))) * self.coin
        return self.look(), reward, False, self.t >= 20, {}


gym.register("UnitToy-v0", "unit_toy:Toy")
"""
RUN = [
    "env=gym", "env.id=unit_toy:UnitToy-v0", "total_steps=120", "prefill_steps=60", "eval_every=0",
    "final_eval_episodes=2", "console=false", "device=cpu", "log_every=1000",
]  # fmt: skip
PLAN = ["planner=cem", "planner.horizon=5", "planner.population=20", "planner.iterations=2"]
FIT = ["agent.fit_every=30", "model.max_steps=40", "model.check_every=20", "model.hidden=[8]"]
SAC = ["hidden=[16]", "batch_size=16", "log_every=20", "updates_per_step=1", "normalize_obs=true"]
AGENT_SAC = [f"agent.sac.{key}" for key in SAC]
AGENTS = {
    "linear": ["agent=mpc", "model=linear", "agent.fit_every=30", *PLAN],
    "mlp": ["agent=mpc", "model=mlp", *PLAN, *FIT],
    "gaussian ensemble": ["agent=mpc", *PLAN, *FIT],
    "sac": ["agent=sac", *(f"agent.{key}" for key in SAC)],
    "mbpo": ["agent=mbpo", "agent.rollouts=50", *FIT, *AGENT_SAC],
    "terminal value": ["agent=mpc", "agent.terminal_value=true", *PLAN, *FIT, *AGENT_SAC],
}


@pytest.fixture
def toy_run(mbrl, tmp_path):
    """Return a function that runs the toy; it returns the rows of metrics.csv as {tag: values}."""
    (tmp_path / "unit_toy.py").write_text(TOY, encoding="utf-8")
    outputs = []

    def run(name, *words):
        done = mbrl("train", *RUN, *words, f"hydra.run.dir={name}")
        assert done.code == 0, done.err
        outputs.append(done.out + done.err)
        logged = {}
        with (tmp_path / name / "metrics.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if not row["tag"].startswith("time/"):
                    logged.setdefault(row["tag"], []).append(float(row["value"]))
        return logged

    run.output = lambda: outputs[-1]
    return run


@pytest.mark.parametrize("agent", AGENTS)
def test_runs_with_observations_in_other_units_are_the_same(toy_run, agent):
    usual = toy_run("usual", *AGENTS[agent])
    for number, unit in enumerate(UNITS):
        assert toy_run(f"unit_{number}", *AGENTS[agent], f"env.kwargs.unit={unit!r}") == usual


def test_planning_with_rewards_in_other_units_is_the_same(toy_run):
    words = AGENTS["mlp"]
    usual = toy_run("usual", *words)
    for number, coin in enumerate(UNITS):
        other = toy_run(f"coin_{number}", *words, f"env.kwargs.coin={coin!r}")
        for tag in ("eval/return", "train/return", "planner/optimism_gap"):
            assert other[tag] == [coin * value for value in usual[tag]], tag
        assert other["model/error_k1"] == usual["model/error_k1"]


def test_a_reward_scale_changes_what_is_learned_from_and_not_what_is_logged(toy_run):
    words = AGENTS["linear"]
    usual = toy_run("usual", *words)
    assert toy_run("scaled", *words, "env.reward_scale=0.0009765625") == usual  # 2 ** -10
    scaled = toy_run("sac", *AGENTS["sac"], "env.kwargs.coin=1024", "env.reward_scale=0.0009765625")
    plain = toy_run("plain", *AGENTS["sac"])
    assert scaled["agent/critic_loss"] == plain["agent/critic_loss"]
    assert scaled["eval/return"] == [1024 * value for value in plain["eval/return"]]


def dynamics(unit, coin):
    """Return dynamics of two entries; the second one is constant within an episode."""

    def step(obs, action, rng):
        x, goal = obs / unit
        x = x + 0.3 * action[0] + 0.01 * rng.normal()
        return [x * unit, goal * unit], -abs(x - goal) * coin, bool(x > 2.0)

    return step


def start(unit):
    return lambda rng: rng.uniform(-1, 1, 2).astype("float32") * unit


@pytest.mark.parametrize("model", ["linear", "mlp", "gaussian"])
def test_a_constant_change_has_the_unit_of_its_observation(
    model, fill, make_spec, make_ensemble, generator
):
    def error(unit):
        replay = fill(dynamics(unit, unit), 12, 20, start(unit))
        spec = make_spec(2)
        if model == "linear":
            fitted = Linear(spec, CPU, generator)
        else:
            head = "gaussian" if model == "gaussian" else "point"
            fitted = make_ensemble(spec, head=head)
        fitted.fit(replay, torch.Generator().manual_seed(0))
        batch = replay.batch(replay.split()[1])
        predicted = fitted.predict(batch.obs, batch.action).mean
        return ((predicted - batch.next_obs) / unit).abs().amax(0)

    for unit in UNITS:
        # In standard deviations of 0.6; measured up to 0.05. An error of 1 means a wrong unit.
        assert error(unit).tolist() == pytest.approx(error(1.0).tolist(), abs=0.1)


def test_mppi_weighs_plans_by_returns_in_any_unit(make_action):
    planner = MPPI(make_action(1), CPU, horizon=1, population=4)
    score = torch.tensor([[1.0, 2.0, float("-inf"), 4.0]])
    usual = planner._weights(score)
    for unit in (2.0**-60, 2.0**60):
        assert torch.equal(planner._weights(unit * score), usual)
    equal = planner._weights(torch.full((1, 4), 3.0))
    assert equal.tolist() == [[0.25] * 4]


@pytest.mark.parametrize("agent", ["sac", "mbpo"])
def test_an_unusual_unit_is_named_once_unless_observations_are_normalized(toy_run, agent):
    words = [w for w in AGENTS[agent] if "normalize_obs" not in w]
    key = "agent.normalize_obs" if agent == "sac" else "agent.sac.normalize_obs"
    notice = f"{key}=false: entry 1 of the observations has a standard deviation of"
    for name, unit, extra, count in (
        ("usual", 1.0, [], 0),
        ("small", 1e-3, [], 1),
        ("normalized", 1e-3, [f"{key}=true"], 0),
    ):
        toy_run(name, *words, f"env.kwargs.unit={unit}", *extra, "console=true")
        printed = toy_run.output()
        assert printed.count(notice) == count
        assert printed.count(f"type {key}=true") == count
