r"""Return of planners by planning budget: model steps and milliseconds per decision.

Plays evaluation episodes with every planner at every budget, in the true simulator or in the models
of saved runs, and prints a table; `--picture` draws the return over model steps per decision.

    python benchmarks/planning_budget.py env=pendulum model=oracle --seeds 5 \
        --planner cem --budgets 10 30 100 300 --planner icem --budgets 10 30 100 --picture out.png
    python benchmarks/planning_budget.py --run outputs/RUN_SEED_0 --run outputs/RUN_SEED_1 \
        --planner icem

A budget is the number of plans per decision, over all iterations, or the number of simulations of
planner=mcts. A planner in quotes can have settings: --planner "icem planner.noise_beta=3".
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

from mbrl_cli.config.build import RunObjects, build
from mbrl_cli.config.composition import compose_config
from mbrl_cli.config.saved_run import load_saved_run
from mbrl_cli.evaluation import evaluate
from mbrl_cli.threads_and_malloc import set_threads_and_malloc

matplotlib.use("agg")
from matplotlib import pyplot as plt


@dataclass(frozen=True)
class Result:
    """Cost and return of one planner with one budget."""

    planner: str
    budget: int | None  # plans or simulations per decision; None: the planner's own settings
    model_steps: float  # per decision and environment; each particle counts
    milliseconds: float  # median per decision and environment; all environments plan in one batch
    returns: list[float]  # of each seed, mean over episodes

    @property
    def mean(self) -> float:
        """Mean return over the seeds."""
        return statistics.fmean(self.returns)

    @property
    def standard_error(self) -> float:
        """Standard error of `mean`; 0 for one seed."""
        if len(self.returns) == 1:
            return 0.0
        return statistics.stdev(self.returns) / len(self.returns) ** 0.5


def main() -> None:
    """Measure and print; write the files of `--out` and `--picture`."""
    options = _options()
    set_threads_and_malloc(options.threads)
    sources: list[Path | int] = options.run or list(range(options.seeds))
    results = []
    for planner, budgets in options.planner:
        for budget in budgets or [None]:
            result = _measure(planner, budget, sources, options)
            results.append(result)
            print(
                f"{result.planner:40s} {budget or 'own':>7} {result.model_steps:9,.0f} steps"
                f" {result.milliseconds:8.2f} ms   return {result.mean:8.2f}"
                f" +- {result.standard_error:.2f}",
                flush=True,
            )
    if options.out:
        rows = [asdict(result) for result in results]
        options.out.write_text(json.dumps(rows, indent=2) + "\n")
    if options.picture:
        _draw(results, options.picture)


class _PlannerAction(argparse.Action):
    """Collect `--planner NAME [--budgets ...]` pairs in their order."""

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
    parser.add_argument("--planner", action=_PlannerAction, required=True)
    parser.add_argument("--budgets", action=_PlannerAction, nargs="+", type=int)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, without --run")
    parser.add_argument("--episodes", type=int, default=5, help="episodes per seed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--picture", type=Path, help="PNG file")
    return parser.parse_args()


def _measure(
    planner: str, budget: int | None, sources: list[Path | int], options: argparse.Namespace
) -> Result:
    """Evaluate a planner on every source: a saved run, or the seed of a new one."""
    returns, seconds, model_steps = [], [], 0.0
    for index, source in enumerate(sources):
        overrides = _budget_overrides(planner, budget)
        if isinstance(source, Path):
            run_objects, _ = load_saved_run(source, [*overrides, f"seed={index}"])
        else:
            run_objects = _build_new([*options.overrides, *overrides, f"seed={source}"])
        _time_decisions(run_objects.planner, seconds)
        steps = _count_steps(run_objects.model)
        envs = run_objects.eval_envs.take(options.episodes)
        evaluation = evaluate(run_objects.agent, envs, run_objects.settings.seed)
        returns.append(float(evaluation.returns.mean()))
        model_steps += sum(steps) / sum(evaluation.lengths)
    return Result(
        planner=planner,
        budget=budget,
        model_steps=model_steps / len(sources),
        milliseconds=1e3 * statistics.median(seconds),
        returns=returns,
    )


def _time_decisions(planner: Any, seconds: list[float]) -> None:
    """Make `planner.plan` append its seconds per environment to a list."""
    plan = planner.plan

    def timed_plan(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        decision = plan(*arguments, **named)
        seconds.append((time.perf_counter() - start) / len(decision.actions))
        return decision

    planner.plan = timed_plan


def _count_steps(model: Any) -> list[int]:
    """Return a list to which every imagined step of `model` appends its rows times particles."""
    counts: list[int] = []
    step, unroll = model.step, model.unroll

    def counting_step(state, *arguments, **named):  # type: ignore[no-untyped-def]
        counts.append(next(iter(state.values())).shape[:2].numel())
        return step(state, *arguments, **named)

    def counting_unroll(state, actions, *arguments, **named):  # type: ignore[no-untyped-def]
        model.step = step  # `unroll` may call `step`, which must not count again
        counts.append(len(actions) * next(iter(state.values())).shape[:2].numel())
        trajectories = unroll(state, actions, *arguments, **named)
        model.step = counting_step
        return trajectories

    model.step, model.unroll = counting_step, counting_unroll
    return counts


def _budget_overrides(planner: str, budget: int | None) -> list[str]:
    """Return overrides with which a planner evaluates about `budget` plans per decision."""
    name, *settings = planner.split()
    overrides = [f"planner={name}", *settings]
    if budget is None:
        return overrides
    if name == "mcts":
        return [*overrides, f"planner.num_simulations={budget}"]
    if name == "random_shooting":
        return [*overrides, f"planner.population={budget}"]
    iterations = 1 if budget < 16 else 2 if budget < 150 else 3
    population = budget // iterations
    return [
        *overrides, f"planner.population={population}", f"planner.iterations={iterations}"
    ]  # fmt: skip


def _build_new(overrides: list[str]) -> RunObjects:
    return build(compose_config(overrides))


def _draw(results: list[Result], path: Path) -> None:
    """Draw the return over model steps per decision, one line for each planner."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for planner in dict.fromkeys(result.planner for result in results):
        own = [result for result in results if result.planner == planner]
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
