"""How accurate the model of a saved run is where it matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from mbrl_cli.diagnosis.accuracy.calibration import calibration
from mbrl_cli.diagnosis.accuracy.forecast import lengths_up_to
from mbrl_cli.diagnosis.accuracy.measured import Measured
from mbrl_cli.diagnosis.accuracy.observation_errors import observation_errors
from mbrl_cli.diagnosis.accuracy.plan_returns import TrueReturns
from mbrl_cli.diagnosis.accuracy.plans import plans
from mbrl_cli.diagnosis.accuracy.reward_and_termination import reward_and_termination
from mbrl_cli.diagnosis.accuracy.target_scales import add_target_scales
from mbrl_cli.diagnosis.accuracy.training_data import TrainingData
from mbrl_cli.diagnosis.accuracy.trajectory import Trajectory, stored_trajectories
from mbrl_cli.diagnosis.accuracy.visited_states import visited_states
from mbrl_cli.diagnosis.advised_command import better_model, with_other_function
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.episode import Episode
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.models.base import Model

DEFAULT_HORIZON = 5  # steps, of an agent that neither plans nor measures its model over a horizon


def model_accuracy(
    run: DiagnosedRun,
    episodes: Sequence[Episode],
    generator: torch.Generator,
    true_returns: TrueReturns | None = None,
) -> list[Section]:
    """Compare the model's predictions with held-out episodes and with the episodes played now.

    Args:
        run: a saved run with a replay.
        episodes: that the agent plays now, from 8 on for useful intervals.
        generator: for the model.
        true_returns: evaluates plans in the true environment; None: it cannot be done.
    """
    model = run.model
    reason = _cannot_measure(model)
    if model is None or reason is not None:
        section = Section("observations", "Predicted observations")
        section.skipped.append(f"Model accuracy: {reason}.")
        return [section]
    replay, spec = run.replay, run.objects.env.spec
    held_out_rows = replay.split()[1]
    data = TrainingData.of(replay)
    horizon = imagined_horizon(run)
    decodes = model.learns_from == "replay"
    lengths = lengths_up_to(horizon) if decodes else []
    sets = []
    if len(held_out_rows):
        held_out = stored_trajectories(replay, held_out_rows)
        sets.append(Measured.of("held out", model, held_out, lengths, generator))
    visited = [Trajectory.of_episode(episode) for episode in episodes]
    sets.append(Measured.of("visited", model, visited, lengths, generator))
    more_data = better_model(run)
    is_image = spec.obs_shape is not None
    sections = []
    if decodes:
        sections.append(observation_errors(sets, data, horizon, more_data, is_image))
    else:
        section = Section("observations", "Predicted observations")
        section.skipped.append(
            f"Predicted observations and their calibration: {type(model).__name__} does not decode "
            "its latent states into observations."
        )
        sections.append(section)
    if not len(held_out_rows):
        sections[0].skipped.append("Held-out episodes: the replay holds none yet.")
    outcomes = reward_and_termination(sets, data, spec, horizon, more_data)
    outcomes.findings = [_with_known_function(run, finding) for finding in outcomes.findings]
    add_target_scales(outcomes, model, replay, data)
    sections.append(outcomes)
    if decodes and not is_image:
        uses_risk = getattr(run.objects.planner, "risk", None) is not None
        sections.append(calibration(model, sets, data, uses_risk, more_data))
    if is_image:
        sections[0].skipped.append(
            "Calibration and states outside the training data: observations are images."
        )
    else:
        sections.append(visited_states(sets, replay, data, more_data))
    sections.append(plans(run, model, episodes, horizon, generator, true_returns, more_data))
    return sections


def imagined_horizon(run: DiagnosedRun) -> int:
    """Return the number of steps that the agent imagines, or over which its model is measured."""
    planner = run.objects.planner
    if planner is not None and planner.horizon > 1:
        return planner.horizon
    measured = getattr(run.model, "accuracy_horizon", 0) or getattr(run.model, "unroll_steps", 0)
    return measured or DEFAULT_HORIZON


def _with_known_function(run: DiagnosedRun, finding: Finding) -> Finding:
    """Advise the true reward or termination in the place of a learned one, if it is known."""
    part = {"reward_model": "reward", "termination_model": "termination"}.get(finding.fault)
    spec = run.objects.env.spec
    if part is None or finding.command is None or spec.simulator is None:
        return finding
    if getattr(spec, f"known_{part}") is not None:  # the predicted observations are wrong
        return finding
    return replace(finding, command=with_other_function(run, part))


def _cannot_measure(model: Model | None) -> str | None:
    """Return why nothing can be measured, as the end of a sentence; None: it can."""
    if model is None:
        return "the agent has no model"
    if not model.is_fitted:
        return "the model has not been fitted yet"
    if model.state_source == "environment":
        return "the model is the environment itself"
    return None
