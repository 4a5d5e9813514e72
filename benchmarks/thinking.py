r"""Return against the thought behind each decision, for a list of planners.

Plays evaluation episodes with every planner at every budget, on the true simulator or on the models
of saved runs, and prints a table; `--picture` draws return over model steps per decision.

    python benchmarks/thinking.py env=pendulum model=oracle --seeds 5 --picture thinking.png \
        --planner cem --budgets 10 30 100 300 --planner icem --budgets 10 30 100
    python benchmarks/thinking.py --run outputs/RUN_SEED_0 --run outputs/RUN_SEED_1 --planner icem

A budget is the number of plans that a decision looks at, over all iterations, or of simulations for
planner=mcts; model steps are counted. A planner in quotes may carry settings:
--planner "icem planner.noise_beta=3".
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mbrl_cli.config.build import RunObjects, build
from mbrl_cli.config.groups import config_dir
from mbrl_cli.config.resolvers import register_resolvers
from mbrl_cli.config.saved_run import load_saved_run
from mbrl_cli.evaluation import evaluate
from mbrl_cli.threads_and_malloc import set_threads_and_malloc

matplotlib.use("agg")
from matplotlib import pyplot as plt


@dataclass(frozen=True)
class Measured:
    """What one planner reached with one budget."""

    planner: str
    budget: int | None  # plans or simulations per decision that were asked for
    model_steps: float  # per decision and environment, particles counted
    milliseconds: float  # median per decision and environment, several planned at once
    returns: list[float]  # mean over the episodes of each seed

    @property
    def mean(self) -> float:
        """Mean return over the seeds."""
        return statistics.fmean(self.returns)

    @property
    def standard_error(self) -> float:
        """Standard error of that mean."""
        return statistics.stdev(self.returns) / len(self.returns) ** 0.5 if self.returns[1:] else 0


def main() -> None:
    """Measure, print, and write what `--out` and `--picture` ask for."""
    options = _options()
    set_threads_and_malloc(options.threads)
    sources: list[Path | int] = options.run or list(range(options.seeds))
    measured = []
    for planner, budgets in options.planner:
        for budget in budgets or [None]:
            result = _measure(planner, budget, sources, options)
            measured.append(result)
            print(
                f"{result.planner:40s} {budget or 'its own':>7} {result.model_steps:9,.0f} steps"
                f" {result.milliseconds:8.2f} ms   return {result.mean:8.2f}"
                f" +- {result.standard_error:.2f}",
                flush=True,
            )
    if options.out:
        rows = [asdict(result) for result in measured]
        options.out.write_text(json.dumps(rows, indent=2) + "\n")
    if options.picture:
        _draw(measured, options.picture)


class _Planner(argparse.Action):
    """Collects `--planner NAME [--budgets ...]` pairs in their order."""

    def __call__(self, parser, namespace, values, option_string=None):  # type: ignore[no-untyped-def]
        pairs = getattr(namespace, "planner", None) or []
        if option_string == "--planner":
            pairs.append((values, []))
        else:
            pairs[-1][1].extend(values)
        namespace.planner = pairs


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", help="env=..., model=oracle and other keys")
    parser.add_argument("--run", type=Path, action="append", help="a saved run, one for each seed")
    parser.add_argument("--planner", action=_Planner, required=True)
    parser.add_argument("--budgets", action=_Planner, nargs="+", type=int)
    parser.add_argument("--seeds", type=int, default=5, help="without --run")
    parser.add_argument("--episodes", type=int, default=5, help="of each seed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file for the numbers as JSON")
    parser.add_argument("--picture", type=Path, help="file for the picture")
    return parser.parse_args()


def _measure(
    planner: str, budget: int | None, sources: list[Path | int], options: argparse.Namespace
) -> Measured:
    returns, times, steps = [], [], 0
    for seed, source in enumerate(sources):
        overrides = _with_budget(planner, budget)
        if isinstance(source, Path):
            parts, _ = load_saved_run(source, [*overrides, f"seed={seed}"])
        else:
            parts = _compose([*options.overrides, *overrides, f"seed={source}"])
        decide = parts.agent.planning.planner.plan  # type: ignore[attr-defined]
        counted = _count_steps(parts.agent.model)  # type: ignore[attr-defined]

        def timed(world, state, memory, *rest, decide=decide):  # type: ignore[no-untyped-def]
            start = time.perf_counter()
            plan = decide(world, state, memory, *rest)
            times.append((time.perf_counter() - start) / len(plan.actions))
            return plan

        parts.agent.planning.planner.plan = timed  # type: ignore[attr-defined]
        envs = parts.make_eval_envs(options.episodes)
        result = evaluate(parts.agent, envs, parts.settings.seed)
        returns.append(float(result.returns.mean()))
        steps += sum(counted) / sum(result.lengths)
    milliseconds = 1e3 * statistics.median(times)
    return Measured(planner, budget, steps / len(sources), milliseconds, returns)


def _count_steps(model: Any) -> list[int]:
    """Return a list that grows by the rows times particles of every step that `model` imagines."""
    counted: list[int] = []
    step, unroll = model.step, model.unroll

    def counting_step(state, action, *rest, **named):  # type: ignore[no-untyped-def]
        counted.append(next(iter(state.values())).shape[:2].numel())
        return step(state, action, *rest, **named)

    def counting_unroll(state, actions, *rest, **named):  # type: ignore[no-untyped-def]
        model.step = step  # a model that unrolls step by step must not count twice
        counted.append(len(actions) * next(iter(state.values())).shape[:2].numel())
        unrolled = unroll(state, actions, *rest, **named)
        model.step = counting_step
        return unrolled

    model.step, model.unroll = counting_step, counting_unroll
    return counted


def _with_budget(planner: str, plans: int | None) -> list[str]:
    """Return overrides that make a planner look at about so many plans a decision."""
    name, *settings = planner.split()
    overrides = [f"planner={name}", *settings]
    if plans is None:
        return overrides
    if name == "mcts":
        return [*overrides, f"planner.num_simulations={plans}"]
    iterations = 1 if name == "random_shooting" or plans < 16 else 2 if plans < 150 else 3
    population = plans // iterations
    overrides.append(f"planner.population={population}")
    if name != "random_shooting":
        overrides.append(f"planner.iterations={iterations}")
    return overrides


def _compose(overrides: list[str]) -> RunObjects:
    register_resolvers()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return build(OmegaConf.create(compose("train", overrides=overrides)))


def _draw(measured: list[Measured], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for planner in dict.fromkeys(result.planner for result in measured):
        own = [result for result in measured if result.planner == planner]
        axes.errorbar(
            [result.model_steps for result in own],
            [result.mean for result in own],
            yerr=[result.standard_error for result in own],
            marker="o",
            capsize=3,
            label=planner,
        )
    axes.set_xscale("log")
    axes.set_xlabel("model steps per decision")
    axes.set_ylabel("return, mean and standard error over seeds")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
