"""Model-predictive control: fit a model, plan with it at every step, execute the first action.

With a Gaussian ensemble and CEM this is PETS (Chua et al. 2018, algorithm 1). With a terminal
value the horizon is no end: plans are worth what a critic expects of their last state besides, as
in POLO (Lowrey et al. 2019) and TD-MPC (Hansen et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch

from mbrl_cli.agents.base import Agent, Policy
from mbrl_cli.agents.exploration import Exploration, ExplorationKind
from mbrl_cli.agents.interval_schedule import IntervalSchedule
from mbrl_cli.agents.planning import Planning
from mbrl_cli.agents.sac import SAC
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import Diverged, UserError
from mbrl_cli.models.base import Model
from mbrl_cli.planners.base import Planner
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import ArgumentsOf, Count, CountOrZero, EnvSpec, Fraction, NonNegativeFloat

MAX_DIVERGED_FITS = 3


class MPC(Agent):
    """Plan every action with the model that was fitted to all data so far.

    Exploration, in training only: `noise` adds Gaussian noise to continuous actions, `epsilon`
    replaces an action by a random one, `disagreement` rewards plans about which the members of an
    ensemble disagree, `none` trusts the planner's own randomness.

    With `terminal_value` a soft actor-critic learns beside the model from the same real data, off
    policy: its critics value a plan's last state, its actor proposes `proposals` of the plans, and
    its discount is the planner's.
    """

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        model: Model,
        planner: Planner,
        generator: torch.Generator,
        fit_every: Count,
        discount: Fraction,
        explore: ExplorationKind,
        noise_std: NonNegativeFloat,
        epsilon: Fraction,
        disagreement_bonus: NonNegativeFloat,
        terminal_value: bool = False,
        proposals: CountOrZero = 0,
        sac: Annotated[dict[str, Any], ArgumentsOf(SAC)] | None = None,
    ) -> None:
        self.sac: SAC | None = None
        if terminal_value:
            if sac is None:
                raise UserError("agent.terminal_value=true: needs agent.sac, as in agent=mpc")
            self.sac = SAC(spec, device, generator, **sac)
            discount = self.sac.discount
        exploration = Exploration(explore, noise_std, epsilon, disagreement_bonus)
        self.planning = Planning(spec, model, planner, discount, exploration, self.sac, proposals)
        self.model = model
        self.generator = generator
        self.fit_schedule = IntervalSchedule(fit_every)
        self.diverged_fits = 0  # in a row

    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> Policy:
        """Return a policy that plans with the model as it is at each step."""
        return self.planning.policy(envs, explore, generator)

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Fit the model every `fit_every` steps; the terminal value learns at each."""
        metrics = {} if self.sac is None else self.sac.update(replay, env_step)
        if not self.fit_schedule.due(env_step, at_once=not self.model.is_fitted):
            return metrics
        self.planning.num_fits += 1
        fitted = self.model.fit(replay, self.generator)
        self.diverged_fits = self.diverged_fits + 1 if fitted.get("rolled_back") else 0
        if self.diverged_fits == MAX_DIVERGED_FITS:
            raise Diverged(
                f"the model diverged in {MAX_DIVERGED_FITS} fits in a row and was rolled back each "
                "time; lower model.learning_rate, or raise agent.fit_every to fit more data at once"
            )
        return metrics | {f"model/{name}": value for name, value in fitted.items()}

    def video(self, replay: ReplayBuffer, generator: torch.Generator) -> np.ndarray | None:
        """Return the model's video; see `Model.video`."""
        return self.model.video(replay, generator)

    def state_dict(self) -> dict[str, Any]:
        """Return the model, when it was last fitted and the random numbers of the next fit."""
        state = {
            "model": self.model.state_dict(),
            "fit_schedule": self.fit_schedule.state_dict(),
            "diverged_fits": self.diverged_fits,
            "generator": self.generator.get_state(),
        }
        return state if self.sac is None else state | {"sac": self.sac.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.fit_schedule.load_state_dict(state["fit_schedule"])
        self.planning.num_fits += 1
        self.diverged_fits = state["diverged_fits"]
        self.generator.set_state(state["generator"])
        if self.sac is not None:
            self.sac.load_state_dict(state["sac"])
