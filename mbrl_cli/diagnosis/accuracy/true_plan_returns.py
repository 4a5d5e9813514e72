"""True returns of plans, from the batched simulator of the environment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_cli.diagnosis.accuracy.plan_returns import Start, TrueReturns
from mbrl_cli.diagnosis.truth import Truth
from mbrl_cli.models.plan_evaluation import evaluate_plans


def true_plan_returns(truth: Truth | None, generator: torch.Generator) -> TrueReturns | None:
    """Return a function that evaluates plans; None without a batched simulator.

    Args:
        truth: of the environment; None: not known.
        generator: decides the outcomes of a random simulator.
    """
    if truth is None or not truth.is_batched:
        return None
    oracle = truth.oracle

    def evaluate(
        starts: Sequence[Start], plans: NDArray[np.float32], discount: float
    ) -> NDArray[np.float64]:
        """Return the discounted returns [n, N] of plans [n, N, H, A]."""
        obs = np.stack([start.episode.obs[start.step] for start in starts])  # [n, O]
        no_action = torch.zeros(len(starts), plans.shape[-1], device=oracle.device)
        state = oracle.observe(oracle.initial(len(starts)), no_action, torch.from_numpy(obs))
        on_device = torch.from_numpy(plans).to(oracle.device)
        with torch.no_grad():
            returns = evaluate_plans(oracle, state, on_device, discount, generator).returns
        mean: NDArray[np.float64] = returns.mean(-1).double().cpu().numpy()
        return mean

    return evaluate
