"""Mistakes with run folders, for test_mistakes.py.

A case has a command, its exit code, a part of the message, what is wrong, and a set-up function,
which gets the folder that has the finished run in `run/`.
"""

import os
import pickle

from faulty_parts import HostilePickle
from omegaconf import OmegaConf

from mbrl_cli.checkpoint import FORMAT, save_checkpoint

SAVED_FORMAT, OTHER_FORMAT = (rf"\"format\": {number}".encode() for number in (FORMAT, 9))


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


def change_planner(path, **more):
    return change_config(lambda config: config.update(planner={"_target_": path, **more}))


def no_set_up(root):
    pass


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
        lambda config: config.env.update(id="faulty_parts:X-v0"))),
    ("resume run", 2, "imports other code", "a reward of another package", change_config(
        lambda config: config.env.update(reward="faulty_parts:hostile_termination"))),
    ("resume run", 2, "imports other code", "a simulator of another package", change_config(
        lambda config: config.env.update(simulator="faulty_parts:hostile_termination"))),
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
