"""Environments drawn by hypothesis: spaces, dtypes, ends, rewards and invalid values.

What a valid environment returns is what the replay holds and the log reports. An invalid value ends
the run with one line, or is stored unchanged. The file has more than 300 lines because both parts
draw from the same strategies.
"""

import csv
import shutil
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mbrl_cli.checkpoint_store import load_newest_replay
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import StopRequested
from mbrl_cli.seeding import child_seed

RUN = [
    "env=gym", "env.id=Drawn-v0", "total_steps=30", "prefill_steps=12", "eval_every=15",
    "eval_episodes=1", "final_eval_episodes=1", "checkpoint_every=1", "env.max_episode_steps=8",
    "device=cpu", "console=false", "hydra.run.dir=run",
]  # fmt: skip
AGENTS = [
    ["agent=random"],
    ["agent=sac", "agent.hidden=[4]", "agent.batch_size=4", "agent.updates_per_step=0.5"],
    [
        "agent=mpc", "model=linear", "planner=random_shooting", "planner.horizon=2",
        "planner.population=4", "agent.fit_every=10",
    ],
]  # fmt: skip
COMMON = {
    "deadline": None, "derandomize": True, "database": None,
    "phases": [Phase.explicit, Phase.generate],  # without shrinking, which takes minutes
    "suppress_health_check": list(HealthCheck),
}  # fmt: skip
SMALL, LARGE = settings(max_examples=6, **COMMON), settings(max_examples=300, **COMMON)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

# --- what is drawn ----------------------------------------------------------------------------

SHAPES = st.sampled_from([(), (1,), (3,), (2, 2), (1, 3)])
FLOATS = st.sampled_from([np.float16, np.float32, np.float64])
INTEGERS = st.sampled_from([np.int8, np.uint8, np.int16, np.int32, np.int64])


@st.composite
def float_boxes(draw):
    low = draw(st.sampled_from([-np.inf, -100.0, -1.0, 0.0, 2.0]))
    high = draw(st.sampled_from([np.inf, 3.0, 1000.0]))
    return spaces.Box(low, high, draw(SHAPES), draw(FLOATS))


@st.composite
def integer_boxes(draw):
    low = draw(st.integers(0, 5))
    return spaces.Box(low, low + draw(st.integers(1, 100)), draw(SHAPES), draw(INTEGERS))


DISCRETE = st.builds(spaces.Discrete, st.integers(2, 5), start=st.integers(-3, 3))
MULTI_DISCRETE = st.builds(
    spaces.MultiDiscrete, st.lists(st.integers(2, 4), min_size=1, max_size=3)
)
MULTI_BINARY = st.builds(spaces.MultiBinary, st.sampled_from([1, 3, (2, 2)]))
SEVERAL_ACTIONS = (spaces.MultiDiscrete, spaces.MultiBinary)
ACTION_SPACES = st.one_of(float_boxes(), integer_boxes(), DISCRETE, MULTI_DISCRETE, MULTI_BINARY)
OBSERVATION_SPACES = st.recursive(
    ACTION_SPACES,
    lambda parts: (
        st.builds(spaces.Tuple, st.lists(parts, min_size=1, max_size=3))
        | st.builds(
            spaces.Dict, st.dictionaries(st.text(max_size=3), parts, min_size=1, max_size=3)
        )
    ),
    max_leaves=4,
)


def filled(shape, kind, value):
    with np.errstate(all="ignore"):
        return np.full(shape, value, object).astype(kind)


REWARD_FORMS = {
    "float": float,
    "int": round,
    "float32": np.float32,
    "float64": np.float64,
    "array": lambda reward: np.array([reward]),
    "no axes": np.array,
    "tensor": torch.tensor,
    "bool": bool,
}
FLAG_FORMS = {"bool": bool, "numpy": np.bool_, "int": int, "array": lambda flag: np.array([flag])}
INVALID = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.floats(),
    st.integers(),
    st.complex_numbers(),
    st.binary(max_size=4),
    st.lists(st.floats() | st.none() | st.text(max_size=2), max_size=4),
    st.dictionaries(st.text(max_size=2), st.floats(), max_size=2),
    st.builds(
        filled,
        st.sampled_from([(), (0,), (2,), (3, 1), (4,)]),
        st.sampled_from([np.float32, np.float64, np.int64, np.complex64, object, "U3"]),
        st.sampled_from([0, 1, 0.1, 1e39, -7, 70000]),
    ),
)


class Drawn(gymnasium.Env):
    """Observations are samples of the space.

    `episodes` maps the seed of a reset to [observations, rewards, terminated]. From step 5 of an
    instance on, `invalid` has priority: "obs", "reward" or "terminated" -> value.
    """

    observation_space = spaces.Discrete(2)
    action_space = spaces.Discrete(2)
    lengths, terminates = (3,), 0.5
    reward_form, flag_form, scale = "float", "bool", 1.0
    invalid: ClassVar = {}
    episodes: ClassVar = {}
    wrong_actions: ClassVar = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.left = int(self.np_random.choice(self.lengths))
        self.ends = bool(self.np_random.random() < self.terminates)
        obs = self.observation_space.sample()
        self.rows = self.episodes[seed] = [[obs], [], False]
        self.steps = getattr(self, "steps", 0)
        return obs, {}

    def step(self, action):
        if not self.action_space.contains(action):
            self.wrong_actions.append(action)
        self.left -= 1
        self.steps += 1
        obs = self.observation_space.sample()
        reward = REWARD_FORMS[self.reward_form](self.scale * self.np_random.normal())
        terminated = FLAG_FORMS[self.flag_form](self.left <= 0 and self.ends)
        truncated = FLAG_FORMS[self.flag_form](self.left <= 0 and not self.ends)
        if self.steps >= 5:
            obs = self.invalid.get("obs", obs)
            reward = self.invalid.get("reward", reward)
            terminated = self.invalid.get("terminated", terminated)
        self.rows[0].append(obs)
        self.rows[1].append(reward)
        self.rows[2] = terminated
        return obs, reward, terminated, truncated, {}


@pytest.fixture
def run_drawn(mbrl, tmp_path, monkeypatch):
    """Return a function that trains on an environment with these attributes."""

    def run(agent, command="train", **attributes):
        drawn = type("Now", (Drawn,), attributes | {"episodes": {}, "wrong_actions": []})
        spec = gymnasium.envs.registration.EnvSpec("Drawn-v0", entry_point=drawn)
        monkeypatch.setitem(gymnasium.registry, "Drawn-v0", spec)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return drawn, mbrl("train", *RUN, *agent)

    return run


def rows(path):
    with open(path / "metrics.csv", newline="") as file:
        return [(int(step), tag, float(value)) for step, tag, value in list(csv.reader(file))[1:]]


def training_episodes(drawn):
    """Yield what the environment returned in each training episode, in order."""
    number = 0
    while (seed := child_seed(0, "episode", number)) in drawn.episodes:
        yield drawn.episodes[seed]
        number += 1


# --- valid environments -----------------------------------------------------------------------

VALID = st.fixed_dictionaries(
    {
        "agent": st.sampled_from(AGENTS),
        "observation_space": OBSERVATION_SPACES,
        "action_space": ACTION_SPACES,
        "lengths": st.lists(st.integers(1, 12), min_size=1, max_size=3),
        "terminates": st.sampled_from([0.0, 0.5, 1.0]),
        "reward_form": st.sampled_from([*REWARD_FORMS]),
        "flag_form": st.sampled_from([*FLAG_FORMS]),
        "scale": st.sampled_from([0.0, 1e-8, 1.0, 1e8]),
    }
).filter(
    # SAC refuses several discrete actions.
    lambda drawn: (
        "agent=sac" not in drawn["agent"] or not isinstance(drawn["action_space"], SEVERAL_ACTIONS)
    )
)


def check_valid(run_drawn, tmp_path, agent, **attributes):
    drawn, done = run_drawn(agent, **attributes)
    assert done.code == 0, done.err
    assert drawn.wrong_actions == []
    stored, count = load_newest_replay(tmp_path / "run")
    played = list(training_episodes(drawn))
    assert len(played) >= count > 0
    space = attributes["observation_space"]
    for number, (observations, rewards, terminated) in enumerate(played[:count]):
        mine = stored["episode"] == number
        flat = np.stack([spaces.flatten(space, obs) for obs in observations]).astype(np.float32)
        np.testing.assert_array_equal(stored["obs"][mine], flat[:-1])
        np.testing.assert_array_equal(stored["next_obs"][mine], flat[1:])
        exact = [float(np.asarray(reward).item()) for reward in rewards]
        np.testing.assert_array_equal(stored["reward"][mine], np.float32(exact))
        assert stored["terminated"][mine].tolist()[-1] == bool(terminated)
    logged = rows(tmp_path / "run")
    returns = [value for _, tag, value in logged if tag == "train/return"]
    lengths = [value for _, tag, value in logged if tag == "train/length"]
    ended = played[: len(returns)]
    assert lengths == [len(rewards) for _, rewards, _ in ended]
    exact = [sum(float(np.asarray(r).item()) for r in rewards) for _, rewards, _ in ended]
    assert returns == pytest.approx(exact, rel=1e-12, abs=0.0)
    return [row for row in logged if not row[1].startswith("time/")]


@SMALL
@given(VALID)
def test_the_replay_and_the_log_hold_what_a_valid_environment_returned(run_drawn, tmp_path, drawn):
    check_valid(run_drawn, tmp_path, **drawn)


@pytest.mark.slow
@LARGE
@given(VALID, st.integers(1, 50))
def test_300_valid_environments_run_and_resume(run_drawn, mbrl, tmp_path, drawn, at):
    """A run that is stopped at a random step of the environment and resumed gives the same log."""
    expected = check_valid(run_drawn, tmp_path, **drawn)
    calls, real = [], Env.step

    def step(self, action):
        calls.append(1)
        if len(calls) == at:
            raise StopRequested(15)
        return real(self, action)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Env, "step", step)
        _, done = run_drawn(**drawn)
    if done.code == 0:  # the run has fewer steps
        return
    assert done.code == 128 + 15, done.err
    if not (tmp_path / "run" / "config.yaml").exists():  # stopped in the checks before the run
        return
    done = mbrl("resume", "run")
    assert done.code == 0, done.err
    now = [row for row in rows(tmp_path / "run") if not row[1].startswith("time/")]
    assert repr(now) == repr(expected)  # as text, because NaN differs from NaN


# --- invalid values ---------------------------------------------------------------------------


def numbers(value):
    """Return the entries of a value that is a number or an array of numbers, else None."""
    try:
        entries = np.asarray(value)
    except ValueError:
        return None
    if entries.dtype.kind not in "biufc" or entries.size == 0:
        return None
    return entries.reshape(-1).astype(np.complex128)


def check_invalid(run_drawn, tmp_path, name, value, agent):
    space = spaces.Box(-10.0, 10.0, (3,), np.float32)
    _, done = run_drawn(agent, observation_space=space, invalid={name: value}, lengths=(8,))
    assert done.code in (0, 3), (done, value)
    assert "Traceback" not in done.out + done.err
    assert done.err.count("\n") <= 3, done.err
    if done.code == 3:
        assert "Drawn-v0" in done.err
        return
    # The run accepted the value, so it must be the number that the replay holds.
    returned = numbers(value)
    assert returned is not None, value
    stored, _ = load_newest_replay(tmp_path / "run")
    if name == "obs":
        np.testing.assert_allclose(stored["next_obs"][5], returned, rtol=1e-6)
    elif name == "reward":
        np.testing.assert_allclose(stored["reward"][5], returned[0], rtol=1e-6, atol=1e-37)
    else:
        assert stored["terminated"][5] == bool(returned[0])
        assert returned[0] in (0, 1)


BROKEN = st.tuples(st.sampled_from(["obs", "reward", "terminated"]), INVALID)


@SMALL
@given(BROKEN)
def test_an_invalid_value_is_refused_in_one_line_or_stored_unchanged(run_drawn, tmp_path, broken):
    check_invalid(run_drawn, tmp_path, *broken, agent=AGENTS[0])


@pytest.mark.slow
@LARGE
@given(BROKEN, st.sampled_from(AGENTS))
def test_300_invalid_values(run_drawn, tmp_path, broken, agent):
    check_invalid(run_drawn, tmp_path, *broken, agent=agent)
