"""Predictions of a model on one set of real episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mbrl_cli.diagnosis.accuracy.forecast import Forecast, forecast
from mbrl_cli.diagnosis.accuracy.one_step import OneStep, predict_one_step
from mbrl_cli.diagnosis.accuracy.trajectory import Trajectory
from mbrl_cli.diagnosis.accuracy.transition_rows import TransitionRows, observed_states
from mbrl_cli.models.base import Model

MAX_TRANSITIONS = 20_000  # of one set, at equal distances
MAX_IMAGES = 1_000


@dataclass(frozen=True)
class Measured:
    """What a model predicts on a set of episodes.

    Attributes:
        name: of the set in tables: "held out" or "visited".
        trajectories: the episodes.
        rows: their transitions.
        one_step: predictions for these transitions.
        forecasts: open-loop predictions by ascending length; empty: the model decodes none.
    """

    name: str
    trajectories: Sequence[Trajectory]
    rows: TransitionRows
    one_step: OneStep
    forecasts: list[Forecast]

    @classmethod
    def of(
        cls,
        name: str,
        model: Model,
        trajectories: Sequence[Trajectory],
        lengths: Sequence[int],
        generator: torch.Generator,
    ) -> Measured:
        """Predict all transitions, and the observations after the given numbers of steps.

        Args:
            name: of the set.
            model: a fitted model whose states need no live environment.
            trajectories: the episodes.
            lengths: numbers of steps; empty: the model decodes no observations.
            generator: for the model.
        """
        limit = MAX_TRANSITIONS if model.spec.obs_shape is None else MAX_IMAGES
        rows = TransitionRows.of(trajectories, limit)
        state = observed_states(model, trajectories, rows)
        return cls(
            name=name,
            trajectories=trajectories,
            rows=rows,
            one_step=predict_one_step(model, rows, state, generator),
            forecasts=forecast(model, trajectories, lengths, generator) if lengths else [],
        )
