"""A planner: improve one plan by random changes, and keep a change if the model predicts more."""

from __future__ import annotations

import torch

from mbrl_cli.planners.base import Plan, Planner
from mbrl_cli.planners.world import World
from mbrl_cli.types import ActionSpec, Count, PositiveFloat, State


class HillClimbing(Planner):
    """Local search over plans for continuous actions.

    The plan of the decision before, shifted by one step, is where the next search starts.

    Axes: B environments, H horizon, A action dim.

    Args:
        action: how actions are encoded.
        device: where plans live.
        horizon: H, imagined steps of a plan.
        iterations: random changes that are tried for a decision.
        std: standard deviation of a change, for actions in [-1, 1].
    """

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        horizon: Count = 15,
        iterations: Count = 20,
        std: PositiveFloat = 0.5,
    ) -> None:
        super().__init__(action, device, horizon)
        self.iterations = iterations
        self.std = std

    def initial_memory(self, num_envs: int) -> State:
        """Return a plan of zeros for each environment."""
        shape = (num_envs, self.horizon, self.action.dim)
        return {"plan": torch.zeros(shape, device=self.device)}  # [B, H, A]

    def plan(
        self,
        world: World,
        state: State,
        memory: State,
        generator: torch.Generator,
        disagreement_bonus: float = 0.0,
    ) -> Plan:
        """Decide for the B environments in `state`."""
        best = memory["plan"]  # [B, H, A]
        best_return = self._returns(world, state, best)  # [B]
        for _ in self.deadline.iterations(self.iterations, len(best)):
            noise = torch.randn(best.shape, generator=generator, device=generator.device)
            plan = (best + self.std * noise.to(self.device)).clamp(-1.0, 1.0)
            predicted = self._returns(world, state, plan)
            better = predicted > best_return  # false for NaN: a diverged plan is never kept
            best = torch.where(better[:, None, None], plan, best)
            best_return = torch.where(better, predicted, best_return)
        shifted = torch.cat([best[:, 1:], best[:, -1:]], dim=1)
        return Plan(best, best_return, {"plan": shifted})

    def _returns(self, world: World, state: State, plans: torch.Tensor) -> torch.Tensor:
        """Return the predicted return [B] of one plan [B, H, A] for each environment."""
        evaluation = world.evaluate_plans(state, plans[:, None], False)  # returns [B, 1, P]
        return evaluation.returns.mean(-1)[:, 0]
