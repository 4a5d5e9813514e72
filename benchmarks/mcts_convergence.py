"""Error of tree search against value iteration, by number of simulations.

Roots are all cells of the grid world (its true simulator) and all states of small random MDPs. No
network is used. Prints the numbers, and draws a picture with `--picture`.

    python benchmarks/mcts_convergence.py --seeds 5 --picture docs/mcts_convergence.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from timing import report

from mbrl_cli.envs.make import make_env
from mbrl_cli.planners.mcts import MCTS
from mbrl_cli.planners.tree_search.tree import root_q
from mbrl_cli.planners.world import World
from mbrl_cli.types import ActionSpec, State, Step

CPU = torch.device("cpu")
SIMULATIONS = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
SELECT = ("puct", "gumbel")


class Table(NamedTuple):
    """A finite, deterministic MDP. Axes: S states, K choices."""

    moves: torch.Tensor  # [S, K]
    rewards: torch.Tensor  # [S, K]
    continues: torch.Tensor  # [S, K]
    roots: list[int]
    discount: float
    horizon: int
    leaf_plans: int

    def optimal(self) -> np.ndarray:
        """Return Q [S, K] by value iteration."""
        q = torch.zeros_like(self.rewards)
        for _ in range(1000):
            q = self.rewards + self.discount * self.continues * q.amax(1)[self.moves]
        return q.numpy()

    def world(self) -> World:
        """Return the functions that a planner may call; a state is its number [M, 1]."""

        def step(state: State, action: torch.Tensor) -> Step:
            at, k = state["at"], action.argmax(-1)[:, None]
            return Step({"at": self.moves[at, k]}, self.rewards[at, k], self.continues[at, k])

        def rollout_returns(
            rows: State, actions: torch.Tensor, steps: torch.Tensor
        ) -> torch.Tensor:
            total, weight = torch.zeros(len(steps), 1), torch.ones(len(steps), 1)
            for t, action in enumerate(actions):
                rows, reward, continues = step(rows, action)
                total += torch.where(t < steps[:, None], weight * reward, 0.0)
                weight = weight * self.discount * continues
            return total

        choices = self.moves.shape[1]
        return World(
            ActionSpec("discrete", choices, (choices,)),
            None,  # type: ignore[arg-type]  # no plans are imagined
            lambda state, num: {"at": state["at"].repeat_interleave(num, 0)[:, None]},
            step,
            self.discount,
            rollout_returns,
        )


def random_mdp(seed: int) -> Table:
    """Return 10 states, 3 choices, normal rewards."""
    rng = np.random.default_rng(seed)
    moves = torch.from_numpy(rng.integers(10, size=(10, 3)))
    rewards = torch.from_numpy(rng.normal(size=(10, 3))).float()
    return Table(moves, rewards, torch.ones(10, 3), list(range(10)), 0.8, 60, 0)


def grid_world(seed: int) -> Table:
    """Return the grid world of the default size; the seed only matters for the search."""
    env = make_env("mbrl/GridWorld-v0")
    simulator = env.spec.simulator
    assert simulator is not None
    size = 5
    cells = torch.tensor([[x, y] for x in range(size) for y in range(size)]).float()
    obs, action = cells[:, None].expand(-1, 4, -1), torch.eye(4).expand(len(cells), -1, -1)
    after = simulator.step(obs, action)
    moves = (after[..., 0] * size + after[..., 1]).long()
    ended = simulator.terminated(obs, action, after)
    maze: Any = env.gym.unwrapped
    blocked = {x * size + y for x, y in [*maze.obstacles, maze.goal]}
    roots = [cell for cell in range(len(cells)) if cell not in blocked]
    reward = simulator.reward(obs, action, after)
    return Table(moves, reward, 1.0 - ended.float(), roots, 0.95, 25, 8)


def measure(table: Table, select: str, simulations: int, seed: int) -> tuple[float, float]:
    """Return the mean error of the root values / range of Q, and the fraction of wrong actions."""
    choices = table.moves.shape[1]
    planner = MCTS(
        ActionSpec("discrete", choices, (choices,)),
        CPU,
        num_simulations=simulations,
        select=select,
        horizon=table.horizon,
        leaf_plans=table.leaf_plans,
    )
    roots = {"at": torch.tensor(table.roots)}
    generator = torch.Generator().manual_seed(seed)
    memory = planner.initial_memory(len(table.roots))
    result = planner.search(table.world(), roots, memory, generator)
    optimal = table.optimal()[table.roots]  # [B, K]
    best = optimal.max(1)
    trees = np.arange(len(best))
    value = root_q(result.tree)[trees, result.action]
    q_range = table.optimal().max() - table.optimal().min()
    regret = best - optimal[trees, result.action]
    return float(np.abs(value - best).mean() / q_range), float((regret > 1e-4 * q_range).mean())


def draw(rows: Sequence[dict[str, Any]], picture: Path) -> None:
    """Draw both errors over simulations."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), constrained_layout=True)
    for world, line in (("random MDPs", "-"), ("grid world", "--")):
        for select, colour in zip(SELECT, ("tab:blue", "tab:orange"), strict=True):
            own = [row for row in rows if (row["world"], row["select"]) == (world, select)]
            x = [row["simulations"] for row in own]
            for axis, key in zip(axes, ("value_error", "wrong_actions"), strict=True):
                axis.plot(x, [row[key] for row in own], line, color=colour, marker=".",
                          label=f"{world}, {select}")  # fmt: skip
    for axis, title in zip(
        axes, ("error of the root's value / range of Q", "fraction of roots with a wrong action"),
        strict=True,
    ):  # fmt: skip
        axis.set(xscale="log", xlabel="simulations", title=title, ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(picture, dpi=110)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-simulations", type=int, default=SIMULATIONS[-1])
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for world, make in (("random MDPs", random_mdp), ("grid world", grid_world)):
        for select in SELECT:
            for simulations in SIMULATIONS:
                if simulations > args.max_simulations:
                    continue
                errors = [measure(make(s), select, simulations, s) for s in range(args.seeds)]
                value, wrong = np.mean(errors, axis=0)
                rows.append(
                    {"world": world, "select": select, "simulations": simulations,
                     "value_error": float(value), "wrong_actions": float(wrong)}
                )  # fmt: skip
    report(rows, args.out, seeds=args.seeds)
    if args.picture:
        draw(rows, args.picture)


if __name__ == "__main__":
    main()
