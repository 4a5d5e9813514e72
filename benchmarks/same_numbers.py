"""Check that a refactoring changed no number: run every agent in two checkouts, compare the rows.

    python benchmarks/same_numbers.py --against ../another_checkout [--only sac mcts] [--jobs 1]

Each case is a run of seconds. The same command and seed must give the same metrics.csv in both
checkouts, `time/` rows aside. The exit code is 1 if a case differs or fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Key in this checkout -> its name in the other one, for keys that were renamed in between.
RENAMED_KEYS: dict[str, str] = {}
# The same for tags in metrics.csv.
RENAMED_TAGS: dict[str, str] = {}
# Tags that only one of the checkouts logs: their rows are not compared.
OTHER_TAGS = (
    ",time/", ",model/holdout_loss/member_", ",model/holdout_loss_spread,",
    ",model/termination_rate,", ",model/true_termination_rate,", ",model/termination_precision,",
    ",model/termination_recall,", ",model/coverage_90,", ",model/reward_error_k",
    ",model/reward_baseline_k",
)  # fmt: skip

SHORT = (
    "total_steps=160 prefill_steps=60 eval_every=60 eval_episodes=2 final_eval_episodes=2 "
    "log_every=20 checkpoint_every=50 env.max_episode_steps=40 console=false device=cpu threads=1 "
    "seed=3"
)
FIT = "agent.fit_every=30 model.max_steps=60 model.check_every=20 model.termination_steps=30"
PLAN = "planner.horizon=8 planner.population=20"
SEARCH = "planner.num_simulations=8"
POLICY_PLANS = (
    "agent.batch_size=8 agent.pretrain_steps=5 agent.log_every=20 planner.population=16 "
    "planner.iterations=2 agent.proposals=2"
)
SAC = "agent.sac.batch_size=32 agent.sac.hidden=[16,16] agent.sac.log_every=20"
DREAM = (
    "model.batch_size=4 model.sequence_length=10 agent.pretrain_steps=5 agent.log_every=20 "
    "agent.actor_critic.rollouts=24 agent.actor_critic.rollout_length=5"
)
CASES = {
    "random": "agent=random env=cartpole",
    "pets": f"agent=pets env=cartpole {FIT} {PLAN}",
    "mpc-cem": f"agent=mpc env=cartpole env.termination=learned {FIT} {PLAN}",
    "mpc-icem": f"agent=mpc env=pendulum planner=icem model=ensemble {FIT} {PLAN}",
    "mpc-mppi": f"agent=mpc env=cartpole_continuous planner=mppi model=mlp {FIT} {PLAN}",
    "mpc-shooting": "agent=mpc env=gridworld planner=random_shooting model=linear",
    "mpc-replan": f"agent=mpc env=pendulum planner.replan_every=3 planner.risk=0.3 {FIT} {PLAN}",
    "mpc-noise": f"agent=mpc env=pendulum agent.explore=noise model=mlp {FIT} {PLAN}",
    "mpc-ts1": (
        f"agent=mpc env=cartpole model.propagation=ts1 agent.explore=disagreement {FIT} {PLAN}"
    ),
    "mpc-elites": (
        "agent=mpc env=pendulum model.num_elites=3 model.num_particles=6 "
        f"model.bootstrap=false model.fit_from=scratch {FIT} {PLAN}"
    ),
    "mpc-value": (
        f"agent=mpc env=pendulum agent.terminal_value=true {FIT} {PLAN} {SAC} "
        "agent.sac.updates_per_step=1"
    ),
    "mpc-mcts": f"agent=mpc env=gridworld planner=mcts planner.leaf_plans=8 {FIT} {SEARCH}",
    "mpc-mcts-sampled": f"agent=mpc env=pendulum planner=mcts model=mlp {FIT} {SEARCH}",
    "mpc-rssm": (
        f"agent=mpc env=pendulum model=rssm {PLAN} model.fit_steps=5 model.batch_size=4 "
        "agent.fit_every=30"
    ),
    "mpc-latent": (
        f"agent=mpc env=cartpole model=latent {PLAN} model.fit_steps=5 model.batch_size=4 "
        "agent.fit_every=30"
    ),
    "oracle": f"agent=mpc env=cartpole model=oracle {PLAN}",
    "oracle-copies": (
        "agent=mpc env=gym env.id=MountainCar-v0 model=oracle planner.horizon=3 "
        "planner.population=6 prefill_steps=40 total_steps=80"
    ),
    "oracle-random": (
        "agent=mpc env=gym env.id=FrozenLake-v1 model=oracle planner=mcts planner.outcomes=10 "
        f"planner.transpositions=true {SEARCH}"
    ),
    "sac": (
        "agent=sac env=pendulum agent.batch_size=32 agent.hidden=[16,16] agent.layer_norm=true "
        "agent.log_every=20"
    ),
    "sac-discrete": "agent=sac env=cartpole agent.batch_size=32 agent.hidden=[16,16]",
    "mbpo": f"agent=mbpo env=cartpole {FIT} {SAC} agent.sac.updates_per_step=2",
    "mbpo-auto": (
        f"agent=mbpo env=pendulum agent.rollout_length=auto {FIT} {SAC} "
        "agent.sac.updates_per_step=2"
    ),
    "mbpo-plan": (
        f"agent=mbpo env=pendulum agent.act=plan planner=cem {FIT} {PLAN} {SAC} "
        "agent.sac.updates_per_step=1"
    ),
    "dreamer": f"agent=dreamer env=cartpole env.termination=learned {DREAM}",
    "dreamer-known": f"agent=dreamer env=cartpole {DREAM}",
    "dreamer-latent": f"agent=dreamer env=pendulum model=latent {DREAM}",
    "dreamer-pixels": f"agent=dreamer env=gridworld env.obs=pixels {DREAM}",
    "dreamer-swingup": f"experiment=dreamer_cartpole {DREAM}",
    "alphazero": f"agent=alphazero env=gridworld model=mlp {FIT} {SEARCH} agent.batch_size=8",
    "alphazero-oracle": (
        f"agent=alphazero env=gridworld model=oracle {SEARCH} agent.batch_size=8 prefill_steps=60"
    ),
    "tdmpc2": f"agent=tdmpc2 env=pendulum {POLICY_PLANS}",
    "tdmpc2-discrete": f"agent=tdmpc2 env=cartpole {POLICY_PLANS}",
    "muzero": f"agent=alphazero env=cartpole {SEARCH} agent.batch_size=8",
    "muzero-gumbel": f"experiment=muzero_cartpole {SEARCH} agent.batch_size=8",
}


def rows(checkout: Path, words: str, renamed: dict[str, str], folder: Path) -> list[str] | str:
    """Run `mbrl train` from a checkout; return the rows of metrics.csv, or the last error line."""
    keys = []
    for word in words.split():
        key, _, value = word.partition("=")
        keys.append(f"{renamed.get(key, key)}={value}")
    command = [sys.executable, "-m", "mbrl_cli", "train", *keys, f"hydra.run.dir={folder}"]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return f"exit code {done.returncode}: {(done.stderr.strip() or 'silent').splitlines()[-1]}"
    lines = (folder / "metrics.csv").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not any(tag in line for tag in OTHER_TAGS)]


def compare(name: str, against: Path) -> str:
    """Run one case in both checkouts; return "same" with the number of rows, or what differs."""
    words = f"{SHORT} {CASES[name]}"
    with tempfile.TemporaryDirectory() as folder:
        here = rows(ROOT, words, {}, Path(folder) / "here")
        there = rows(against, words, RENAMED_KEYS, Path(folder) / "there")
    if isinstance(here, str) or isinstance(there, str):
        return (
            f"FAILED here: {here}; there: {there}" if isinstance(here, str) else f"FAILED {there}"
        )
    old_name = {new: old for old, new in RENAMED_TAGS.items()}
    expected = []
    for line in there:
        step, tag, value = line.split(",")
        expected.append(f"{step},{old_name.get(tag, tag)},{value}")
    if here == expected:
        return f"same, {len(here)} rows"
    if len(here) != len(expected):
        return f"DIFFERS: {len(here)} rows, {len(expected)} there"
    first = next(i for i, pair in enumerate(zip(here, expected, strict=True)) if len(set(pair)) > 1)
    return f"DIFFERS from row {first} on: {here[first]}, there {expected[first]}"


def main() -> None:
    """Compare all cases, or those named by `--only`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, required=True, help="the other checkout")
    parser.add_argument("--only", nargs="*", default=[], help="names of cases, or parts of them")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    chosen = [n for n in CASES if not arguments.only or any(part in n for part in arguments.only)]
    against = arguments.against.resolve()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        outcomes = pool.map(lambda name: compare(name, against), chosen)
        failures = 0
        for name, outcome in zip(chosen, outcomes, strict=True):
            print(f"{name:18} {outcome}", flush=True)
            failures += not outcome.startswith("same")
    print(f"{len(chosen) - failures} of {len(chosen)} the same")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
