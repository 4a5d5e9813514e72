"""The same task in other units gives the same result.

All units are powers of two, so results must be equal to the bit: every number of the computation
differs by its unit alone.
"""

import csv

import pytest
import torch

from mbrl_cli.checkpoint import load_checkpoint
from mbrl_cli.models.linear import Linear
from mbrl_cli.planners.mppi import MPPI

CPU = torch.device("cpu")
UNITS = [2.0**-27, 2.0**27]  # 7.5e-9 and 1.3e8
SMALL, LARGE = UNITS

TOY = '''
import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Toy(gym.Env):
    """A cart on a track of `unit` metres; the reward is paid in `coin`.

    Observations are position, velocity, a constant and the time.
    With `rich` a fifth of the episodes pay 100,000 times as much.
    """

    def __init__(self, unit=1.0, coin=1.0, buttons=0, rich=False):
        self.unit, self.coin, self.buttons, self.rich = unit, coin, buttons, rich
        self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)
        if buttons:
            self.action_space = spaces.Discrete(buttons)

    def look(self):
        look = np.array([self.x, self.v, 0.3, self.t / 20], np.float32)
        return look * np.float32(self.unit)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.x, self.v = 0, float(self.np_random.uniform(-1, 0)), 0.0
        self.pay = 1e5 if self.rich and self.np_random.uniform() < 0.2 else 1.0
        return self.look(), {}

    def step(self, action):
        push = action - 1 if self.buttons else action[0]
        self.v = 0.5 * self.v + 0.2 * float(push)
        self.x += self.v
        self.t += 1
        reward = float(np.float32(-abs(self.x - 1) * self.pay)) * self.coin
        return self.look(), reward, False, self.t >= 20, {}


gym.register("UnitToy-v0", "unit_toy:Toy")
'''
RUN = [
    "env=gym", "env.id=unit_toy:UnitToy-v0", "total_steps=120", "prefill_steps=60", "eval_every=0",
    "final_eval_episodes=2", "console=false", "device=cpu", "log_every=1000",
]  # fmt: skip
PLAN = ["planner=cem", "planner.horizon=5", "planner.population=20", "planner.iterations=2"]
FIT = ["agent.fit_every=30", "model.max_steps=40", "model.check_every=20", "model.hidden=[8]"]
SAC = ["hidden=[16]", "batch_size=16", "log_every=20", "updates_per_step=1"]
BUTTONS = ["env.kwargs.buttons=3"]
SEARCH = ["planner.num_simulations=5"]
POLICY_PLANS = [
    "agent.batch_size=8", "agent.pretrain_steps=5", "agent.log_every=20", "planner.population=16",
    "planner.iterations=2", "agent.proposals=2",
]  # fmt: skip
TREES = ["agent.batch_size=8", "agent.updates_per_step=0.5", "agent.log_every=20"]
SEQUENCES = ["model.batch_size=4", "model.sequence_length=10"]
DREAM = [
    "agent.pretrain_steps=5", "agent.log_every=20", "agent.actor_critic.rollouts=24",
    "agent.actor_critic.rollout_length=5",
]  # fmt: skip
AGENT_SAC = [f"agent.sac.{key}" for key in SAC]
AGENTS = {
    "linear": ["agent=mpc", "model=linear", "agent.fit_every=30", *PLAN],
    "mlp": ["agent=mpc", "model=mlp", *PLAN, *FIT],
    "gaussian ensemble": ["agent=mpc", *PLAN, *FIT],
    "sac": ["agent=sac", *(f"agent.{key}" for key in SAC)],
    "mbpo": ["agent=mbpo", "agent.rollouts=50", *FIT, *AGENT_SAC],
    "terminal value": ["agent=mpc", "agent.terminal_value=true", *PLAN, *FIT, *AGENT_SAC],
    "discrete sac": ["agent=sac", *BUTTONS, *(f"agent.{key}" for key in SAC)],
    "mbpo that plans": [
        "agent=mbpo",
        "agent.act=plan",
        "agent.rollouts=50",
        *PLAN,
        *FIT,
        *AGENT_SAC,
    ],
    "disagreement": ["agent=mpc", "agent.explore=disagreement", *PLAN, *FIT],
    "search": [
        "agent=mpc",
        *BUTTONS,
        "planner=mcts",
        *SEARCH,
        "agent.terminal_value=true",
        *FIT,
        *AGENT_SAC,
    ],
    "planet": ["agent=planet", *PLAN, "agent.fit_every=30", "model.fit_steps=3", *SEQUENCES],
    "dreamer": ["agent=dreamer", *DREAM, *SEQUENCES],
    "dreamer without recurrence": ["agent=dreamer", "model=latent", *DREAM, *SEQUENCES],
    "tdmpc2": ["agent=tdmpc2", *POLICY_PLANS],
    "muzero": ["agent=muzero", *BUTTONS, *SEARCH, *TREES],
    "alphazero": ["agent=alphazero", "model=mlp", *BUTTONS, *SEARCH, *TREES, *FIT],
}
# Logged values in units of the reward; all others have no unit.
REWARD_TAGS = {
    "train/return",
    "eval/return",
    "eval/return_std",
    "eval/return_min",
    "eval/return_max",
    "planner/optimism_gap",
    "planner/predicted_return",
    "agent/q_real",
    "agent/q_imagined",
    "agent/temperature",
    "agent/imagined_return",
    "agent/value",
    "agent/return_range",
    "agent/value_range",
}
REWARD_FAMILIES = ("model/reward_error_k", "model/reward_baseline_k")  # a number of steps follows


def rows(folder):
    """Return the rows of metrics.csv as {tag: values}, without times."""
    logged = {}
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if not row["tag"].startswith("time/"):
                logged.setdefault(row["tag"], []).append(float(row["value"]))
    return logged


@pytest.fixture
def toy_run(mbrl, tmp_path):
    """Return a function that runs the toy; it returns the rows of metrics.csv as {tag: values}."""
    (tmp_path / "unit_toy.py").write_text(TOY, encoding="utf-8")

    def run(name, *words):
        done = mbrl("train", *RUN, *words, f"hydra.run.dir={name}")
        assert done.code == 0, done.err
        return rows(tmp_path / name)

    return run


@pytest.mark.parametrize("agent", AGENTS)
def test_runs_in_other_units_are_the_same(toy_run, agent):
    usual = toy_run("usual", *AGENTS[agent])
    for unit, coin in ((SMALL, LARGE), (LARGE, SMALL)):
        units = [f"env.kwargs.unit={unit!r}", f"env.kwargs.coin={coin!r}"]
        other = toy_run(f"unit_{unit}", *AGENTS[agent], *units)
        assert other.keys() == usual.keys()
        for tag, values in usual.items():
            is_reward = tag in REWARD_TAGS or tag.startswith(REWARD_FAMILIES)
            factor = coin if is_reward else 1.0
            assert other[tag] == [factor * value for value in values], tag


@pytest.mark.parametrize("agent", ["sac", "dreamer", "muzero"])
def test_a_resumed_run_is_exact_where_the_scale_of_rewards_changes(toy_run, mbrl, tmp_path, agent):
    def scale(name):
        state = load_checkpoint(tmp_path / name / "checkpoint.safetensors")["agent"]
        state = state if agent == "sac" else state["model"]
        return float(state["reward_scale"]["scale"])

    words = [*AGENTS[agent], "env.kwargs.rich=true", "seed=20"]
    whole = toy_run("whole", *words, "total_steps=160")
    toy_run("part", *words, "total_steps=100")
    assert scale("whole") > 4.0 * scale("part")  # the first rich episode comes after step 100
    assert mbrl("resume", "part", "total_steps=160").code == 0
    assert rows(tmp_path / "part") == whole
    weights = [
        (tmp_path / name / "checkpoint.safetensors").read_bytes() for name in ("whole", "part")
    ]
    assert weights[0] == weights[1]


# Other factors than powers of two change the last digits, so training is compared at its start.
@pytest.mark.parametrize("agent", ["sac", "mbpo", "dreamer", "muzero"])
def test_training_in_decimal_units_starts_the_same(toy_run, agent):
    """The units of the field reports: observations x 1e-3, x 1e4, rewards x 1e6."""
    words = [*AGENTS[agent], "total_steps=85", "model.learning_rate=1e-4"]
    words = [word for word in words if agent != "sac" or not word.startswith("model")]
    usual = toy_run("usual", *words)
    for number, (unit, coin) in enumerate([(1e-3, 1e6), (1e4, 1e-8), (1e-8, 1e8)]):
        units = [f"env.kwargs.unit={unit}", f"env.kwargs.coin={coin}"]
        other = toy_run(f"units_{number}", *words, *units)
        for tag in ("agent/critic_loss", "agent/value_loss", "agent/entropy", "model/obs_loss"):
            if tag in usual:
                assert other[tag] == pytest.approx(usual[tag], rel=1e-2), tag


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
def test_a_constant_change_is_predicted_in_every_unit(
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

    usual = error(1.0)
    assert usual[1] == 0.0  # what was constant in the data is predicted as constant
    for unit in UNITS:
        assert torch.equal(error(unit), usual)


def test_mppi_weighs_plans_by_returns_in_any_unit(make_action):
    planner = MPPI(make_action(1), CPU, horizon=1, population=4)
    score = torch.tensor([[1.0, 2.0, float("-inf"), 4.0]])
    usual = planner._weights(score)
    for unit in (2.0**-60, 2.0**60):
        assert torch.equal(planner._weights(unit * score), usual)
    equal = planner._weights(torch.full((1, 4), 3.0))
    assert equal.tolist() == [[0.25] * 4]
