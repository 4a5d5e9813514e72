"""`mbrl fork`: the past of the original to the bit, its end without changes, clear refusals."""

import json
import shutil
import signal

import numpy as np
import pytest
from conftest import TINY_RUN
from run_folders import refused
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mbrl_cli.api.loading import load_run
from mbrl_cli.api.training import train
from mbrl_cli.checkpoint import load_checkpoint
from mbrl_cli.checkpoint_store import load_newest_replay
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import StopRequested
from mbrl_cli.metrics_csv import METRICS_CSV

SAC = ["agent=sac", "planner=none", "agent.hidden=[8]", "agent.batch_size=8"]
SHORT = [
    "total_steps=60", "prefill_steps=20", "eval_every=25", "eval_episodes=1",
    "final_eval_episodes=1", "env.max_episode_steps=10", "checkpoint_every=10", "console=false",
    "device=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a run with checkpoints at 10, 20, ... steps."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    words = [*TINY_RUN, "env=pendulum", "keep_checkpoints=20", "console=false"]
    train([*words, f"hydra.run.dir={folder}"])
    return folder


@pytest.fixture
def original(trained, tmp_path):
    """Return a copy of it in the folder of the test."""
    return shutil.copytree(trained, tmp_path / "run")


def files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(folder):
    lines = (folder / METRICS_CSV).read_text().splitlines()
    return [line for line in lines if ",time/" not in line]


def rows_before(folder, step):
    """Return the rows whose step is before `step`; those at the step can be of either part."""
    return [line for line in rows(folder)[1:] if int(line.partition(",")[0]) < step]


def assert_same_end(one, other):
    assert rows(one) == rows(other)
    final = "checkpoint.safetensors"
    left, right = load_checkpoint(one / final), load_checkpoint(other / final)
    assert left.keys() == right.keys()
    assert (one / final).read_bytes() == (other / final).read_bytes()
    left, right = load_newest_replay(one)[0], load_newest_replay(other)[0]
    assert {k: v.tolist() for k, v in left.items()} == {k: v.tolist() for k, v in right.items()}


@pytest.mark.parametrize("agent", ["mpc", "sac"])
def test_a_fork_without_changes_equals_the_original_to_its_end(mbrl, tiny_run, tmp_path, agent):
    words = [*SHORT, "env=pendulum", *SAC] if agent == "sac" else [*tiny_run, "env=pendulum"]
    kept = "keep_checkpoints=20"
    assert mbrl("train", *words, kept, "hydra.run.dir=run").code == 0
    before = files(tmp_path / "run")
    done = mbrl("fork", "run", "at=30")
    assert done.code == 0, done.err
    assert "fork        run_at30 of run at step 30" in done.out
    assert_same_end(tmp_path / "run", tmp_path / "run_at30")
    assert files(tmp_path / "run") == before
    assert mbrl("fork", "run", "at=30").code == 0  # never overwrites the first one
    assert_same_end(tmp_path / "run", tmp_path / "run_at30_2")


def test_a_changed_fork_shares_the_past_and_differs_afterwards(mbrl, original, tmp_path):
    changed = {
        "planner": ["planner=random_shooting", "planner.horizon=3", "planner.population=4"],
        "agent": ["agent.fit_every=5"],
        "seed": ["seed=7"],
    }
    for name, words in changed.items():
        done = mbrl("fork", "run", "at=30", *words, f"hydra.run.dir={name}")
        assert done.code == 0, done.err
        fork = tmp_path / name
        assert rows_before(fork, 30) == rows_before(original, 30)
        assert rows(fork) != rows(original)
        past, whole = load_newest_replay(original)[0], load_newest_replay(fork)[0]
        for field in ("obs", "action", "reward"):
            np.testing.assert_array_equal(whole[field][:30], past[field][:30])
        assert not np.array_equal(whole["action"][30:], past["action"][30:])
        start = load_checkpoint(original / "checkpoints" / "0000000030.safetensors")
        kept = load_checkpoint(fork / "checkpoints" / "0000000030.safetensors")
        same_generators = [
            bool((start["generators"]["policy"] == kept["generators"]["policy"]).all()),
            bool((start["agent"]["generator"] == kept["agent"]["generator"]).all()),
        ]
        assert same_generators == [name != "seed"] * 2
    assert load_run("planner").choices["planner"] == "random_shooting"
    assert load_run("seed").seed == 7


@pytest.mark.parametrize(("ratio", "updates"), [(3, 20 + 60), (0.5, 20 + 10)])
def test_a_fork_with_another_ratio_of_gradient_steps_has_it_from_the_fork_on(
    mbrl, tmp_path, ratio, updates
):
    """The run takes a gradient step before each step from 20 to 59; the fork begins at 40."""
    words = [*SHORT, "env=pendulum", *SAC, "keep_checkpoints=20", "hydra.run.dir=run"]
    assert mbrl("train", *words).code == 0
    done = mbrl("fork", "run", "at=40", f"agent.updates_per_step={ratio}", "hydra.run.dir=fork")
    assert done.code == 0, done.err
    final = "checkpoint.safetensors"
    counts = [
        load_checkpoint(tmp_path / folder / final)["agent"]["schedule"]["num_updates"]
        for folder in ("run", "fork")
    ]
    assert counts == [40, updates]


def test_a_fork_can_be_interrupted_extended_and_forked_again(
    mbrl, original, tmp_path, raise_at_call
):
    words = ["fork", "run", "at=30", "agent.fit_every=5", "keep_checkpoints=9"]
    assert mbrl(*words, "hydra.run.dir=whole").code == 0
    raise_at_call(Env, "step", 25, StopRequested(signal.SIGTERM))
    assert mbrl(*words, "hydra.run.dir=part").code == 128 + signal.SIGTERM
    assert mbrl("resume", "part").code == 0
    assert_same_end(tmp_path / "whole", tmp_path / "part")
    assert mbrl("fork", "whole", "at=40", "hydra.run.dir=second").code == 0
    assert_same_end(tmp_path / "whole", tmp_path / "second")
    origins = load_run("second").fork.origins
    assert [(origin.run, origin.env_step) for origin in origins] == [
        (str(tmp_path / "whole"), 40), (str(original), 30),
    ]  # fmt: skip


def points(folder, tag):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)]


def test_the_event_file_of_a_fork_starts_with_the_last_value_of_the_past(mbrl, original, tmp_path):
    assert mbrl("fork", "run", "at=40", "seed=1", "hydra.run.dir=fork").code == 0
    curve = load_run("fork").metrics(["train/return"])["train/return"]
    assert curve["env_step"].tolist() == [10, 20, 30, 40, 50, 60]  # metrics.csv has the whole past
    expected = list(zip(curve["env_step"].tolist(), curve["value"].tolist(), strict=True))
    assert points(tmp_path / "fork", "train/return") == expected[3:]
    # A rebuilt event file is the same.
    (events,) = (tmp_path / "fork").glob("events.*")
    events.write_bytes(b"")
    done = mbrl("resume", "fork", "total_steps=70")
    assert done.code == 0
    assert "the event file is damaged or missing" in done.out
    assert points(tmp_path / "fork", "train/return")[:3] == expected[3:]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "at: must be given; run has checkpoints at 10, 20, 30, 40, 50; "),
        (["at=25"], "at=25: run has no checkpoint at this step, only at 10, 20, 30, 40, 50; "),
        (["at=last"], "at=last: must be a whole number, the step of a checkpoint"),
        (["at=30", "env.reward=known"], "env.reward=known: cannot change in a fork; run has"),
        (["at=30", "prefill_steps=5"], "prefill_steps=5: cannot change in a fork; run has"),
        (["at=30", "agent=sac"], "agent=sac: a saved run keeps its agent"),
        (["at=30", "model.hidden=[9]"], "model.hidden: the saved state does not fit"),
        (["at=30", "total_steps=30"], "total_steps=30: must be > 30, the step of the fork"),
        (["at=30", "planner.horizn=3"], "planner.horizn: unknown key; did you mean"),
        (["at=30", "hydra.run.dir=run"], "hydra.run.dir=run: holds a run already"),
        (["at=30", "seed=1,2"], "seed=1,2: a saved run needs one value for each key"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_forked_is_refused_in_one_line(mbrl, original, tmp_path, words, text):
    before = sorted(path.name for path in tmp_path.iterdir())
    refused(mbrl("fork", "run", *words), text)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_damaged_checkpoint_is_not_forked(mbrl, original, tmp_path):
    path = original / "checkpoints" / "0000000030.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    refused(mbrl("fork", "run", "at=30"), "is damaged")
    (original / "replay" / "0000000000-0000000010.safetensors").unlink()
    refused(mbrl("fork", "run", "at=20"), "cannot read the checkpoint")
    assert sorted(tmp_path.glob("run_*")) == []


def write_fork(folder, origins, words=("planner=mppi",)):
    content = {"origins": [{"run": str(run), "env_step": step} for run, step in origins]}
    (folder / "fork.json").write_text(json.dumps({**content, "words": list(words)}))


def drawn_points(csv_file):
    """Return group -> steps of the curve that is drawn."""
    found = {}
    for line in csv_file.read_text().splitlines()[1:]:
        _, group, _, statistic, step, *_ = line.split(",")
        if statistic == "curve":
            found.setdefault(group, []).append(int(float(step)))
    return found


def test_compare_draws_the_shared_past_once(mbrl, write_run, tmp_path):
    past = {100: 10.0, 200: 20.0}
    for seed in range(2):
        run = write_run(f"runs/cem{seed}", {**past, 300: 30.0, 400: 40.0}, "cem", seed)
        fork = write_run(f"runs/mppi{seed}", {**past, 300: 60.0, 400: 80.0}, "mppi", seed)
        write_fork(fork, [(run, 250)])
    done = mbrl("compare", "runs", "--csv", "a.csv")
    assert done.code == 0, done.err
    assert drawn_points(tmp_path / "a.csv") == {
        "cem": [100, 200, 300, 400],
        "mppi": [200, 300, 400],
    }
    assert "mppi: the first 250 steps are those of a run of another group" in done.out.replace(
        "\n  ", " "
    )
    # The original is not compared: the fork is drawn whole.
    assert mbrl("compare", "runs/mppi0", "runs/mppi1", "--csv", "b.csv").code == 0
    assert list(drawn_points(tmp_path / "b.csv").values()) == [[100, 200, 300, 400]]
    # Both folders were moved together.
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert mbrl("compare", "moved", "--csv", "c.csv").code == 0
    assert drawn_points(tmp_path / "c.csv")["mppi"] == [200, 300, 400]


def test_compare_draws_the_past_of_two_forks_once_and_names_dependent_runs(
    mbrl, write_run, tmp_path
):
    past = {100: 10.0, 200: 20.0}
    origin = [(tmp_path / "elsewhere", 200)]
    write_fork(write_run("runs/a", {**past, 300: 30.0}, "cem", 0), origin)
    write_fork(write_run("runs/b", {**past, 300: 50.0}, "mppi", 0), origin)
    write_fork(write_run("runs/c", {**past, 300: 60.0}, "mppi", 1), origin)
    done = mbrl("compare", "runs", "--csv", "a.csv")
    assert done.code == 0, done.err
    curves = drawn_points(tmp_path / "a.csv")
    assert sorted(curves.values()) == [[100, 200, 300], [200, 300]]
    text = " ".join(done.out.split())
    assert "runs of mppi share up to 200 steps: they are not independent" in text


def test_compare_keeps_forks_of_one_run_at_different_steps_apart(mbrl, write_run, tmp_path):
    run = write_run("runs/run", {100: 10.0, 300: 30.0}, "mppi", 0)
    for step in (100, 200):
        write_fork(write_run(f"runs/at{step}", {100: 10.0, 300: 40.0}, "mppi", 0), [(run, step)])
    write_fork(write_run("runs/same", {100: 10.0, 300: 30.0}, "mppi", 0), [(run, 100)], words=())
    done = mbrl("compare", "runs")
    assert done.code == 0, done.err
    assert all(name in done.out for name in ("fork=no", "fork=100", "fork=200"))
    assert "left out 1 run with the settings and the seed of another run" in done.out
