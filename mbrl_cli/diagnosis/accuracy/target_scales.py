"""Scales of the targets of a network that predicts both the reward and the observation."""

from __future__ import annotations

import torch

from mbrl_cli.diagnosis.accuracy.training_data import TrainingData
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.table import Cell, Table
from mbrl_cli.models.base import Model
from mbrl_cli.models.ensemble import Ensemble
from mbrl_cli.models.linear import Linear
from mbrl_cli.replay.buffer import ReplayBuffer

# The squared error weighs a target by the square of its scale: at a ratio of 10 one of them has
# 1 % of the weight of the other.
UNEQUAL = 10.0


@torch.no_grad()
def add_target_scales(
    section: Section, model: Model, replay: ReplayBuffer, data: TrainingData
) -> None:
    """Add the scales of both targets, and their shares in the squared error that is minimised."""
    if isinstance(model, Linear):
        section.skipped.append("Target scales: linear regression fits each target by itself.")
        return
    if not isinstance(model, Ensemble):
        section.skipped.append(
            f"Target scales: {type(model).__name__} predicts reward and observation with networks "
            "of their own."
        )
        return
    batch = replay.batch(data.rows, model.device)
    target_std = model.normalizer.targets(batch).std(0, unbiased=False)  # [O + 1]
    varies = target_std[:-1] > 0.0
    state = float(target_std[:-1][varies].square().mean().sqrt()) if bool(varies.any()) else 0.0
    reward = float(target_std[-1])
    ratio = reward / state if state else None
    row: list[Cell] = ["training data", reward, state, ratio]
    section.tables.append(
        Table(
            "Scales of the targets of the network that predicts both",
            ["data", "reward", "observation", "reward / observation"],
            [row],
            "Standard deviations of the normalized targets; the observation's is the mean over "
            "its entries that vary.",
        )
    )
    if not reward or not state or ratio is None:
        constant = "observation" if reward else "reward"
        text = f"The {constant} does not vary in the training data, so it takes no part in the fit."
        section.findings.append(Finding("target_scales", "fine", text))
        return
    text = f"The reward target has {ratio:.2g} times the scale of the observation targets."
    if 1.0 / UNEQUAL < ratio < UNEQUAL:
        section.findings.append(Finding("target_scales", "fine", text))
        return
    small = "reward" if ratio < 1.0 else "observation"
    text += f" The squared error hardly depends on the {small}."
    section.findings.append(Finding("target_scales", "problem", text))
