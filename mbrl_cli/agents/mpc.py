"""Model-predictive control: fit a model, plan with it at every step, execute the first action.

With a Gaussian ensemble and CEM this is PETS (Chua et al. 2018, algorithm 1). With a terminal
value, the return of a plan includes a critic's value of its last state, as in POLO (Lowrey et al.
2019) and TD-MPC (Hansen et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch

from mbrl_cli.agents.base import Agent, Policy
from mbrl_cli.agents.diverged_fits import DivergedFits
from mbrl_cli.agents.exploration import Exploration, ExplorationKind
from mbrl_cli.agents.interval_schedule import IntervalSchedule
from mbrl_cli.agents.planning import Planning, cost_advice
from mbrl_cli.agents.sac import SAC
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.planners.base import Planner
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import ArgumentsOf, Count, CountOrZero, EnvSpec, Fraction, NonNegativeFloat

# Where the defaults of the terminal value's SAC differ from those of SAC.
SAC_DEFAULTS: dict[str, Any] = {"hidden": (128, 128), "updates_per_step": 4.0}


class MPC(Agent):
    """Plan every action with a model that is fitted to all data so far.

    With `terminal_value` a soft actor-critic learns off-policy from the same real data. Its critics
    value the last state of a plan, its actor proposes plans, and its discount is the planner's.

    Args:
        spec: the environment.
        device: where the networks of the terminal value live.
        model: imagines the plans.
        planner: chooses among the plans.
        generator: source of all random numbers in training.
        fit_every: environment steps between fits of the model.
        discount: per imagined step, without a terminal value.
        explore: see `Exploration.kind`, as for the next three.
        noise_std: for `explore` "noise".
        epsilon: for `explore` "epsilon".
        disagreement_bonus: for `explore` "disagreement", in typical rewards; see `RewardScale`.
        terminal_value: whether plans are valued beyond the horizon.
        proposals: candidates of the planner that are rollouts of the actor; see `Planning`.
        sac: arguments of `SAC`, for the terminal value, that differ from its defaults and from
            `SAC_DEFAULTS`.

    Raises:
        UserError: if an argument does not fit the environment, the model or the planner.
    """

    divergence_advice = (
        "lower model.learning_rate or agent.sac.learning_rate, or raise agent.fit_every"
    )

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        model: Model,
        planner: Planner,
        generator: torch.Generator,
        fit_every: Count = 100,
        discount: Fraction = 1.0,
        explore: ExplorationKind = "none",
        noise_std: NonNegativeFloat = 0.1,
        epsilon: Fraction = 0.05,
        disagreement_bonus: NonNegativeFloat = 1.0,
        terminal_value: bool = False,
        proposals: CountOrZero = 4,
        sac: Annotated[dict[str, Any] | None, ArgumentsOf(SAC)] = None,
    ) -> None:
        self.sac: SAC | None = None
        if terminal_value:
            self.sac = SAC(spec, device, generator, **SAC_DEFAULTS | (sac or {}))
            if self.sac.assessed.rounds:
                raise UserError(
                    f"agent.sac.assess_rounds={self.sac.assessed.rounds}: the planner acts, so no "
                    "copy of the actor can be assessed; use 0"
                )
            discount = self.sac.discount
        exploration = Exploration(explore, noise_std, epsilon, disagreement_bonus)
        self.planning = Planning(spec, model, planner, discount, exploration, self.sac, proposals)
        self.cost_advice = cost_advice(planner, model)
        self.model = model
        self.generator = generator
        self.fit_schedule = IntervalSchedule(fit_every)
        self.diverged_fits = DivergedFits()

    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> Policy:
        """Return a policy that plans with the model as it is at each step."""
        return self.planning.policy(envs, explore, generator)

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Train the terminal value; fit the model if a fit is due.

        Raises:
            Diverged: if several fits in a row have diverged.
        """
        metrics = {} if self.sac is None else self.sac.update(replay, env_step)
        if not self.fit_schedule.due(env_step, at_once=not self.model.is_fitted):
            return metrics
        self.planning.reward_scale.refit(replay)
        self.planning.model_version += 1
        fitted = self.model.fit(replay, self.generator)
        self.diverged_fits.add(fitted)
        return metrics | {f"model/{name}": value for name, value in fitted.items()}

    def fit_steps(self, first: int, last: int) -> Sequence[int]:
        """Return the environment steps in [first, last) before which the model is fitted."""
        return self.fit_schedule.steps(first, last, at_once=not self.model.is_fitted)

    def video(self, replay: ReplayBuffer, generator: torch.Generator) -> np.ndarray | None:
        """Return the model's video; see `Model.video`."""
        return self.model.video(replay, generator)

    def is_finite(self) -> bool:
        """Return whether the terminal value is finite; diverged fits are counted instead."""
        return self.sac is None or self.sac.is_finite()

    def state_dict(self) -> dict[str, Any]:
        """Return model, terminal value, schedule and random numbers."""
        state = {
            "model": self.model.state_dict(),
            "fit_schedule": self.fit_schedule.state_dict(),
            "diverged_fits": self.diverged_fits.count,
            "generator": self.generator.get_state(),
            "reward_scale": self.planning.reward_scale.state_dict(),
        }
        return state if self.sac is None else state | {"sac": self.sac.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.fit_schedule.load_state_dict(state["fit_schedule"])
        self.planning.model_version += 1
        self.diverged_fits.count = state["diverged_fits"]
        self.generator.set_state(state["generator"])
        self.planning.reward_scale.load_state_dict(state["reward_scale"])
        if self.sac is not None:
            self.sac.load_state_dict(state["sac"])
