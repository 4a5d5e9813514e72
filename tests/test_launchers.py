"""Launchers of sweeps: their configs, a missing extra, and a job that is requeued by a signal."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException
from test_resume import assert_same_outcome

from mbrl_cli.config.composition import compose_with_hydra
from mbrl_cli.config.hydra_errors import explain_hydra_error
from mbrl_cli.config.launcher_check import check_launcher
from mbrl_cli.config.launcher_errors import explain_launcher_error
from mbrl_cli.errors import UserError

SUBMITIT = "hydra_plugins.hydra_submitit_launcher"
WAITING = """
import pathlib, time
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Waiting(CartPoleEnv):
    steps = 0

    def step(self, action):
        self.steps += 1
        while self.steps == 45 and not pathlib.Path("go").exists():
            time.sleep(0.01)
        return super().step(action)

gymnasium.register("Waiting-v0", Waiting)
"""


def launcher(*words):
    return compose_with_hydra(words).hydra.launcher


def test_a_job_of_slurm_is_requeued_after_its_time_limit_and_a_failure_of_its_node():
    pytest.importorskip(SUBMITIT)
    config = launcher("hydra/launcher=slurm")
    assert config.additional_parameters.requeue is True
    assert config.max_num_timeout > 100
    assert config.cpus_per_task == 1
    assert launcher("hydra/launcher=slurm", "threads=3").cpus_per_task == 3


@pytest.mark.parametrize(
    ("exit_code", "restarts", "requeues"),
    [("137", "", True), ("137", "9", True), ("137", "10", False), ("1", "", False)],
)
def test_the_batch_script_requeues_a_killed_job_at_most_ten_times(
    tmp_path, exit_code, restarts, requeues
):
    pytest.importorskip(SUBMITIT)
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho $@\n")
    scontrol.chmod(0o755)
    lines = [*launcher("hydra/launcher=slurm").setup, "echo cpus $OMP_NUM_THREADS"]
    environ = {"SLURM_RESTART_COUNT": restarts} if restarts else {}
    done = subprocess.run(
        ["bash", "-c", "\n".join([*lines, f"(exit {exit_code})"])], capture_output=True, text=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
        | {"SLURM_CPUS_PER_TASK": "2"} | environ,
    )  # fmt: skip
    assert done.stdout == "cpus 2\n" + "requeue 7\n" * requeues


def test_a_task_of_ray_is_started_again_and_has_one_cpu_per_thread():
    config = launcher("hydra/launcher=ray", "threads=2").ray
    assert config.init.address == "auto"
    assert config.remote.num_cpus == 2
    assert config.remote.max_retries > 0


def test_a_missing_launcher_is_explained_with_the_command_that_installs_it(monkeypatch):
    error = MissingConfigException("", "hydra/launcher/submitit_slurm", [])
    assert explain_hydra_error(error) == (
        "hydra/launcher=slurm: is not installed; "
        'in the clone of mbrl type: pip install -c constraints.txt ".[slurm]"'
    )
    monkeypatch.setattr("mbrl_cli.config.launcher_check.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -r requirements-ray[.]txt"):
        check_launcher(launcher("hydra/launcher=ray")._target_)


def test_the_launcher_of_slurm_needs_its_commands(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="srun is not found"):
        check_launcher(f"{SUBMITIT}.submitit_launcher.SlurmLauncher")


@pytest.mark.resume
def test_a_job_that_a_signal_requeues_equals_an_uninterrupted_run(mbrl, tiny_run, tmp_path):
    pytest.importorskip(SUBMITIT)
    (tmp_path / "waiting.py").write_text(WAITING)
    words = ["train", *tiny_run, "env=gym", "env.id=waiting:Waiting-v0"]
    (tmp_path / "go").touch()
    assert mbrl(*words, "hydra.run.dir=reference").code == 0
    (tmp_path / "go").unlink()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "mbrl_cli", *words, "-m", "hydra/launcher=submitit_local",
            "hydra.sweep.dir=sweep", "hydra.sweep.subdir=run",
        ],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    run = tmp_path / "sweep" / "run"
    with process:
        while not list(run.glob("checkpoints/*.safetensors")):
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(int((run / ".lock").read_text()), signal.SIGUSR2)
        (tmp_path / "go").touch()
    assert process.returncode == 0
    assert_same_outcome(tmp_path / "reference", run)


def error_of(package, text):
    """Return an error whose class is in a package that need not be installed."""
    return type("Error", (RuntimeError,), {"__module__": f"{package}.core"})(text)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            error_of("submitit", "sbatch: error: invalid partition\nsbatch: error: Batch failed\n"),
            "hydra/launcher=slurm: SLURM refuses the jobs: invalid partition; Batch failed",
        ),
        (
            error_of(
                "submitit",
                "Job 4_0 (task: 0) with path /s/.submitit/4_0/4_0_0_result.pkl\n"
                "has not produced any output (state: CANCELLED by 0)\nError stream produced:\n...",
            ),
            "hydra/launcher=slurm: job 4_0 ended without a result (CANCELLED by 0), its output is "
            "in /s/.submitit/4_0; the other jobs continue, squeue shows them",
        ),
        (
            ConnectionError("Could not find any running Ray instance. Please ..."),
            "hydra/launcher=ray: no Ray cluster was found; to start one type: ray start --head, "
            "or set RAY_ADDRESS=HOST:PORT",
        ),
        (error_of("ray", "The worker died\nbecause"), "hydra/launcher=ray: The worker died"),
        (RuntimeError("another"), None),
    ],
)
def test_a_cluster_that_refuses_or_loses_jobs_is_explained_in_one_line(error, says):
    assert explain_launcher_error(error) == says
