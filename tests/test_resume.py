"""An interrupted and resumed run equals an uninterrupted one to the bit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from run_outcome import assert_same_outcome

from mbrl_cli.checkpoint import load_checkpoint, save_checkpoint
from mbrl_cli.config.saved_config import config_record
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import StopRequested
from mbrl_cli.lock import locked
from mbrl_cli.models.ensemble import Ensemble

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("env", ["cartpole", "pendulum"])
def test_a_resumed_run_equals_an_uninterrupted_one_wherever_it_was_stopped(
    mbrl, tiny_run, raise_at_call, tmp_path, env
):
    words = ["train", f"env={env}", *tiny_run]
    assert mbrl(*words, "hydra.run.dir=uninterrupted").code == 0
    # Steps of evaluations count too: step 5 is in the prefill, the others are in all later phases.
    for number, (method, at) in enumerate([("step", 5), ("step", 47), ("step", 66), ("reset", 6)]):
        raise_at_call(Env, method, at, StopRequested(signal.SIGTERM))
        done = mbrl(*words, f"hydra.run.dir=interrupted{number}")
        assert done.code == 128 + signal.SIGTERM
        where = tmp_path / f"interrupted{number}"
        nothing_saved = (
            "; no episode had ended, so nothing is saved and it starts again from step 0"
        )
        saved = nothing_saved if number == 0 else " and saved"
        assert done.err == f"mbrl: stopped{saved}; to resume type: mbrl resume {where}\n"
        assert mbrl("resume", f"interrupted{number}").code == 0
        assert_same_outcome(tmp_path / "uninterrupted", tmp_path / f"interrupted{number}")
    raise_at_call(Ensemble, "fit", 3, StopRequested(signal.SIGINT))
    assert mbrl(*words, "hydra.run.dir=fit").code == 128 + signal.SIGINT
    assert mbrl("resume", "fit").code == 0
    assert_same_outcome(tmp_path / "uninterrupted", tmp_path / "fit")


RUN = [
    "env=cartpole", "total_steps=50", "prefill_steps=20", "eval_every=0", "final_eval_episodes=1",
    "env.max_episode_steps=10", "checkpoint_every=10", "console=false", "device=cpu",
]  # fmt: skip
SAC = ["agent.sac.hidden=[8]", "agent.sac.batch_size=8", "agent.sac.updates_per_step=1"]
PLANNER = [
    "planner=cem", "planner.horizon=3", "planner.population=12", "planner.iterations=1",
]  # fmt: skip
PLANS_OF_POLICY = ["planner.population=12", "planner.iterations=2", "agent.proposals=2"]
MODEL = ["model.max_steps=5", "model.hidden=[8]", "agent.fit_every=10"]
LATENT = [
    "model.fit_steps=2", "model.batch_size=2", "model.sequence_length=4", "agent.fit_every=10",
]  # fmt: skip
AGENTS = {
    "terminal value": ["agent=mpc", "agent.terminal_value=true", *PLANNER, *MODEL, *SAC],
    "sac": ["agent=sac", "agent.hidden=[8]", "agent.batch_size=8"],
    "mbpo": ["agent=mbpo", "agent.rollouts=20", *MODEL, *SAC],
    "mbpo with assessed actors": [
        "agent=mbpo", "agent.rollouts=20", "agent.sac.assess_rounds=1", *MODEL, *SAC,
    ],
    "mbpo that plans": ["agent=mbpo", "agent.act=plan", *PLANNER, *MODEL, *SAC],
    "mbpo on a linear model": ["agent=mbpo", "model=linear", "agent.fit_every=10", *SAC],
    "mpc on a linear model": ["agent=mpc", "model=linear", "agent.fit_every=10", *PLANNER],
    "mpc on one network": ["agent=mpc", "model=mlp", *PLANNER, *MODEL],
    "mpc on an ensemble": ["agent=mpc", "model=ensemble", *PLANNER, *MODEL],
    "mpc on a recurrent model": ["agent=mpc", "model=rssm", *PLANNER, *LATENT],
    "mpc on a latent model": ["agent=mpc", "model=latent", *PLANNER, *LATENT],
    "mpc with a perfect model": ["agent=mpc", "model=oracle", *PLANNER],
    "alphazero on a linear model": [
        "agent=alphazero", "model=linear", "planner.num_simulations=2", "agent.batch_size=4",
    ],
    "dreamer on a latent model": [
        "agent=dreamer", "model=latent", "agent.pretrain_steps=2", "agent.replay_ratio=0.2",
        "model.batch_size=2", "model.sequence_length=4",
    ],
    "dreamer": [
        "agent=dreamer", "agent.pretrain_steps=2", "agent.replay_ratio=0.2", "model.batch_size=2",
        "model.sequence_length=4",
    ],
    "tdmpc2": ["agent=tdmpc2", *PLANS_OF_POLICY, "agent.batch_size=4", "agent.pretrain_steps=2"],
    "tdmpc2 from images": [
        "env=gridworld", "env.obs=pixels", "agent=tdmpc2", *PLANS_OF_POLICY, "agent.batch_size=4",
        "agent.pretrain_steps=2",
    ],
    "alphazero": ["agent=alphazero", "planner.num_simulations=2", "agent.batch_size=4"],
    "alphazero on a model of observations": [
        "agent=alphazero", "model=mlp", "planner.num_simulations=2", "agent.batch_size=4", *MODEL,
    ],
}  # fmt: skip


@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_can_be_resumed_and_evaluated(mbrl, raise_at_call, tmp_path, agent):
    words = ["train", *RUN, *AGENTS[agent]]
    assert mbrl(*words, "hydra.run.dir=uninterrupted").code == 0
    raise_at_call(Env, "step", 45, StopRequested(signal.SIGTERM))
    assert mbrl(*words, "hydra.run.dir=interrupted").code == 128 + signal.SIGTERM
    done = mbrl("resume", "interrupted")
    assert done.code == 0, done.err
    assert_same_outcome(tmp_path / "uninterrupted", tmp_path / "interrupted")
    assert mbrl("eval", "interrupted", "eval_episodes=1").code == 0


@pytest.mark.parametrize("agent", ["dreamer", "tdmpc2", "alphazero", "mpc with a perfect model"])
def test_parallel_episodes_are_resumed(mbrl, raise_at_call, tmp_path, agent):
    # The prefill ends at 20; the rounds of 4 episodes end at 40 and 60.
    words = [
        "train", *RUN, *AGENTS[agent], "num_envs=4", "env.max_episode_steps=5", "total_steps=60",
    ]  # fmt: skip
    assert mbrl(*words, "hydra.run.dir=uninterrupted").code == 0
    raise_at_call(Env, "step", 50, StopRequested(signal.SIGTERM))
    assert mbrl(*words, "hydra.run.dir=interrupted").code == 128 + signal.SIGTERM
    done = mbrl("resume", "interrupted")
    assert done.code == 0, done.err
    assert "from step 40\n" in done.out
    assert_same_outcome(tmp_path / "uninterrupted", tmp_path / "interrupted")
    # Another number of environments can take over.
    done = mbrl("resume", "interrupted", "num_envs=2", "total_steps=80")
    assert done.code == 0, done.err


def test_a_finished_run_is_reported_and_can_be_extended(mbrl, tiny_run, tmp_path):
    words = ["train", "env=cartpole", *tiny_run]
    assert mbrl(*words, "total_steps=90", "hydra.run.dir=long").code == 0
    assert mbrl(*words, "hydra.run.dir=short").code == 0
    done = mbrl("resume", "short")
    assert done.code == 0
    assert "finished its 60 steps already" in done.out
    done = mbrl("resume", "short", "total_steps=90")
    assert done.code == 0
    assert "total_steps: 60 -> 90" in done.out
    assert_same_outcome(tmp_path / "long", tmp_path / "short")
    assert mbrl("resume", "short", "total_steps=60").code == 2


def test_a_key_that_did_not_exist_when_the_run_started_can_be_given(mbrl, tiny_run, tmp_path):
    assert mbrl("train", *tiny_run, "hydra.run.dir=run").code == 0
    config = tmp_path / "run" / "config.yaml"
    lines = config.read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if "patience" not in line))
    for path in [*(tmp_path / "run").glob("checkpoint*.safetensors"),
                 *(tmp_path / "run" / "checkpoints").iterdir()]:  # fmt: skip
        state = load_checkpoint(path) | {"configs": [config_record(tmp_path / "run")]}
        save_checkpoint(path.parent, path.stem, state)
    # A key that the run does not name has the default of its class.
    assert mbrl("resume", "run", "total_steps=70").code == 0
    done = mbrl("resume", "run", "total_steps=80", "model.patience=3")
    assert done.code == 0, done.err
    assert "model.patience: (missing) -> 3" in done.out


def test_changed_keys_are_printed_and_the_previous_config_is_kept(mbrl, tiny_run, tmp_path):
    assert mbrl("train", *tiny_run, "hydra.run.dir=run").code == 0
    before = (tmp_path / "run" / "config.yaml").read_text()
    done = mbrl("resume", "run", "total_steps=80", "planner=random_shooting", "model.patience=2")
    assert done.code == 0
    assert "model.patience: 3 -> 2" in done.out
    assert "planner.elite_ratio: 0.2 -> (missing)" in done.out
    (kept,) = (tmp_path / "run").glob("config_until_*.yaml")
    assert kept.read_text() == before
    assert "patience: 2" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "lost segment"])
def test_a_damaged_checkpoint_is_reported_and_the_previous_one_is_used(
    mbrl, tiny_run, tmp_path, damage
):
    words = ["train", "env=cartpole", *tiny_run]
    assert mbrl(*words, "hydra.run.dir=uninterrupted").code == 0
    assert mbrl(*words, "hydra.run.dir=run").code == 0
    run = tmp_path / "run"
    (run / "checkpoint.safetensors").unlink()  # as if the run had been killed at its end
    older, newest = sorted((run / "checkpoints").iterdir())
    start, stop = load_checkpoint(newest)["segments"][-1]
    assert load_checkpoint(older)["segments"][-1][1] == start
    content = newest.read_bytes()
    if damage == "flipped":
        newest.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    elif damage == "lost segment":
        (run / "replay" / f"{start:010d}-{stop:010d}.safetensors").unlink()
    else:
        newest.write_bytes(content[: len(content) // 2 if damage == "truncated" else 0])
    done = mbrl("resume", "run")
    assert done.code == 0
    assert "the checkpoint before it is used" in done.out
    assert ("replay" if damage == "lost segment" else newest.name) in done.out
    assert_same_outcome(tmp_path / "uninterrupted", run)


def test_the_newest_checkpoints_are_kept_and_each_writes_only_new_transitions(
    mbrl, tiny_run, tmp_path
):
    assert mbrl("train", *tiny_run, "keep_checkpoints=3", "hydra.run.dir=run").code == 0
    run = tmp_path / "run"
    kept = sorted((run / "checkpoints").iterdir())
    assert len(kept) == 3
    state = load_checkpoint(kept[-1])
    segments = state["segments"]
    assert [start for start, _ in segments] == [0, *(stop for _, stop in segments[:-1])]
    for start, stop in segments:
        part = load_checkpoint(run / "replay" / f"{start:010d}-{stop:010d}.safetensors")
        assert {len(column) for column in part.values()} == {stop - start}
    assert segments[-1][1] == state["env_step"]


def test_a_second_process_in_a_run_folder_is_refused_until_the_first_ends(mbrl, tiny_run, tmp_path):
    assert mbrl("train", *tiny_run, "hydra.run.dir=run").code == 0
    with locked(tmp_path / "run"):
        done = mbrl("resume", "run", "total_steps=80")
        assert done.code == 2
        pid = os.getpid()
        assert done.err == f"mbrl: run: another process is running it, process {pid}\n"
    holder = subprocess.Popen(
        [
            sys.executable, "-c",
            "import sys, time; from pathlib import Path; from mbrl_cli.lock import locked\n"
            "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)",
            str(tmp_path / "run"),
        ],
        stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    with holder:
        assert holder.stdout.readline() == b"held\n"
        assert mbrl("resume", "run", "total_steps=80").code == 2
        holder.kill()
    assert mbrl("resume", "run", "total_steps=80").code == 0


def test_sigterm_stops_a_process_in_the_middle_of_an_episode(tiny_run, tmp_path):
    long = ["total_steps=1000000", "env.max_episode_steps=null", "env=pendulum"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mbrl_cli", "train", *tiny_run, *long, "hydra.run.dir=run"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list(tmp_path.glob("run/checkpoints/*.safetensors")):
        assert process.poll() is None
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert err == f"mbrl: stopped and saved; to resume type: mbrl resume {tmp_path / 'run'}\n"


def kill_and_resume(*arguments):
    """Run `benchmarks/kill_and_resume.py` in a process of its own, which it forks."""
    script = ROOT / "benchmarks" / "kill_and_resume.py"
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.resume
def test_runs_killed_in_each_phase_resume_to_equal_results():
    kill_and_resume("--kills", "4", "--only", "mpc linear", "--observations", "dict")


@pytest.mark.slow
def test_200_runs_of_every_agent_killed_in_each_phase_resume_to_equal_results():
    kill_and_resume("--kills", "200")
