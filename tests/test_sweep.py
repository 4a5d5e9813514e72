"""Sweeps: continued where they ended, failures in one line, the place and time of each job."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from run_outcome import assert_same_outcome

from mbrl_cli.config.sweep_check import jobs_to_build
from mbrl_cli.config.sweep_record import RecordedJob
from mbrl_cli.console.job_in_sweep import JobInSweep
from mbrl_cli.console.progress_line import progress_line
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import StopRequested
from mbrl_cli.models.ensemble import Ensemble

SMALL = [
    "env=cartpole", "agent=random", "total_steps=20", "prefill_steps=0", "eval_every=0",
    "final_eval_episodes=2", "env.max_episode_steps=10", "console=false", "device=cpu",
]  # fmt: skip
PLANNER = [
    "agent=mpc", "model=oracle", "planner=random_shooting", "planner.population=4",
    "total_steps=20", "prefill_steps=5", "eval_every=0", "final_eval_episodes=2",
    "env.max_episode_steps=10", "console=false", "device=cpu",
]  # fmt: skip


def test_a_stopped_sweep_names_the_command_that_continues_it(
    mbrl, tiny_run, raise_at_call, tmp_path
):
    words = ["train", "-m", "seed=0,1", *tiny_run]
    assert mbrl(*words, "hydra.sweep.dir=uninterrupted").code == 0
    raise_at_call(Ensemble, "fit", 7, StopRequested(signal.SIGINT))  # in the second of two jobs
    stopped = mbrl(*words, "hydra.sweep.dir=my sweep")
    assert stopped.code == 128 + signal.SIGINT
    assert stopped.err == (
        "mbrl: 2/2 s1: stopped and saved\n"
        "mbrl: to continue the sweep type: mbrl resume 'my sweep'\n"
    )
    first = tmp_path / "my sweep" / "s0"
    before = (first / "metrics.csv").read_bytes()
    done = mbrl("resume", "my sweep")
    assert (done.code, done.err) == (0, "")
    state = "sweep     my sweep: 2 runs: 1 finished, 1 interrupted\n"
    assert done.out.startswith(f"{state}[2/2 s1] resuming")
    assert "eval/return of 2 runs in 1 group" in done.out
    assert (first / "metrics.csv").read_bytes() == before
    for job in ("s0", "s1"):
        assert_same_outcome(tmp_path / "uninterrupted" / job, tmp_path / "my sweep" / job)
    # The command itself continues the sweep, too; another setting is refused before any job.
    again = mbrl(*words, "hydra.sweep.dir=my sweep")
    assert again.out.startswith("sweep     my sweep: 2 runs: 2 finished\n\neval/return of 2 runs")
    other = mbrl("resume", "my sweep", "planner.horizon=4")
    assert other.code == 2
    assert "my sweep/s0 holds a run with planner.horizon=3; for another sweep use" in other.err
    fewer = mbrl("resume", "my sweep", "seed=1")
    assert (fewer.code, fewer.err.count("\n")) == (2, 1)
    assert "seed: a sweep keeps the keys that have several values (seed)" in fewer.err
    longer = mbrl("resume", "my sweep", "total_steps=70")
    assert (longer.code, longer.err) == (0, "")
    assert longer.out.count("total_steps: 60 -> 70") == 2


def test_a_sweep_whose_job_was_killed_equals_an_uninterrupted_one(mbrl, tiny_run, tmp_path):
    words = ["train", "-m", "seed=0,1,2", *tiny_run]
    assert mbrl(*words, "hydra.sweep.dir=uninterrupted").code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "mbrl_cli", *words, "hydra.sweep.dir=sweep"],
        cwd=tmp_path, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while not list(tmp_path.glob("sweep/s1/checkpoints/*.safetensors")):
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    done = mbrl("resume", "sweep")
    assert (done.code, done.err) == (0, "")
    assert "1 finished, 1 interrupted, 1 to start" in done.out
    for job in ("s0", "s1", "s2"):
        assert_same_outcome(tmp_path / "uninterrupted" / job, tmp_path / "sweep" / job)


def test_a_failed_job_is_one_line_and_the_others_finish(mbrl, tmp_path):
    # Each value is right in one of the first three jobs; a plan of 3 steps has no 5 to execute.
    words = ["planner.horizon=8,3", "planner.replan_every=2,5", "hydra.sweep.dir=sweep"]
    done = mbrl("train", "-m", *PLANNER, *words)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith("mbrl: horizon-3_replan_every-5 failed: planner.replan_every=5: more")
    assert line.endswith("; to try again type: mbrl resume sweep")
    assert "[4/4 horizon-3_replan_every-5] failed: planner.replan_every=5" in done.out
    assert "eval/return of 3 runs in 3 groups" in done.out
    assert mbrl("resume", "sweep").out.startswith("sweep     sweep: 4 runs: 3 finished, 1 to start")


def test_the_trace_of_a_failed_job_is_named(mbrl, raise_at_call, tmp_path):
    raise_at_call(Env, "reset", 9, ValueError("no such\nroad"))
    done = mbrl("train", "-m", *SMALL, "seed=0,1,2", "hydra.sweep.dir=a b")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("mbrl: s")
    assert " failed: ValueError: no such road (conftest.py, line " in line
    name = line.split()[1]
    assert f"; to see the trace type: cat 'a b/{name}/fault.txt'; to try again" in line
    assert "ValueError: no such" in (tmp_path / "a b" / name / "fault.txt").read_text()
    assert len(list((tmp_path / "a b").glob("*/checkpoint.safetensors"))) == 2
    assert mbrl("resume", "a b").code == 0
    assert len(list((tmp_path / "a b").glob("*/checkpoint.safetensors"))) == 3


def test_a_sweep_of_somebody_else_is_not_started(mbrl, tmp_path):
    assert mbrl("train", "-m", *SMALL, "seed=0,1", "hydra.sweep.dir=sweep").code == 0
    record = tmp_path / "sweep" / "sweep.json"
    content = json.loads(record.read_text())
    content["words"].append("env.reward=evil:function")
    record.write_text(json.dumps(content))
    done = mbrl("resume", "sweep")
    assert done.code == 2
    assert "sweep.json: was not written by you on this machine" in done.err
    content["words"].pop()
    (tmp_path / "sweep" / "origin.json").unlink()
    record.write_text(json.dumps(content))
    assert mbrl("resume", "sweep").code == 2
    done = mbrl("resume", "sweep", "seed=0,1,2", "--trust")
    assert (done.code, done.err) == (0, "")
    assert "3 runs: 2 finished, 1 to start" in done.out
    record.write_text('{"jobs": [')
    assert "sweep.json: is damaged; type the command" in mbrl("resume", "sweep").err


def test_few_jobs_are_built_before_the_first_one_starts():
    def jobs(*words):
        return [RecordedJob(list(overrides), None) for overrides in words]

    grid = jobs(
        *(
            (f"planner={planner}", f"planner.horizon={horizon}", f"seed={seed}")
            for planner in ("cem", "mcts")
            for horizon in (5, 10, 20)
            for seed in range(30)
        )
    )
    # Of 180 jobs: for each planner the first job, and the first one with each further horizon.
    assert [grid.index(job) for job in jobs_to_build(grid)] == [0, 30, 60, 90, 120, 150]
    values = jobs(*((f"planner.horizon={horizon}",) for horizon in range(1, 102)))
    # The first job, and 5 of the other 100, evenly spaced.
    assert [values.index(job) for job in jobs_to_build(values, 5)] == [0, 1, 26, 51, 75, 100]


def test_the_remaining_time_of_all_jobs():
    now = [100.0]
    progress = SimpleNamespace(env_step=0, total_steps=1000, seconds_left=lambda: 80.0)
    # One job waits from the start, another has 750 of its 1000 steps: 1.25 jobs of 80 s remain.
    job = JobInSweep("cem_s1", 2, 4, [0, 750], clock=lambda: now[0])
    assert job.label == "2/4 cem_s1"
    assert job.seconds_of_all(progress) == 80 + 1.25 * 80
    now[0], progress.env_step = 150.0, 500
    progress.seconds_left = lambda: 40.0
    # The job takes 50 s + 40 s. Two at a time need half of the time for the others.
    assert job.seconds_of_all(progress) == 40 + 1.25 * 90
    two = JobInSweep("cem_s1", 2, 4, [0, 750], parallel=2, full_seconds=60)
    assert two.seconds_of_all(progress) == 40 + 1.25 * 60 / 2
    assert JobInSweep("last", 4, 4, []).seconds_of_all(progress) is None
    progress.seconds_left = lambda: None
    assert job.seconds_of_all(progress) is None


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (95, "2/4 cem_s1   50 %  500/1,000  planning  return 9  0:00:40 left  all jobs 0:02:35"),
        (60, "2/4 cem_s1   50 %  planning  0:00:40 left  all jobs 0:02:35"),
        (32, "2/4 …_s1  planning  0:00:40 left"),
    ],
)
def test_the_line_of_a_job_has_its_place_and_the_time_of_all_jobs(width, line):
    progress = SimpleNamespace(
        env_step=500, total_steps=1000, seconds_left=lambda: 40.0, phase=lambda: "planning",
        is_lower_bound=lambda: False,
    )  # fmt: skip
    job = JobInSweep("cem_s1", 2, 4, [0, 750], full_seconds=92)  # 40 + 1.25 * 92 = 155 s
    assert progress_line(progress, {"train/return": 9.0}, width, job.label, job) == line


@pytest.mark.resume
@pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None,
    reason="needs the extra joblib",
)
def test_parallel_jobs_save_their_state_when_the_sweep_is_stopped(mbrl, tiny_run, tmp_path):
    words = ["-m", "seed=0,1,2", *tiny_run, "total_steps=200"]
    assert mbrl("train", *words, "hydra.sweep.dir=one").code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "mbrl_cli", "train", *words, "hydra.sweep.dir=two",
         "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while len(list(tmp_path.glob("two/*/checkpoints"))) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)  # the two workers get it from the first process
    _, err = process.communicate(timeout=100)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped and saved" in err
    assert err.endswith("mbrl: to continue the sweep type: mbrl resume two\n")
    done = mbrl("resume", "two", "hydra/launcher=basic")
    assert done.code == 0, done.err
    for seed in range(3):
        assert_same_outcome(tmp_path / "one" / f"s{seed}", tmp_path / "two" / f"s{seed}")
