"""The contract between environments and runs: values, random numbers, exits, ends, copies."""

import contextlib
import copy
import os
import random
import re
import signal
import sys
import time
import types

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils import EzPickle

from mbrl_cli.agents.random import Random
from mbrl_cli.envs.checked_values import flag, flatten_obs, scalar_reward
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.env_copies import AttributeCopies, DeepCopies, choose_copies
from mbrl_cli.envs.interface_check import with_interface_check
from mbrl_cli.envs.make import make_env
from mbrl_cli.envs.time_limit import time_limit
from mbrl_cli.errors import EnvironmentFault, StopRequested, UserError
from mbrl_cli.evaluation import evaluate
from mbrl_cli.evaluation_envs import EvaluationEnvs
from mbrl_cli.signals import raise_if_stop_requested, stop_on_signals


class Toy(gymnasium.Env):
    """A counter on a line; `step_value` changes what a step returns."""

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


# --- values -----------------------------------------------------------------------------------

CHANGED_BY_A_CAST = {
    "fraction in an integer space": (spaces.Box(-10, 10, (2,), np.int64), [0.0, -0.25]),
    "negative number as uint8": (spaces.Box(0, 255, (1,), np.uint8), np.array([-1])),
    "300 as uint8": (spaces.Box(0, 255, (1,), np.uint8), np.array([300])),
    "beyond float32": (spaces.Box(-np.inf, np.inf, (1,), np.float64), np.array([1e300])),
    "beyond float16": (spaces.Box(-np.inf, np.inf, (1,), np.float16), np.array([1e6])),
    "text": (spaces.Box(0, 1, (1,)), np.array(["0.5"])),
    "complex": (spaces.Box(0, 1, (1,)), np.array([0.5 + 1j])),
    "outside of Discrete": (spaces.Discrete(3), -1),
    "fraction in Discrete": (spaces.Discrete(3), 1.5),
    "outside of MultiDiscrete": (spaces.MultiDiscrete([2, 3]), np.array([2, 0])),
    "2 in MultiBinary": (spaces.MultiBinary(2), np.array([2, 0])),
    "transposed": (spaces.Box(0, 1, (2, 3)), np.zeros((3, 2))),
    "missing key": (spaces.Dict(a=spaces.Discrete(2)), {"b": 1}),
    "short tuple": (spaces.Tuple([spaces.Discrete(2)] * 2), (1,)),
}


@pytest.mark.parametrize("name", CHANGED_BY_A_CAST)
def test_an_observation_that_a_cast_would_change_is_refused(name):
    space, obs = CHANGED_BY_A_CAST[name]
    with pytest.raises(ValueError, match="an observation"):
        flatten_obs(space, obs)


@pytest.mark.parametrize(
    ("space", "obs", "expected"),
    [
        (spaces.Box(0, 9, (2,), np.int64), [1.0, 2.0], [1.0, 2.0]),
        (spaces.Box(0, 1, (2,)), torch.tensor([0.25, 0.5], requires_grad=True), [0.25, 0.5]),
        (spaces.Box(0, 1, (2,)), np.array([[0.25], [0.5]]), [0.25, 0.5]),  # another axis of 1
        (spaces.Box(0, 1, (1,)), np.array([0.5], dtype=object), [0.5]),
        (spaces.Box(0, 1, (1,), np.float16), np.array([0.1], np.float32), [np.float16(0.1)]),
        (spaces.Discrete(3, start=1), np.array([2]), [0.0, 1.0, 0.0]),
    ],
)
def test_values_that_a_cast_keeps_are_accepted(space, obs, expected):
    assert flatten_obs(space, obs).tolist() == [float(x) for x in expected]


@pytest.mark.parametrize(
    "reward", [2, 2.0, np.float32(2), np.array([2.0]), np.array(2), torch.tensor([2.0]), [2.0][0]]
)
def test_a_reward_with_one_entry_is_a_number(reward):
    assert scalar_reward(reward) == 2.0
    assert type(scalar_reward(reward)) is float


REWARDS = {
    "has 2 entries .* env.wrappers=": np.array([1.0, 2.0]),
    "is None": None,
    "is '1.0'": "1.0",
    "is nan": float("nan"),
    "beyond float32": 1e39,
}


@pytest.mark.parametrize("text", REWARDS)
def test_a_reward_that_is_no_float32_number_is_refused(text):
    with pytest.raises(ValueError, match=f"the reward.* ?{text}"):
        scalar_reward(REWARDS[text])


def test_the_end_of_an_episode_must_be_a_bool():
    assert [flag("terminated", x) for x in (True, np.False_, 1, np.array([0]))] == [
        True, False, True, False,
    ]  # fmt: skip
    for wrong in (None, {}, 0.5, "False", np.array([True, False])):
        with pytest.raises(ValueError, match="truncated is"):
            flag("truncated", wrong)


@pytest.mark.parametrize(
    "space", [spaces.Discrete(3), spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2)]
)
def test_actions_have_the_type_that_sample_returns(space):
    env = Env(Toy(space))
    env.reset(0)
    env.step(np.eye(env.spec.action.dim, dtype=np.float32)[0])
    assert type(env.gym.action) is type(space.sample())
    assert env.gym.action.dtype == space.sample().dtype


class OldStep(Toy):
    def step(self, action):
        return self._obs(), 1.0, False, {}


class OldReset(Toy):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class OldArguments(Toy):
    def reset(self):
        return super().reset()


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("old", [OldStep, OldReset, OldArguments])
def test_the_interface_of_old_gym_is_named(register, old, limit):
    env = make_env(register(old), max_episode_steps=limit)

    def play():
        env.reset(0)
        env.step(np.array([1.0, 0.0], np.float32))

    with pytest.raises(EnvironmentFault, match=r"the interface of Gym before 0\.26") as fault:
        play()
    assert "\n" not in str(fault.value)


def test_the_interface_check_is_below_the_wrappers_of_make():
    wrapped = with_interface_check(gymnasium.wrappers.TimeLimit(Toy(), 3))
    assert isinstance(wrapped, gymnasium.wrappers.TimeLimit)
    assert type(wrapped.env).__name__ == "InterfaceCheck"


# --- random numbers ---------------------------------------------------------------------------


class GlobalRandom(Toy):
    """Draws from the process's generators."""

    def _obs(self):
        draws = random.random() + np.random.random() + float(torch.rand(()))  # noqa: NPY002
        return np.array([draws], np.float32)


def test_a_reset_seeds_the_global_generators():
    env = Env(GlobalRandom())
    action = np.array([1.0, 0.0], np.float32)
    first = [env.reset(5).item(), env.step(action)[0].item()]
    assert [env.reset(5).item(), env.step(action)[0].item()] == first
    assert env.reset(6).item() != first[0]


def test_an_evaluation_restores_the_global_generators():
    env = Env(GlobalRandom(length=3))
    action = np.array([1.0, 0.0], np.float32)
    env.reset(5)
    undisturbed = env.step(action)[0].item()
    env.reset(5)
    evaluate(Random(env.spec), [Env(GlobalRandom(length=3))], seed=0)
    assert env.step(action)[0].item() == undisturbed


# --- exits and signals ------------------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit(7), GeneratorExit(), MemoryError()])
def test_an_environment_that_exits_is_a_fault(error):
    class Exits(Toy):
        def step(self, action):
            raise error

    with pytest.raises(EnvironmentFault, match=f"step failed .*{type(error).__name__}"):
        Env(Exits()).step(np.array([1.0, 0.0], np.float32))


def test_close_that_raises_or_exits_does_not_end_the_program():
    class Exits(Toy):
        def close(self):
            sys.exit(0)

    reason = Env(Exits()).close()
    assert reason is not None
    assert reason.endswith("close failed (SystemExit: the environment called sys.exit(0))")


def test_close_that_fails_in_several_instances_prints_one_line(capsys):
    class Fails(Toy):
        def close(self):
            raise RuntimeError("no socket")

    envs = EvaluationEnvs(lambda: Env(Fails()), Env(Fails()), None)
    envs.take(3)
    envs.close()
    says = "mbrl: env.id=Fails: close failed (RuntimeError: no socket), in 4 of 4 instances\n"
    assert capsys.readouterr().err == says


def test_a_keyboard_interrupt_that_no_signal_caused_is_a_fault_of_the_environment():
    class Interrupts(Toy):
        def step(self, action):
            raise KeyboardInterrupt

    with stop_on_signals(), pytest.raises(EnvironmentFault, match="no signal arrived"):
        Env(Interrupts()).step(np.array([1.0, 0.0], np.float32))
    with pytest.raises(KeyboardInterrupt):  # Python's own handler: it may have been Ctrl-C
        Env(Interrupts()).step(np.array([1.0, 0.0], np.float32))


def test_a_swallowed_stop_signal_is_raised_when_the_call_ends():
    def swallow():
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)

    def run():
        with stop_on_signals(), time_limit(None):
            swallow()

    with pytest.raises(StopRequested):
        run()

    def run_outside():
        with stop_on_signals():
            swallow()
            raise_if_stop_requested()

    with pytest.raises(StopRequested):
        run_outside()
    raise_if_stop_requested()  # the request ends with the block


def test_a_swallowed_time_out_is_raised_again(monkeypatch):
    monkeypatch.setattr("mbrl_cli.envs.time_limit.RETRY_SECONDS", 0.05)

    class Hangs(Toy):
        def step(self, action):
            while True:
                with contextlib.suppress(Exception):
                    time.sleep(1)

    env = Env(Hangs())
    env.timeout = 0.05
    with pytest.raises(EnvironmentFault, match=r"TimeoutError: did not return within env_timeout"):
        env.step(np.array([1.0, 0.0], np.float32))


# --- ends of episodes -------------------------------------------------------------------------


def test_an_episode_without_a_time_limit_is_cut_and_the_notice_names_the_key():
    env = Env(Toy())
    env.reset(0)
    ends = [env.step(np.array([1.0, 0.0], np.float32))[2:] for _ in range(1000)]
    assert ends[-2:] == [(False, False), (False, True)]
    assert "cut after 1,000 steps; to change this: env.max_episode_steps=N" in env.notices()[0]


def test_an_environment_that_truncates_itself_is_not_cut():
    toy = Toy(length=1200)
    toy.max_steps = 1200
    env = Env(toy)
    env.reset(0)
    ends = [env.step(np.array([1.0, 0.0], np.float32))[3] for _ in range(1200)]
    assert ends.index(True) == 1199
    assert env.notices() == []


# --- evaluation environments ------------------------------------------------------------------


def test_evaluation_uses_the_training_environment_if_there_can_be_no_other(capsys):
    def fails():
        raise EnvironmentFault("env.id=Toy: the port is in use")

    training = Env(Toy(length=3))
    envs = EvaluationEnvs(fails, training, None)
    assert envs.uses_training_env()
    assert envs.take(4) == [training]
    assert "the port is in use" in capsys.readouterr().err
    result = evaluate(Random(training.spec), envs.take(4), seed=0, episodes=4)
    assert result.lengths.tolist() == [3, 3, 3, 3]


def test_a_limit_of_evaluation_environments_is_kept():
    training = Env(Toy(length=3))
    envs = EvaluationEnvs(lambda: Env(Toy(length=3)), training, 2)
    assert len(envs.take(5)) == 2
    assert not envs.uses_training_env()
    everything = EvaluationEnvs(lambda: Env(Toy(length=3)), training, None)
    assert len(everything.take(5)) == 5


# --- copies -----------------------------------------------------------------------------------


class Pickled(Toy, EzPickle):
    """Its `deepcopy` is a new environment."""

    def __init__(self):
        Toy.__init__(self)
        EzPickle.__init__(self)


WORLDS = {}


class Shared(Toy):
    """Its state is in a table that copies share."""

    def __init__(self):
        super().__init__()
        WORLDS[id(self)] = 0
        self.handle = id(self)

    def reset(self, *, seed=None, options=None):
        WORLDS[self.handle] = 0
        return super().reset(seed=seed)

    def step(self, action):
        WORLDS[self.handle] += 1 + int(action)
        return super().step(action)

    def _obs(self):
        return np.array([WORLDS[self.handle]], np.float32)


class Nested(Toy):
    """Draws from a generator of a part of its own."""

    def reset(self, *, seed=None, options=None):
        self.part = types.SimpleNamespace(rng=np.random.default_rng(seed))
        return super().reset(seed=seed)

    def step(self, action):
        result = super().step(action)
        return np.array([self.part.rng.random()], np.float32), *result[1:]


def test_copies_of_an_ezpickle_environment_keep_its_state():
    assert type(choose_copies(Env(Toy()))) is DeepCopies
    env = Env(Pickled())
    copies = choose_copies(env)
    assert type(copies) is AttributeCopies
    action = np.array([1.0, 0.0], np.float32)
    env.reset(0)
    env.step(action)
    outcome, state = copies.step(copies.take(env), action, seed=0)
    assert outcome[0].tolist() == [2.0]
    assert copies.step(state, action, seed=0)[0][0].tolist() == [3.0]
    assert env.step(action)[0].tolist() == [2.0]


def test_copies_that_share_a_simulator_are_refused():
    with pytest.raises(UserError, match="model=oracle: Shared shares its simulator"):
        choose_copies(Env(Shared()))


def test_a_copy_does_not_know_the_outcomes_of_a_nested_generator():
    env = Env(Nested())
    copies = choose_copies(env)
    action = np.array([1.0, 0.0], np.float32)
    env.reset(0)
    state = copies.take(env)
    imagined = [copies.step(state, action, seed)[0][0].item() for seed in (1, 1, 2)]
    assert imagined[0] == imagined[1] != imagined[2]
    assert env.step(action)[0].item() not in imagined


@pytest.mark.parametrize("id", ["Reacher-v5", "Hopper-v5"])
def test_copies_of_mujoco_environments_step_as_the_original(id):
    pytest.importorskip("mujoco")
    env = make_env(id)
    copies = choose_copies(env)
    assert type(copies).__name__ == "MujocoCopies"
    action = np.full(env.spec.action.dim, 0.3, np.float32)
    env.reset(1)
    env.step(action)
    state = copies.take(env)
    first, after = copies.step(state, action, seed=0)
    second, _ = copies.step(after, -action, seed=0)
    for imagined, real in ((first, env.step(action)), (second, env.step(-action))):
        assert np.array_equal(imagined[0], real[0])
        assert imagined[1:] == real[1:]


# --- construction -----------------------------------------------------------------------------


def test_wrappers_with_arguments_are_applied_in_order():
    env = make_env(
        "CartPole-v1",
        wrappers=[
            "gymnasium.wrappers.FlattenObservation",
            {"_target_": "gymnasium.wrappers.TimeLimit", "max_episode_steps": 7},
        ],
    )
    assert env.spec.max_episode_steps == 7
    assert env.spec.simulator is None  # an unknown wrapper may change the dynamics


WRONG_WRAPPERS = {
    "env.wrappers=7: must be a list": 7,
    "env.wrappers[0]=7: allowed are package.Wrapper": [7],
    "env.wrappers[0]=no_such_package.W: cannot import no_such_package": ["no_such_package.W"],
    "has no wrapper FlattenObservatio; did you mean FlattenObservation": [
        "gymnasium.wrappers.FlattenObservatio"
    ],
    "env.wrappers[0]=gymnasium.wrappers.TimeLimit: failed with {} (TypeError": [
        "gymnasium.wrappers.TimeLimit"
    ],
    "env.wrappers[0]=math.sin: failed with {}": ["math.sin"],
    "env.wrappers[0]=builtins.type: returned type; it must return a gymnasium.Env": [
        "builtins.type"
    ],
}


@pytest.mark.parametrize("text", WRONG_WRAPPERS)
def test_a_wrong_wrapper_is_refused_in_one_line(text):
    with pytest.raises(UserError, match=re.escape(text)) as caught:
        make_env("CartPole-v1", wrappers=WRONG_WRAPPERS[text])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "statement", ["raise RuntimeError('no display')", "import sys; sys.exit(0)"]
)
def test_an_import_that_raises_anything_is_one_line(tmp_path, monkeypatch, statement):
    (tmp_path / "raising_package.py").write_text(statement, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"env\.id=raising_package:X-v0: cannot import"):
        make_env("raising_package:X-v0")


def test_vector_rewards_are_refused_before_the_first_step(register):
    class Objectives(Toy):
        reward_space = spaces.Box(-1, 1, (2,))

    with pytest.raises(UserError, match=r"rewards are vectors \[2\]; .*LinearReward"):
        make_env(register(Objectives))


def test_an_unknown_version_suggests_the_newest_and_a_package_is_not_asked_for_twice():
    with pytest.raises(UserError, match=r"did you mean CartPole-v1\?"):
        make_env("CartPole-v7")
    with pytest.raises(
        UserError, match=r"unknown environment; math does not register it"
    ) as caught:
        make_env("math:Qqqqqqqq-v0")
    assert "package:Name" not in str(caught.value)


def test_nan_in_the_arguments_is_refused():
    with pytest.raises(UserError, match=r"env\.kwargs\.gravity\[0\]=nan: must be a number"):
        make_env("CartPole-v1", kwargs={"gravity": [float("nan")]})


def test_pixels_without_a_display_choose_egl(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    make_env("mbrl/GridWorld-v0", obs="pixels")
    assert sys.platform != "linux" or os.environ["MUJOCO_GL"] == "egl"


def test_notices_name_action_masks_unbounded_actions_and_sparse_goals():
    taxi = make_env("Taxi-v4")
    taxi.reset(0)
    assert "returns action masks in info; they are ignored" in taxi.notices()[0]
    unbounded = Env(Toy(spaces.Box(-np.inf, np.inf, (2,))))
    assert "2 of 2 action entries lack a bound" in unbounded.notices()[0]
    goal = Toy()
    part = spaces.Box(-1, 1, (1,))
    goal.observation_space = spaces.Dict(observation=part, achieved_goal=part, desired_goal=part)
    assert "goal environment with sparse rewards" in Env(goal).notices()[0]
    assert copy.deepcopy(taxi).notices() == taxi.notices()


# --- whole runs -------------------------------------------------------------------------------


def test_a_run_with_one_instance_evaluates_between_episodes(mbrl, tiny_run, tmp_path):
    words = ["train", "env=pendulum", *tiny_run, "eval_envs=0", "hydra.run.dir=run"]
    assert mbrl(*words).code == 0
    rows = (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8").splitlines()
    # due at 25 and 50; episodes of 10 steps end at 30 and 50
    evaluated = [row.split(",")[0] for row in rows if ",eval/return," in row]
    assert evaluated == ["30", "50", "60"]


def test_the_prefill_leaves_steps_to_learn(mbrl, tiny_run, tmp_path):
    words = ["train", "env=pendulum", *tiny_run, "env.max_episode_steps=200", "hydra.run.dir=run"]
    assert mbrl(*words).code == 0
    rows = (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert "46,train/length,46.0" in rows  # 20 + 2/3 of 40
    assert any(",model/" in row for row in rows)


def test_wrappers_of_a_foreign_run_need_trust(mbrl, tmp_path, monkeypatch):
    words = [
        "env=cartpole", "agent=random", "total_steps=20", "prefill_steps=10", "eval_every=0",
        "final_eval_episodes=1", "console=false", "env.termination=learned",
        "env.wrappers=[gymnasium.wrappers.FlattenObservation]", "hydra.run.dir=run",
    ]  # fmt: skip
    assert mbrl("train", *words).code == 0
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of another user"))
    done = mbrl("eval", "run")
    assert done.code == 2
    assert "env.wrappers=['gymnasium.wrappers.FlattenObservation'] imports other code" in done.err
    assert mbrl("eval", "run", "--trust").code == 0
