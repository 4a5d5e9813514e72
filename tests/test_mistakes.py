"""Every kind of bad input gives one line of text and the documented exit code, and deletes nothing.

`docs/mistakes.md` lists the messages; `MBRL_WRITE=1 pytest tests/test_mistakes.py` writes it.
"""

import errno
import logging
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from conftest import TINY_RUN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mbrl_cli.checkpoint import FORMAT, load_checkpoint, save_checkpoint
from mbrl_cli.config.composition import compose_choice
from mbrl_cli.config.groups import GROUPS, choices, config_dir
from mbrl_cli.errors import disk_fault

TABLE = Path(__file__).parent.parent / "docs" / "mistakes.md"
SAVED_FORMAT, OTHER_FORMAT = (rf"\"format\": {number}".encode() for number in (FORMAT, 9))
EXECUTED = []  # names of code that was executed although it must not be


class Faulty(gymnasium.Env):
    """Environment with one fault, in its 25th step or in the method that `fault` names."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, fault="none"):
        self.fault, self.steps = fault, 0
        if fault == "constructor":
            raise RuntimeError("no licence")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.fault == "reset":
            raise ZeroDivisionError("division by zero")
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        obs, reward = np.zeros(2, np.float32), 1.0
        if self.steps == 25:
            if self.fault == "raise":
                raise ValueError("the simulator\nfell over")
            if self.fault == "exit":
                raise OSError(5, "lost the connection")
            if self.fault == "hang":
                time.sleep(60)
            obs = {
                "not a number": np.array([np.nan, 0.0]),
                "infinite": np.array([np.inf, 0.0]),
                "shape": np.zeros(3),
                "scalar": 1.0,
                "text": np.array(["left", "right"]),
                "none": None,
                "objects": np.array([object(), object()]),
            }.get(self.fault if self.fault != "none" else "", obs)
            reward = {"reward nan": np.nan, "reward text": "much", "reward list": [1, 2]}.get(
                self.fault, 1.0
            )
            if self.fault == "ends":
                return obs, reward, np.array([True, False]), False, {}
            if self.fault == "short":
                return obs, reward, False
        return obs, reward, False, self.steps % 10 == 0, {}

    def close(self):
        if self.fault == "close":
            raise RuntimeError("close failed")


class Images(gymnasium.Env):
    """Environment that observes images of a bar."""

    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, shape=(64, 64, 3)):
        self.observation_space = gymnasium.spaces.Box(0, 255, tuple(shape), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), 0.0, False, self.steps % 10 == 0, {}


def wrong_reward(obs, action, next_obs):
    return torch.ones(obs.shape[:-1]) * 2.0


def never_ends(obs, action, next_obs):
    return torch.zeros(obs.shape[:-1], dtype=torch.bool)


def hostile_termination(obs, action, next_obs):
    EXECUTED.append("hostile_termination")
    return never_ends(obs, action, next_obs)


class RequiresWidth:
    def __init__(self, spec, device, width: int):
        """A model with a hyperparameter that has no default."""


class HostilePickle:
    def __reduce__(self):
        return EXECUTED.append, ("pickle",)


def newest(folder):
    return max((folder / "checkpoints").glob("*.safetensors"))


def change_config(change):
    """Return a set-up function that changes the config of the run folder."""

    def set_up(root):
        config = OmegaConf.load(root / "run" / "config.yaml")
        change(config)
        (root / "run" / "config.yaml").write_text(OmegaConf.to_yaml(config))

    return set_up


def write_file(name, data):
    """Return a set-up function that writes a file into the run folder."""
    return lambda root: (root / "run" / name).write_bytes(data)


def change_checkpoints(change):
    """Return a set-up function that changes the bytes of every checkpoint."""

    def set_up(root):
        for path in (root / "run").glob("**/*.safetensors"):
            path.write_bytes(change(path.read_bytes()))

    return set_up


def delete_replay(root):
    for path in (root / "run" / "replay").iterdir():
        path.unlink()


def write_other_state(root):
    for path in (root / "run" / "checkpoints").iterdir():
        save_checkpoint(path.parent, path.stem, {"env_step": "many"})


def write_model_yaml(text):
    """Return a set-up function that writes mine/model/mine.yaml."""

    def set_up(root):
        (root / "mine" / "model").mkdir(parents=True)
        (root / "mine" / "model" / "mine.yaml").write_text(text)

    return set_up


def change_planner(path, **more):
    return change_config(lambda config: config.update(planner={"_target_": path, **more}))


def no_set_up(root):
    pass


RUN = "train env=gym env.id=Faulty-v0 model=linear planner.horizon=3 planner.population=12 " \
      "total_steps=40 prefill_steps=15 agent.fit_every=10 final_eval_episodes=1 eval_every=0 " \
      "console=false hydra.run.dir=new env.kwargs.fault="  # fmt: skip
MINE = "train --config-dir mine model=mine"

# Command, exit code, part of the message; in the other lists also what is wrong and its set-up.
COMMAND_LINE = [
    ("train env=cartpoel", 2, "env=cartpoel: unknown env; did you mean cartpole"),
    ("train planer=cem", 2, "planer: unknown key; did you mean planner"),
    ("train planner.horizn=3", 2, "planner.horizn: unknown key; did you mean horizon?"),
    ("train planner.horizn=3 --cfg job", 2, "planner.horizn: unknown key; did you mean horizon?"),
    ("train model=rssm model.lr=1", 2, "model.lr: unknown key; did you mean learning_rate?"),
    ("train model=linear model.lr=1", 2, "unknown key; allowed are ridge, accuracy_horizon"),
    ("train agent.sac.discont=1", 2, "agent.sac.discont: unknown key; did you mean discount"),
    ("train planner=none planner.horizon=3", 2, "planner.horizon: unknown key, because no planner"),
    ("train env.recommended.horizn=3", 2, "env.recommended.horizn: unknown key; did you mean hori"),
    ("train env.recommended.pixels.x=3", 2, "env.recommended.pixels.x: unknown key; allowed are"),
    ("train env.recommended=3", 2, "env.recommended=3: must be a mapping of keys to values"),
    ("train planner=[cem]", 2, "a run has one planner; for one run with each type: mbrl train -m"),
    ("train env=[cartpole,pendulum]", 2, "type: mbrl train -m env=cartpole,pendulum"),
    ("train --env cartpole", 2, "--env: settings have no dashes; type env=cartpole"),
    ("train --seed=3", 2, "--seed=3: settings have no dashes; type seed=3"),
    ("train --multi_run seed=1", 2, "--multi_run: unknown option; did you mean --multirun?"),
    ("train cartpole", 2, "cartpole: is not of the form key=value; did you mean env=cartpole?"),
    ("train agent=random pendulm", 2, "pendulm: is not of the form key=value; did you mean env="),
    ("train planner", 2, "planner: has no value; type planner=NAME, NAME is one of cem, icem"),
    ("train agent=random -m seed=0,1 --cfg job", 2, "--cfg: shows the config of one run"),
    ("train model.lr=0.1", 2, "model.lr: unknown key; did you mean learning_rate?"),
    ("train gamma=0.9", 2, "gamma: unknown key; did you mean agent.discount?"),
    ("train horizon=9", 2, "horizon: unknown key; did you mean planner.horizon?"),
    ("train video=true", 2, "video: unknown key; did you mean eval_video?"),
    ("train experiment=foo", 2, "experiment=foo: unknown experiment; allowed are dreamer_cart"),
    ("train -m hydra/sweeper=optuna seed=0,1", 2, "type: pip install hydra-optuna-sweeper"),
    ("train hydra/launcher=joblib", 2, 'type: pip install -c constraints.txt ".[joblib]"'),
    ("train hydra/sweeper=optun", 2, "hydra/sweeper=optun: unknown hydra/sweeper; allowed are"),
    ("train experiment=muzero", 2, "experiment=muzero: unknown experiment; did you mean muzero_"),
    ("train planner=null", 2, "planner=null: unknown planner; allowed are cem"),
    ("train total_step=5", 2, "total_step: unknown key; did you mean total_steps"),
    ("train planner.horizon=abc", 2, "planner.horizon=abc: must be a whole number >= 1"),
    ("train planner.horizon=0", 2, "planner.horizon=0: must be a whole number >= 1"),
    ("train planner.horizon=2.5", 2, "planner.horizon=2.5: must be a whole number >= 1"),
    ("train planner.horizon=null", 2, "planner.horizon=null: must be a whole number >= 1"),
    ("train planner.horizon=[1,2]", 2, "planner.horizon=[1, 2]: must be a whole number >= 1"),
    ("train prefill_steps=0", 2, "prefill_steps=0: must be >= 1"),
    ("train total_steps=1e15", 2, "total_steps=1000000000000000: needs about"),
    ("train seed=-1", 2, "seed=-1: must be a whole number >= 0"),
    ("train seed=true", 2, "seed=True: must be a whole number >= 0"),
    ("train holdout_ratio=0.9", 2, "holdout_ratio=0.9: must be a number in [0, 0.5]"),
    ("train checkpoint_minutes=0", 2, "checkpoint_minutes=0: must be a number > 0"),
    ("train keep_checkpoints=0", 2, "keep_checkpoints=0: must be a whole number >= 1"),
    ("train env_timeout=-1", 2, "env_timeout=-1: must be a number in (0, 1e+07] or null"),
    ("train console=maybe", 2, "console=maybe: must be true or false"),
    ("train model.learning_rate=00143", 2, "model.learning_rate=00143: must be a number in (0, 1]"),
    ("train model.learning_rate=99", 2, "model.learning_rate=99: must be a number in (0, 1]"),
    ("train model.learning_rate=nan", 2, "model.learning_rate=nan: must be a number in (0, 1]"),
    ("train model.weight_decay=-1", 2, "model.weight_decay=-1: must be a number >= 0"),
    ("train model.weight_decay=inf", 2, "model.weight_decay=inf: must be a number >= 0"),
    ("train env_timeout=1e400", 2, "env_timeout=inf: must be a number in (0, 1e+07] or null"),
    ("train model.hidden=[]", 2, "model.hidden=[]: must be a list of whole numbers >= 1"),
    ("train model.hidden=[64,x]", 2, "model.hidden=[64, 'x']: must be a list"),
    ("train model.hidden=[99999999999]", 2, "model.hidden=[99999999999]: needs about"),
    ("train model.num_members=1e9 model.num_elites=1 model.num_particles=1", 2, "GB are available"),
    ("train planner.population=1e12", 2, "planner.population=1000000000000: needs about"),
    ("train planner.horizon=1e12", 2, "planner.horizon=1000000000000: needs about"),
    ("train eval_episodes=1e9", 2, "eval_episodes=1000000000: needs about"),
    ("train final_eval_episodes=1e9", 2, "final_eval_episodes=1000000000: needs about"),
    ("train agent=sac agent.batch_size=1e12", 2, "agent.batch_size=1000000000000: needs about"),
    ("train agent=mbpo agent.sac.hidden=[1e9,1e9]", 2, "agent.sac.hidden=[1000000000, 1000000000]"),
    ("train env_timeout=1e308", 2, "env_timeout=1e+308: must be a number in (0, 1e+07] or null"),
    ("train total_steps=100", 2, "total_steps=100: must be > prefill_steps=100, because nothing"),
    ("train agent=sac total_steps=5", 2, "total_steps=5: must be > prefill_steps=100"),
    ("train env=gridworld env.obstacles=[]", 2, "did you mean env.kwargs.obstacles?"),
    ("train env=gym env.id=Images-v0", 2, "model=Ensemble: Images-v0 observes images [3, 64, 64]"),
    ("train env=gym env.id=Images-v0 agent=sac", 2, "SAC needs vector observations, and Images-v0"),
    ("train env=gym env.id=Images-v0 agent=muzero", 2, "model=MuZero: needs vector observations"),
    ("train model.activation=gelu", 2, "model.activation=gelu: must be one of silu, relu"),
    ("train +model.foo=1", 2, "model.foo: unknown key; allowed are"),
    ("train model.num_elites=9", 2, "model.num_elites=9: more than model.num_members=5"),
    ("train model.num_particles=7", 2, "model.num_particles=7: must be a multiple"),
    ("train planner.replan_every=999", 2, "planner.replan_every=999"),
    ("train env=gym", 2, "env.id: must be given"),
    ("train env=gym env.id=CartPol-v1", 2, "env.id=CartPol-v1: unknown environment; did you mean"),
    ("train env=gym env.id=no_such_module:X-v0", 2, "cannot import no_such_module"),
    ("train env=pendulum env.kwargs.foo=1", 2, "Pendulum-v1 takes"),
    ("train env=gridworld env.kwargs.goal=[2,2]", 2, "env.kwargs.goal=(2, 2): lies on an obstacle"),
    ("train env.max_episode_steps=0", 2, "env.max_episode_steps=0: must be >= 1 or null"),
    ("train env.reward=nonsense", 2, "env.reward=nonsense: allowed are learned, known"),
    ("train env.simulator=nonsense", 2, "env.simulator=nonsense: allowed are auto, package"),
    ("train env.reward=no_module:f", 2, "env.reward=no_module:f: cannot import no_module"),
    ("train agent=random planner=cem", 2, "planner=CEM: agent Random uses no planner"),
    ("train planner=none", 2, "planner=none: agent MPC needs a planner"),
    ("train agent.explore=noise", 2, "agent.explore=noise: needs continuous actions"),
    ("train agent.explore=disagreement model=mlp", 2, "needs a model with several members"),
    ("train device=tpu", 2, "device=tpu: allowed are auto, cpu, cuda"),
    ("train threads=0", 2, "threads=0: must be a whole number"),
    ("train hydra.run.dir=/proc/nothing/here", 2, "cannot write to /proc"),
    ("train env=[", 2, "env=[: unknown env; allowed are"),
    ("train seed=[", 2, "seed=[: cannot be read (no viable alternative at input '[')"),
    ("train planner=cem,icem", 2, "planner=cem,icem: several values; for one run with each of"),
    ("train planner.horizon=1,2", 2, "planner.horizon=1,2: several values"),
    ("train ~planner.horizn", 2, "~planner.horizn: does not exist"),
    ("train =", 2, "=: must have the form key=value"),
    ("train -m planner=cem,cme", 2, "planner=cme: unknown planner; did you mean cem"),
    ("train -m planner.horizon=1,0", 2, "planner.horizon=0: must be a whole number >= 1"),
    ("train model_from=nowhere", 2, "nowhere: is not a run folder"),
    ("train model_from_frozen=true", 2, "model_from_frozen=true: needs a run to start from"),
    ("eval nowhere", 2, "nowhere: is not a run folder"),
    ("train --config-dir nowhere", 2, "--config-dir nowhere: is not a folder"),
    ("eval nowhere --config-dir nowhere", 2, "--config-dir nowhere: is not a folder"),
    ("eval nowhere --trst", 2, "unrecognized arguments: --trst; usage: mbrl eval RUN_DIR"),
    ("eval", 2, "usage: mbrl eval RUN_DIR"),
    ("resume", 2, "usage: mbrl resume RUN_DIR"),
    ("resume nowhere", 2, "nowhere: is not a run folder"),
    ("lst", 2, "lst: unknown command; did you mean list"),
    ("list planner cme", 2, "planner=cme: unknown planner; did you mean cem"),
    ("list planner cem env=pendulm", 2, "env=pendulm: unknown env; did you mean pendulum"),
    ("list planners cem", 2, "list planners: unknown group; did you mean planner"),
    ("list planner cem horizon", 2, "list horizon: unknown word; use env=NAME"),
    ("list planers", 2, "list planers: unknown group; did you mean planner"),
]
YAML = [
    (MINE, 2, "mine.yaml", "a YAML file that is not YAML", write_model_yaml("_target_: [")),
    (MINE, 2, "model: has no _target_", "no _target_", write_model_yaml("hidden: [8]\n")),
    (
        MINE, 2, "cannot be imported", "a _target_ that is not there",
        write_model_yaml("_target_: no_such_package.Model\n"),
    ),
    (MINE, 2, "is not a class or function", "a _target_ that is a module",
     write_model_yaml("_target_: mbrl_cli.models\n")),
    (
        MINE, 2, "model.width: missing; add model.width=VALUE", "a key left out",
        write_model_yaml("_target_: test_mistakes.RequiresWidth\n"),
    ),
    (MINE, 2, "model: has no _target_", "a list instead of a mapping",
     write_model_yaml("- 1\n- 2\n")),
]  # fmt: skip
FOLDERS = [
    ("resume run env.id=X-v0", 2, "env.id=X-v0: cannot change", "", no_set_up),
    ("resume run seed=1", 2, "seed=1: cannot change", "", no_set_up),
    ("resume run env=pendulum", 2, "env=pendulum: a saved run keeps its env", "", no_set_up),
    ("resume run model.hidden=[16] total_steps=99", 2,
     "model.hidden: the saved state does not fit: agent.model.net", "", no_set_up),
    ("resume run total_steps=5", 2, "must be >= 60, the steps that the run has taken", "",
     no_set_up),
    ("resume run planner.horizn=3", 2, "planner.horizn: unknown key", "", no_set_up),
    ("eval run model.hidden=[16]", 2, "run: the saved state does not fit: agent.model.net", "",
     no_set_up),
    ("eval run planner=cme", 2, "planner=cme: unknown planner; did you mean cem", "", no_set_up),
    ("eval run planner=[1]", 2, "planner=[1]: unknown planner", "", no_set_up),
    ("eval run planner.horizon=1,2", 2, "a saved run needs one value for each key", "", no_set_up),
    ("eval run ~planner.horizon", 2, "a saved run needs one value for each key", "", no_set_up),
    ("eval run model.hidden.x=1", 2, "model.hidden.x=1: model.hidden is a list", "", no_set_up),
    ("eval run eval_episodes=0", 2, "eval_episodes=0: must be a whole number >= 1", "", no_set_up),
    ("train hydra.run.dir=run", 2, "holds a run already", "", no_set_up),
    ("train model=linear model_from=run", 2, "model_from=run: model.", "", no_set_up),
    ("train env=pendulum model.hidden=[8] model_from=run", 2, "was saved", "", no_set_up),
    ("train agent=random model_from=run", 2, "the agent uses no model", "", no_set_up),
    (
        "train env=cartpole model.hidden=[8] env.termination=learned model_from=run", 2,
        "did not learn the termination", "", no_set_up,
    ),
    ("resume run", 2, "is not a run folder", "no config",
     lambda root: (root / "run/config.yaml").unlink()),
    ("resume run", 2, "is not readable YAML", "a config that is not YAML",
     write_file("config.yaml", b"a: [")),
    ("resume run", 2, "is not readable YAML", "a binary config",
     write_file("config.yaml", b"\xff\xfe\x00")),
    ("resume run", 2, "is not the config", "a list as config", write_file("config.yaml", b"- 1\n")),
    ("eval run", 2, "is not the config", "an empty config", write_file("config.yaml", b"")),
    ("eval run", 2, "uses YAML tags", "a YAML tag that builds an object",
     write_file("config.yaml", b"a: !!python/object/apply:os.system ['true']\n")),
    ("eval run", 2, "is not one of mbrl's classes", "os.system as planner",
     change_planner("os.system", command="touch RAN")),
    ("resume run", 2, "is not one of mbrl's classes", "os.system through a module of ours",
     change_planner("mbrl_cli.config.targets.os.system", command="touch RAN")),
    ("eval run", 2, "is not one of mbrl's classes", "a _target_ deep inside", change_config(
        lambda config: config.env.update(kwargs={"a": {"_target_": "os.system"}}))),
    ("eval run", 2, "imports other code", "an environment of another package", change_config(
        lambda config: config.env.update(id="test_mistakes:X-v0"))),
    ("resume run", 2, "imports other code", "a reward of another package", change_config(
        lambda config: config.env.update(reward="test_mistakes:hostile_termination"))),
    ("resume run", 2, "imports other code", "a simulator of another package", change_config(
        lambda config: config.env.update(simulator="test_mistakes:hostile_termination"))),
    ("eval run", 2, "calls a resolver", "a variable of this machine", change_config(
        lambda config: config.env.update(id="${oc.env:HOME}"))),
    ("eval run", 2, "calls a resolver", "a variable among the recommended values",
     change_config(lambda config: config.env.recommended.update(horizon="${oc.env:HOME}"))),
    ("eval run", 2, "damaged, or not a checkpoint", "pickles instead of checkpoints",
     change_checkpoints(lambda old: pickle.dumps(HostilePickle()))),
    ("resume run total_steps=99", 2, "no intact checkpoint is left", "pickles for checkpoints",
     change_checkpoints(lambda old: pickle.dumps(HostilePickle()))),
    ("resume run total_steps=99", 2, "checksum does not match", "a flipped byte in each checkpoint",
     change_checkpoints(lambda old: old[:-9] + bytes([old[-9] ^ 1]) + old[-8:])),
    ("resume run total_steps=99", 2, "no intact checkpoint", "checkpoints cut in half",
     change_checkpoints(lambda old: old[: len(old) // 2])),
    ("eval run", 2, "damaged", "empty checkpoints", change_checkpoints(lambda old: b"")),
    ("eval run", 2, "has checkpoint format 9", "checkpoints of another version",
     change_checkpoints(lambda old: old.replace(SAVED_FORMAT, OTHER_FORMAT))),
    ("resume run total_steps=99", 2, "cannot read the checkpoint", "the replay deleted",
     delete_replay),
    ("resume run total_steps=99", 2, "is no checkpoint of a run", "checkpoints of something else",
     write_other_state),
    ("resume run total_steps=99", 2, "rows were lost", "metrics.csv cut", lambda root: os.truncate(
        root / "run" / "metrics.csv", 100)),
]  # fmt: skip
FAULTS = [
    (RUN + "constructor", 2, "no licence"),
    (RUN + "reset", 3, "reset failed (ZeroDivisionError: division by zero)"),
    (RUN + "raise", 3, "step failed (ValueError: the simulator fell over)"),
    (RUN + "exit", 3, "lost the connection"),
    (RUN + "hang env_timeout=0.2", 3, "did not return within env_timeout=0.2 seconds"),
    (RUN + "'not a number'", 3, "an observation is not finite: [nan, 0.0]"),
    (RUN + "infinite", 3, "an observation is not finite: [inf, 0.0]"),
    (RUN + "shape", 3, "an observation has 3 entries, its observation_space says 2"),
    (RUN + "scalar", 3, "an observation has 1 entries"),
    (RUN + "text", 3, "step failed"),
    (RUN + "objects", 3, "step failed"),
    (RUN + "'reward nan'", 3, "the reward is nan"),
    (RUN + "'reward text'", 3, "step failed (ValueError"),
    (RUN + "'reward list'", 3, "step failed (ValueError: the reward is [1, 2]"),
    (RUN + "ends", 3, "step failed (ValueError"),
    (RUN + "short", 3, "step failed (TypeError: step returned 3 values"),
    (RUN + "none env.reward=test_mistakes:wrong_reward", 2,
     "the known function gives 2 where the environment gave 1, at obs [0.0, 0.0]"),
    ("train env=cartpole agent=random total_steps=60 hydra.run.dir=new console=false "
     "env.termination=test_mistakes:never_ends", 2,
     "env.termination: the known function gives 0 where the environment gave 1"),
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory, request):
    """Return a folder with a finished run in it."""
    root = tmp_path_factory.mktemp("finished")
    subprocess.run(
        [sys.executable, "-m", "mbrl_cli", "train", "env=cartpole", *TINY_RUN, "hydra.run.dir=run"],
        cwd=root, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return root / "run"


@pytest.fixture
def run_mistake(mbrl, tmp_path, monkeypatch):
    """Return a function that runs a wrong command, checks its result and returns its message."""
    for kind in (Faulty, Images):
        name = f"{kind.__name__}-v0"
        spec = gymnasium.envs.registration.EnvSpec(name, entry_point=kind)
        monkeypatch.setitem(gymnasium.registry, name, spec)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def run(words, code, says):
        before = contents(tmp_path)
        done = mbrl(*shlex.split(words))
        assert done.code == code, done
        assert done.err.startswith("mbrl: "), done
        assert len(done.err.splitlines()) == 1, done
        assert "Traceback" not in done.err + done.out
        assert says in done.err
        after = contents(tmp_path)
        new = after.keys() - before.keys()
        assert {name: after.get(name) for name in before} == before, "a file was changed or deleted"
        if "hydra.run.dir=new" not in words:
            assert not new, "a stray folder or file"
        assert not EXECUTED
        return done.err.strip().removeprefix("mbrl: ").replace(str(tmp_path), ".")

    EXECUTED.clear()
    return run


def contents(root):
    return {
        path.relative_to(root): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


CASES = {
    "Command line": [(words, code, says, "", no_set_up) for words, code, says in COMMAND_LINE],
    "YAML": YAML,
    "Run folders": FOLDERS,
    "Environments": [(words, code, says, "", no_set_up) for words, code, says in FAULTS],
}
ALL = [(kind, *case) for kind, cases in CASES.items() for case in cases]
MESSAGES = {}  # (command, what is wrong) -> message


@pytest.mark.parametrize(
    ("kind", "words", "code", "says", "wrong", "set_up"),
    ALL,
    ids=[f"{words}{' with ' * bool(wrong)}{wrong}" for _, words, _, _, wrong, _ in ALL],
)
def test_a_mistake_gives_one_line_and_deletes_nothing(
    run_mistake, finished, tmp_path, kind, words, code, says, wrong, set_up
):
    if kind == "Run folders":
        shutil.copytree(finished, tmp_path / "run")
    set_up(tmp_path)
    MESSAGES[words, wrong] = run_mistake(words, code, says)


def test_the_table_lists_every_mistake():
    lines = [
        "# Error messages",
        "",
        "Every message is one line on the error stream, with the prefix `mbrl: `. Exit code 2: the",
        "command cannot work as it was given. Exit codes from 3 on: if the run had started, "
        "its state",
        "was saved, and the message names the command that continues it.",
        "",
        "`MBRL_WRITE=1 pytest tests/test_mistakes.py` runs each command and writes this file.",
    ]
    for kind, cases in CASES.items():
        lines += ["", f"## {kind}", "", "| command | exit code | message |", "|---|---|---|"]
        for words, code, _, wrong, _ in cases:
            shown = words.replace(RUN, "train env=gym env.id=Faulty-v0 ... env.kwargs.fault=")
            command = f"`{shown}`" + (f" with {wrong}" if wrong else "")
            message = MESSAGES.get((words, wrong), "").replace("|", "\\|")
            message = re.sub(r"and [\d.]+ GB are", "and 24.0 GB are", message)  # of this machine
            message = re.sub(r"0x[0-9a-f]+", "0x7f914314ac90", message)
            lines.append(f"| {command} | {code} | {message} |")
    if "MBRL_WRITE" in os.environ:
        TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    written = TABLE.read_text(encoding="utf-8").splitlines()

    def without_message(line):  # some messages depend on the versions of Hydra and gymnasium
        return line.rsplit(" | ", 1)[0]

    assert len(ALL) >= 60
    assert [without_message(line) for line in written] == [without_message(line) for line in lines]


def test_trust_lets_a_run_folder_name_other_code(run_mistake, mbrl, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    change_config(
        lambda config: config.env.update(termination="test_mistakes:hostile_termination")
    )(tmp_path)
    assert mbrl("eval", "run", "eval_episodes=1").code == 2
    assert not EXECUTED
    for path in (tmp_path / "run").rglob("*checkpoint*/*.safetensors"):
        path.unlink()
    final = tmp_path / "run" / "checkpoint.safetensors"
    save_checkpoint(final.parent, final.stem, load_checkpoint(final) | {"configs": []})
    assert mbrl("eval", "run", "eval_episodes=1", "--trust").code == 0
    assert EXECUTED


def test_a_run_can_be_resumed_after_a_fault_of_the_environment(run_mistake, mbrl, tmp_path):
    run_mistake(RUN + "raise", 3, "the trace is in fault.txt; to resume type: mbrl resume")
    assert "fell over" in (tmp_path / "new" / "fault.txt").read_text()
    # The environment counts its steps from the start of the process, so it does not fail again.
    assert mbrl("resume", "new").code == 0


def test_a_full_disk_is_reported_and_the_run_can_be_resumed(
    run_mistake, mbrl, tiny_run, tmp_path, monkeypatch
):
    real, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 14:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    words = " ".join(["train", "env=cartpole", *tiny_run, "hydra.run.dir=new"])
    monkeypatch.setattr(os, "fsync", full)
    run_mistake(words, 5, "No space left on device; free disk space, then type: mbrl resume")
    monkeypatch.setattr(os, "fsync", real)
    done = mbrl("resume", "new")
    assert done.code == 0
    assert "from step 0" not in done.out  # it continues from what was saved before


def test_close_that_raises_changes_neither_result_nor_exit_code(run_mistake, mbrl, tmp_path):
    assert run_mistake is not None  # registers the environment
    done = mbrl(*shlex.split(RUN + "close"))
    assert done.code == 0
    assert "mbrl: env.id=Faulty-v0: close failed (RuntimeError: close failed)" in done.err
    assert (tmp_path / "new" / "checkpoint.safetensors").exists()


def test_a_disk_that_is_full_before_the_run_is_reported(run_mistake, monkeypatch):
    def full(**options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    monkeypatch.setattr("mbrl_cli.config.output_folder.TemporaryDirectory", full)
    says = "No space left on device; free disk space, then type the command again"
    run_mistake("train agent=random total_steps=5", 5, says)


def test_a_disk_that_becomes_full_in_a_sweep_is_reported(mbrl, monkeypatch):
    def full(*arguments, **options):  # Hydra opens the log file of a job
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "mbrl.log")

    monkeypatch.setattr("hydra.core.utils.configure_log", full)
    words = ["train", "-m", "agent=random", "total_steps=5", "seed=0,1"]
    done = mbrl(*words, "hydra.sweep.dir=my sweep")
    assert done.code == 5
    says = "free disk space, then type the command again with hydra.sweep.dir='my sweep'"
    assert done.err.startswith(f"mbrl: mbrl.log: No space left on device; {says}")
    assert done.err.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts a disk")
@pytest.mark.parametrize("kilobytes", [64, 100])  # full before the first job, and in it
def test_a_small_disk_that_a_sweep_fills_is_reported_in_one_line(
    mbrl, tmp_path, kilobytes, monkeypatch
):
    monkeypatch.setattr(logging, "raiseExceptions", False)  # as `mbrl` does in a process of its own
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        words = ["train", "-m", "agent=random", "total_steps=200", "checkpoint_every=10",
                 "env.max_episode_steps=10", "keep_checkpoints=20", "eval_every=0", "seed=0,1",
                 "console=false"]  # fmt: skip
        done = mbrl(*words, f"hydra.sweep.dir={disk}/sweep")
        assert (done.code, done.err.count("\n")) == (5, 1), done.err
        assert done.err.startswith(f"mbrl: {disk}/sweep: No space left on device; free") or (
            done.err.startswith(f"mbrl: output folder {disk}/sweep/s0: No space left on device")
        )
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)  # a log file is still open


def test_errors_of_other_files_are_not_the_disk_s_fault(tmp_path):
    missing = FileNotFoundError(errno.ENOENT, "No such file", "/data/table.npz")
    assert disk_fault(missing, tmp_path) is None
    assert disk_fault(BrokenPipeError(errno.EPIPE, "Broken pipe"), tmp_path) is None
    deleted = FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "metrics.csv"))
    assert "make the folder writable again" in str(disk_fault(deleted, tmp_path))


def test_a_model_that_diverges_in_every_fit_ends_the_run_with_advice(
    run_mistake, tiny_run, tmp_path
):
    words = " ".join(["train", "env=pendulum", *tiny_run, "hydra.run.dir=new"])
    more = " model.learning_rate=1 model.max_steps=300 model.activation=relu total_steps=200"
    wild = " model.weight_decay=1e30"
    run_mistake(
        words + more + wild, 4, "diverged in 3 fits in a row and was rolled back each time; lower"
    )
    rows = (tmp_path / "new" / "metrics.csv").read_text().splitlines()
    assert sum(",model/rolled_back,5.0" in row for row in rows) == 2  # the third one ended the run


# --- random overrides ---------------------------------------------------------------------------


def keys():
    """Return every key of every choice of every group, and of the run level."""
    found = [
        k for k in OmegaConf.load(config_dir() / "train.yaml") if k not in ("defaults", "hydra")
    ]
    for group in GROUPS:
        for name in choices(group):
            found += [f"{group}.{key}" for key in compose_choice(group, name)]
    return sorted({str(key) for key in found} | {"nonsense", "model.nonsense"})


VALUES = st.one_of(
    st.integers(-2, 40).map(str),
    st.sampled_from(
        [
            str(10**18),
            str(10**400),
            "1e300",
            "-1e300",
            "nan",
            "inf",
            "null",
            "true",
            "''",
            "[]",
            "{}",
        ]
    ),
    st.floats().map(str),
    st.text(max_size=8),
    st.sampled_from(
        ["[1,2]", "{a:1}", "known", "../../x", "/", "${seed}", "${nope}", "${oc.env:X}"]
    ),
)
CHOICES = st.sampled_from(
    [f"{group}={name}" for group in GROUPS for name in choices(group)]
    + ["env=../env/gym", "model="]
)
OVERRIDE = st.one_of(
    CHOICES,
    st.builds(
        "{}{}={}".format,
        st.sampled_from(["", "", "", "+", "++", "~"]),
        st.sampled_from(keys()),
        VALUES,
    ),
    st.text(max_size=12),
)


@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(st.lists(OVERRIDE, min_size=1, max_size=4))
def test_random_overrides_give_one_line_or_a_valid_config(mbrl, tmp_path, overrides):
    """All checks before a run, without the run itself: never a traceback."""
    words = [word for word in overrides if not word.startswith("-")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mbrl_cli.config.train.train", lambda config: 0.0)
        done = mbrl("train", *words, "hydra.run.dir=new")
    assert done.code in (0, 2), done
    assert "Traceback" not in done.err + done.out
    if done.code == 2:
        assert done.err.startswith("mbrl: "), done
        assert len(done.err.splitlines()) == 1, done
        assert list(tmp_path.iterdir()) == []
    shutil.rmtree(tmp_path / "new", ignore_errors=True)
