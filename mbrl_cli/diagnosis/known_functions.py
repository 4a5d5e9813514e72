"""Compare the reward and termination functions that a run's config names with the truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun

MAX_ROWS = 5000  # of the replay, the newest ones
TOLERANCE = 1e-3  # of the reward's standard deviation; functions compute in float32


class KnownFunctionError(NamedTuple):
    """How often a known function differs from the rewards and ends that were observed."""

    share: float  # fraction of the transitions that differ
    rows: int  # transitions that were compared


def known_function_errors(run: DiagnosedRun) -> dict[str, KnownFunctionError]:
    """Return for "reward" and "termination", where a function is known, how often it is wrong.

    The truth is what the environment returned while the run collected data.
    """
    spec, replay = run.objects.env.spec, run.replay
    train, held_out = replay.split()
    rows = np.sort(np.concatenate([train, held_out]))[-MAX_ROWS:]
    batch = replay.batch(rows)
    arguments = batch.obs, batch.action, batch.next_obs
    found: dict[str, KnownFunctionError] = {}
    if spec.known_reward is not None:
        allowed = TOLERANCE * max(float(batch.reward.std(correction=0)), 1e-12)
        allowed += 1e-5 * float(batch.reward.abs().max())  # float32
        wrong = (spec.known_reward(*arguments) - batch.reward).abs() > allowed
        found["reward"] = KnownFunctionError(float(wrong.float().mean()), len(rows))
    if spec.known_termination is not None:
        ended = spec.known_termination(*arguments).to(torch.bool)
        wrong = ended != batch.terminated.to(torch.bool)
        found["termination"] = KnownFunctionError(float(wrong.float().mean()), len(rows))
    return found
