"""The run part of `mbrl check`: which choices work, and the cost of the configured run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mbrl_cli.config.composed_run import ComposedRun
from mbrl_cli.config.memory_check import GB, available_bytes
from mbrl_cli.config.run_cost import RunCost, measure_run
from mbrl_cli.console.progress_line import duration
from mbrl_cli.console.waiting import waiting
from mbrl_cli.envs.env import STEPS_WITHOUT_LIMIT
from mbrl_cli.errors import UserError
from mbrl_cli.reports.check_report import CheckReport
from mbrl_cli.reports.env_sampling import Sampling
from mbrl_cli.reports.fitting_choices import ORACLE, Fit, fitting_choices, is_part_word

# Agents by how few steps they need, if the default one does not fit.
PREFERRED_AGENTS = ("mpc", "mbpo", "dreamer", "sac", "alphazero")


class RunCheck:
    """Tries every agent, model and planner, then measures the configured run.

    Args:
        words: `key=value` words, as after `mbrl train`.
        user_dir: the folder of `--config-dir`.
        report: prints the results and keeps the faults.
    """

    def __init__(self, words: Sequence[str], user_dir: Path | None, report: CheckReport) -> None:
        self._words = list(words)
        self._user_dir = user_dir
        self._report = report

    def run(self, sampling: Sampling, is_simulated: bool) -> list[str]:
        """Check everything and print it; return the words of the run to type.

        If the command line names no agent, model or planner and the default ones do not fit, the
        words name an agent that does.

        Args:
            sampling: random steps in the environment.
            is_simulated: whether the environment has a batched simulator.
        """
        report, words = self._report, self._words
        if report.faults:  # they would be the reason of every refusal
            words = [*words, "check_known=false"]
        fits = self._fits(words, is_simulated)
        run, typed = ComposedRun(words, self._user_dir), list(self._words)
        with waiting("checking the configured run"):
            reason = _reason(run)
        if reason is not None:
            works = {fit.name: fit for fit in fits if fit.group == "agent" and fit.reason is None}
            chosen = next((name for name in PREFERRED_AGENTS if name in works), None)
            if chosen is None or any(map(is_part_word, words)):
                report.add("run", "fault", reason)
                return typed
            report.add("run", "note", f"the default agent does not fit, agent={chosen} does")
            typed = [*self._words, f"agent={chosen}"]
            run = ComposedRun([*words, f"agent={chosen}"], self._user_dir)
        self._cost(run, sampling)
        if "agent" not in {word.partition("=")[0] for word in typed}:
            typed.append(f"agent={run.choices['agent']}")
        return typed

    def _fits(self, words: Sequence[str], is_simulated: bool) -> list[Fit]:
        shown = ["choices"]

        def show(name: str) -> None:
            shown[0] = name

        rows: dict[str, list[tuple[str, str]]] = {}
        reasons: dict[str, str] = {}  # each is printed once
        fits = []
        with waiting(lambda: f"trying {shown[0]}"):
            for fit in fitting_choices(words, self._user_dir, show):
                fits.append(fit)
                if fit.reason is None:
                    result = f"ok, {fit.description}" if fit.description else "ok"
                    if fit.name == ORACLE and not is_simulated:
                        result += "; slow: each imagined step is a step of a copy"
                elif fit.reason in reasons:
                    result = f"no, as {reasons[fit.reason]}"
                else:
                    result = f"no: {fit.reason}"
                    reasons[fit.reason] = f"{fit.group} {fit.name}"
                rows.setdefault(fit.group, []).append((fit.name, result))
        for group, found in rows.items():
            self._report.table(f"{group}s", found)
        return fits

    def _cost(self, run: ComposedRun, sampling: Sampling) -> None:
        report = self._report
        with waiting("measuring decisions and updates"):
            objects = run.build()
            limit = objects.env.spec.max_episode_steps
            limit = limit or sampling.longest_truncated or STEPS_WITHOUT_LIMIT
            try:
                cost = measure_run(objects, sampling.replay, sampling.step_seconds, limit)
            except UserError as error:
                report.add("run", "fault", str(error))
                return
            finally:
                for env in objects.envs:
                    env.close()
        chosen = [f"{group}={run.choices[group]}" for group in ("agent", "model", "planner")
                  if run.choices[group] != "none"]  # fmt: skip
        report.add("run", "", f"{' '.join(chosen)}, {objects.settings.total_steps:,} steps; "
                   "estimates from a short measurement:")  # fmt: skip
        for line in _cost_lines(cost):
            report.add("run", "", line)
        available = available_bytes()
        memory = f"memory: about {cost.memory_bytes / GB:.1f} GB"
        if np.isfinite(available):
            memory += f", {available / GB:.1f} GB are available now"
        # What the process uses already is not available, but it is part of the run.
        is_too_large = cost.memory_bytes > available + 2e9
        report.add("run", "note" if is_too_large else "", memory)


def _reason(run: ComposedRun) -> str | None:
    """Return why the checks before a run refuse it, or None."""
    try:
        run.check()
    except UserError as error:
        return str(error)
    return None


def _cost_lines(cost: RunCost) -> list[str]:
    at_least = "at least " if cost.is_lower_bound else "about "
    lines = [f"decision: {_seconds(cost.decision_seconds)}, mean of {cost.num_measured}"]
    if cost.num_fits:
        lines.append(f"fits: {cost.num_fits}, {at_least}{_seconds(cost.first_update_seconds)} each")
    elif cost.first_update_seconds > 1.0:
        lines.append(f"first update: {at_least}{_seconds(cost.first_update_seconds)}")
    if cost.update_seconds > 1e-4:
        lines.append(f"update before each step: {_seconds(cost.update_seconds)}")
    lines.append(
        f"duration: {at_least}{duration(cost.run_seconds)} (h:mm:ss), if every evaluation episode "
        "takes its full length"
    )
    return lines


def _seconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"


def command_line(words: Sequence[str], user_dir: Path | None) -> str:
    """Return the command that starts a run with these words."""
    options = [] if user_dir is None else ["--config-dir", str(user_dir)]
    return shlex.join(["mbrl", "train", *words, *options])
