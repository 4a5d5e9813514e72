"""Measure whether the same task in other units of observations and rewards gives the same result.

    python benchmarks/units.py --out runs/units [--only sac mbpo] [--steps 200]

Every agent learns `unit_cart.py` with observations, and then with rewards, multiplied by each of
`SCALES`. The table shows the final returns, divided by the unit of the reward. Other factors than
powers of two change the last digits of float32 numbers, so single runs differ as much as runs with
other seeds do; those are in the last column. Runs whose folder is complete are not run again.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import mbrl_cli as mbrl

HERE = Path(__file__).resolve().parent
SCALES = (1e-8, 1e-4, 1.0, 1e4, 1e8)
OTHER_SEEDS = (1, 2)

RUN = (
    "env=gym env.id=unit_cart:UnitCart-v0 prefill_steps=100 eval_every=0 final_eval_episodes=10 "
    "console=false device=cpu threads=1"
)
PLAN = "planner.horizon=10 planner.population=50 planner.iterations=2"
FIT = "model.max_steps=300"
BUTTONS = "env.kwargs.buttons=true"
SAC = "agent.sac.hidden=[64,64] agent.sac.batch_size=64 agent.sac.updates_per_step=4"
AGENTS = {
    "mpc, linear": f"agent=mpc model=linear {PLAN}",
    "mpc, mlp": f"agent=mpc model=mlp {PLAN} {FIT}",
    "mpc, gaussian_ensemble": f"agent=mpc {PLAN} {FIT}",
    "mpc, explore=disagreement": f"agent=mpc agent.explore=disagreement {PLAN} {FIT}",
    "mpc, terminal value": f"agent=mpc agent.terminal_value=true {PLAN} {FIT} {SAC}",
    "mpc, mcts, terminal value": (
        f"agent=mpc planner=mcts agent.terminal_value=true planner.num_simulations=16 {FIT} {SAC} "
        f"{BUTTONS}"
    ),
    "planet": f"agent=planet {PLAN} model.fit_steps=50 model.batch_size=8 model.sequence_length=20",
    "sac": "agent=sac agent.hidden=[64,64] agent.batch_size=64 agent.updates_per_step=4",
    "sac, discrete": (
        f"agent=sac agent.hidden=[64,64] agent.batch_size=64 agent.updates_per_step=4 {BUTTONS}"
    ),
    "mbpo": f"agent=mbpo {FIT} {SAC}",
    "mbpo, act=plan": f"agent=mbpo agent.act=plan planner=cem {PLAN} {FIT} {SAC}",
    "dreamer": (
        "agent=dreamer agent.replay_ratio=1 model.batch_size=8 model.sequence_length=20 "
        "agent.actor_critic.rollouts=96"
    ),
    "tdmpc2": "agent=tdmpc2 agent.batch_size=64 planner.population=32",
    "muzero": f"agent=muzero planner.num_simulations=8 {BUTTONS}",
    "alphazero, mlp": f"agent=alphazero model=mlp planner.num_simulations=8 {FIT} {BUTTONS}",
}


def final_return(folder: Path, words: str) -> float:
    """Return the mean return of the final evaluation; start the run if it is not complete."""
    if (folder / "checkpoint.safetensors").exists():
        run = mbrl.load_run(folder)
    else:
        run = mbrl.train([*words.split(), f"hydra.run.dir={folder}"])
    if run.final_return is None:
        raise RuntimeError(f"{folder}: the run has no final evaluation")
    return run.final_return


def measure(name: str, out: Path, steps: int) -> list[str]:
    """Return one line of the table: observation scales, reward scales, other seeds."""

    def result(unit: float = 1.0, coin: float = 1.0, seed: int = 0) -> str:
        folder = out / f"{name.replace(', ', '-')}_{unit:g}_{coin:g}_{seed}"
        words = f"{RUN} {AGENTS[name]} total_steps={steps} seed={seed}"
        words += f" env.kwargs.unit={unit} env.kwargs.coin={coin}"
        return f"{final_return(folder, words) / coin:.2f}"

    return [
        *(result(unit=scale) for scale in SCALES),
        *(result(coin=scale) for scale in SCALES if scale != 1.0),
        ", ".join(result(seed=seed) for seed in OTHER_SEEDS),
    ]


def main() -> None:
    """Print the table of all agents, or of those named by `--only`; write it to OUT/table.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--only", nargs="*", default=[], help="names of agents, or parts of them")
    parser.add_argument("--steps", type=int, default=200, help="environment steps of a run")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    os.chdir(HERE)  # the current folder is searched for the environment's module
    columns = [f"obs {scale:g}" for scale in SCALES]
    columns += [f"reward {scale:g}" for scale in SCALES if scale != 1.0]
    table = ["| agent | " + " | ".join([*columns, "seeds 1, 2"]) + " |", "|---" * 11 + "|"]
    for name in AGENTS:
        if not arguments.only or any(part in name for part in arguments.only):
            line = measure(name, out, arguments.steps)
            table.append(f"| {name} | " + " | ".join(line) + " |")
            (out / "table.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    print("\n".join(table))


if __name__ == "__main__":
    main()
