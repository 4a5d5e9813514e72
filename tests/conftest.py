"""Fixtures: small specs, filled replays, models, and runs of the command line."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gymnasium
import numpy as np
import pytest
import torch
from compared_runs import two_planners, write_run  # noqa: F401 (fixtures)
from faulty_parts import run_mistake  # noqa: F401 (a fixture)
from hydra.core.global_hydra import GlobalHydra
from mbpo_agent import make_recording_model  # noqa: F401 (fixture)
from run_folders import finished_random_run, killed_run  # noqa: F401 (fixtures)
from toy_env import register  # noqa: F401

from mbrl_cli.cli import main
from mbrl_cli.config.composition import compose_config
from mbrl_cli.config.resolvers import register_resolvers
from mbrl_cli.models.base import Model, Trajectories
from mbrl_cli.models.ensemble import Ensemble
from mbrl_cli.models.markov import Prediction
from mbrl_cli.models.rssm import RSSM
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import ActionSpec, EnvSpec, Step

CPU = torch.device("cpu")
EXAMPLES = str(Path(__file__).parent.parent / "examples")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # with small tensors more threads are slower


@pytest.fixture(autouse=True, scope="session")
def _absl_does_not_close_captured_stderr():
    """Let absl, which dm_control imports, log to the real stderr.

    Hydra's logging setup closes absl's handler, and that handler closes its stream. If dm_control
    is imported while pytest captures the output, the stream is pytest's.
    """
    import absl.logging  # a dependency of tensorboard

    absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.fixture(autouse=True)
def _state_folder(monkeypatch, tmp_path_factory):
    """Keep the key of the user's own runs out of the real home folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))


@pytest.fixture(autouse=True)
def _own_modules_are_forgotten(tmp_path_factory):
    """Forget what a test has imported from its own folder or from `examples/`.

    Another test may have a module of the same name. The environments that such a module has
    registered are registered again when it is imported again.
    """
    path = list(sys.path)
    yield
    sys.path[:] = path
    folders = (str(tmp_path_factory.getbasetemp()), EXAMPLES)
    own = {
        name
        for name, module in list(sys.modules.items())
        if str(getattr(module, "__file__", None)).startswith(folders)
    }
    for name in own:
        del sys.modules[name]
    for env_id, spec in list(gymnasium.registry.items()):
        if getattr(spec.entry_point, "__module__", None) in own:
            del gymnasium.registry[env_id]


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def make_action() -> Callable[..., ActionSpec]:
    """Return a builder. 3: three continuous entries; (4, 2): two components of 4 and 2 choices."""

    def make(actions):
        if isinstance(actions, int):
            return ActionSpec("continuous", actions)
        return ActionSpec("discrete", sum(actions), tuple(actions))

    return make


@pytest.fixture
def make_spec(make_action) -> Callable[..., EnvSpec]:
    """Return a builder of specs without an environment."""

    def make(obs_dim=1, actions=1, integer=False, **changes):
        is_integer = (integer,) * obs_dim if isinstance(integer, bool) else integer
        return EnvSpec("toy", obs_dim, is_integer, make_action(actions), None, **changes)

    return make


@pytest.fixture
def fill() -> Callable[..., ReplayBuffer]:
    """Return a builder of replays with episodes of uniformly drawn actions.

    `dynamics` maps (obs [O], action [A], rng) to (next_obs [O], reward, terminated); `start` maps
    rng to the first observation [O]. An episode is truncated after `length` steps.
    """

    def make(dynamics, num_episodes, length, start, action_dim=1, holdout_ratio=0.2, seed=0):
        rng = np.random.default_rng(seed)
        first = np.atleast_1d(start(rng))
        replay = ReplayBuffer(num_episodes * length, len(first), action_dim, holdout_ratio)
        for _ in range(num_episodes):
            obs = np.atleast_1d(start(rng)).astype(np.float32)
            for step in range(length):
                action = rng.uniform(-1, 1, action_dim).astype(np.float32)
                next_obs, reward, terminated = dynamics(obs, action, rng)
                next_obs = np.atleast_1d(next_obs).astype(np.float32)
                replay.add(obs, action, reward, next_obs, terminated, step == length - 1)
                obs = next_obs
                if terminated:
                    break
        return replay

    return make


class HandMadeModel(Model):
    """A model whose predictions are functions of the test.

    `transition` maps obs [M, P, O], action [M, A] to next_obs [M, P, O], reward, continues [M, P];
    `moments` maps obs [n, O], action [n, A] to mean and std [n, O]; `disagreement` maps obs
    [M, P, O] to the disagreement [M].
    """

    def __init__(self, spec, transition, moments=None, num_particles=1, disagreement=None):
        super().__init__(spec, CPU)
        self.transition, self.moments, self.disagreement = transition, moments, disagreement
        self.num_particles = num_particles
        self.has_disagreement = disagreement is not None
        self.is_fitted = True
        self.rows_stepped = []  # M of each call of `step`

    def initial(self, num_rows):
        return {"obs": torch.zeros(num_rows, self.spec.obs_dim)}

    def observe(self, state, action, obs, envs=None):
        return {"obs": obs}

    def step(self, state, action, generator, common_noise=False):
        self.rows_stepped.append(len(action))
        next_obs, reward, continues = self.transition(state["obs"], action)
        return Step({"obs": next_obs}, reward, continues)

    def unroll(self, state, actions, generator, with_disagreement=False):
        rewards, continues, disagreements = [], [], []
        for action in actions:
            step = self.step(state, action, generator)
            state = step.state
            rewards.append(step.reward)
            continues.append(step.continues)
            if with_disagreement:
                disagreements.append(self.disagreement(state["obs"]))
        return Trajectories(
            reward=torch.stack(rewards),
            continues=torch.stack(continues),
            disagreement=torch.stack(disagreements) if with_disagreement else None,
            last_state=state,
        )

    def decode(self, state):
        return state["obs"]

    def predict(self, obs, action):
        mean, std = self.moments(obs, action)
        return Prediction(mean, std, torch.zeros(len(obs)))


@pytest.fixture
def make_hand_made() -> type[HandMadeModel]:
    return HandMadeModel


@pytest.fixture
def make_ensemble() -> Callable[..., Ensemble]:
    """Return a builder of small ensembles with one deterministic member, as `model=mlp`.

    Arguments of `Ensemble` can be changed by name.
    """
    small = {
        "num_members": 1, "num_elites": 1, "num_particles": 1, "bootstrap": "none", "hidden": [16],
        "batch_size": 64, "max_steps": 300, "learning_rate": 1e-2, "weight_decay": 0.0,
        "accuracy_horizon": 1,
    }  # fmt: skip

    def make(spec, seed=0, **changes):
        return Ensemble(spec, CPU, torch.Generator().manual_seed(seed), **small | changes)

    return make


@pytest.fixture
def one_step() -> Callable[..., tuple[torch.Tensor, Step]]:
    """Return a function that imagines one step from obs [B, O], one plan each.

    It returns the next observations [B, P, O] and the step.
    """

    def imagine(model, obs, action, generator, **options):
        state = model.observe(model.initial(len(obs)), action, obs)
        step = model.step(model.branch(state, 1), action, generator, **options)
        return model.decode(step.state), step

    return imagine


@pytest.fixture
def make_rssm(make_spec) -> Callable[..., RSSM]:
    """Return a builder of RSSMs whose fits take a fraction of a second."""
    small = {"batch_size": 4, "sequence_length": 6, "fit_steps": 3, "free_nats": 1.0}

    def make(obs_dim=2, actions=1, seed=0, **changes):
        generator = torch.Generator().manual_seed(seed)
        settings = {**small, "accuracy_horizon": 1, **changes}
        return RSSM(make_spec(obs_dim, actions), CPU, generator, **settings)

    return make


@pytest.fixture
def counting_replay() -> Callable[..., ReplayBuffer]:
    """Return a builder of replays with episodes of given lengths.

    In step t of episode e the observation is 10 e + t, the action 0.1 (t + 1), the reward t + 1.
    """

    def make(lengths, terminated=True, holdout_ratio=0.0):
        replay = ReplayBuffer(100, 1, 1, holdout_ratio)
        for episode, length in enumerate(lengths):
            for t in range(length):
                obs, next_obs = np.array([10.0 * episode + t]), np.array([10.0 * episode + t + 1])
                last = t == length - 1
                action = np.array([0.1 * (t + 1)])
                replay.add(obs, action, t + 1, next_obs, last and terminated, last)
        return replay

    return make


@pytest.fixture
def compose_run() -> Callable[..., object]:
    """Return a function that composes the real config with overrides, as `mbrl train` does."""

    def composed(*overrides):
        register_resolvers()
        return compose_config(["console=false", "device=cpu", *overrides])

    return composed


class Done(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def mbrl(monkeypatch, capfd, tmp_path) -> Callable[..., Done]:
    """Return a function that runs `mbrl WORDS` in this process, in a temporary folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["mbrl", *words])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as exit:
            code = exit.code
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return run


# Overrides of a run that takes a second: prefill, fits, plans, evaluations and checkpoints.
TINY_RUN = [
    "agent=mpc", "planner=cem", "total_steps=60", "prefill_steps=20", "eval_every=25",
    "eval_episodes=1", "final_eval_episodes=1", "planner.horizon=3", "planner.population=12",
    "planner.iterations=1", "agent.fit_every=10", "model.max_steps=5", "model.hidden=[8]",
    "model.termination_steps=5", "env.max_episode_steps=10", "checkpoint_every=10",
    "console=false", "device=cpu",
]  # fmt: skip


@pytest.fixture
def tiny_run() -> list[str]:
    return TINY_RUN


@pytest.fixture
def raise_at_call(monkeypatch):
    """Return a function that makes the `at`-th call of a method from now on raise an error."""

    def arm(owner, method, at, error):
        calls, real = [], getattr(owner, method)

        def counting(self, *arguments):
            calls.append(1)
            if len(calls) == at:
                raise error
            return real(self, *arguments)

        monkeypatch.setattr(owner, method, counting)

    return arm
