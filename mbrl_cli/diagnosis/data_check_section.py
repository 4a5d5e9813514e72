"""Check the data of a run for silent bugs of the environment or of a wrapper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from mbrl_cli.diagnosis.advised_command import train_again
from mbrl_cli.diagnosis.data_checks.action_probe import probe_actions
from mbrl_cli.diagnosis.data_checks.check_result import CheckResult
from mbrl_cli.diagnosis.data_checks.entries import action_without_effect, constant_and_duplicated
from mbrl_cli.diagnosis.data_checks.ignored_action import ignored_action
from mbrl_cli.diagnosis.data_checks.resets import crosses_reset
from mbrl_cli.diagnosis.data_checks.reward_inputs import hidden_reward
from mbrl_cli.diagnosis.data_checks.saturation import saturation
from mbrl_cli.diagnosis.data_checks.shifted import shifted
from mbrl_cli.diagnosis.data_checks.stationarity import non_stationary
from mbrl_cli.diagnosis.data_checks.time_limit import time_limit_as_termination
from mbrl_cli.diagnosis.data_checks.transitions import Transitions
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.table import Table
from mbrl_cli.envs.env import Env

FITTED_ROWS = 6000  # transitions that models are fitted to
ORDER = {"problem": 0, "note": 1, "fine": 2}


def data_checks(run: DiagnosedRun, generator: torch.Generator) -> Section:
    """Check the replay of a run, and two fresh environments.

    Args:
        run: a saved run with a replay.
        generator: draws samples of transitions and the actions of the fresh episodes.
    """
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    data = Transitions.of_replay(run.replay, run.objects.env.spec)
    section = check_transitions(data, run.new_env, rng)
    section.findings = [_with_command(finding, run) for finding in section.findings]
    return section


def _with_command(finding: Finding, run: DiagnosedRun) -> Finding:
    """Add a command to a problem: without the wrappers, if the run has any.

    A command of a check is a setting with which the run is trained again.
    """
    if finding.severity == "problem" and run.run.config["env"].get("wrappers"):
        return replace(finding, command=train_again(run.run, "env.wrappers=[]"))
    if finding.command is not None:
        return replace(finding, command=train_again(run.run, finding.command))
    return finding


def check_transitions(
    data: Transitions, new_env: Callable[[], Env] | None, rng: np.random.Generator
) -> Section:
    """Check transitions.

    Args:
        data: all transitions.
        new_env: returns a fresh environment; None: only the transitions are checked.
        rng: draws samples and actions.
    """
    section = Section("data", "Data checks")
    if not len(data):
        section.skipped.append("data checks: the replay is empty")
        return section
    sample = data.sample(FITTED_ROWS)
    probe = probe_actions(new_env, rng) if new_env is not None else None
    results = [
        shifted(sample, probe),
        ignored_action(probe),
        time_limit_as_termination(data),
        crosses_reset(sample),
        hidden_reward(sample, rng),
        non_stationary(sample, rng),
        saturation(data),
        constant_and_duplicated(data),
        action_without_effect(sample),
    ]
    return _merged(section, results)


def _merged(section: Section, results: list[CheckResult]) -> Section:
    table = Table("Data checks: evidence", ["measured", "value", "threshold"])
    for result in results:
        section.findings += result.findings
        section.skipped += result.skipped
        table.rows.extend(list(row) for row in result.evidence)
    section.findings.sort(key=lambda finding: (ORDER[finding.severity], -finding.confidence))
    section.tables.append(table)
    return section
