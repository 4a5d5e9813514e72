"""Meaning and unit of every logged tag; TensorBoard shows them, and docs/tags.md lists them.

`python -m mbrl_cli.tags > docs/tags.md` writes the page.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Tag(NamedTuple):
    """Meaning of one tag, or of a family whose names differ in a number, written as <k>."""

    meaning: str
    unit: str

    def text(self) -> str:
        """Return the description that TensorBoard shows."""
        return f"{self.meaning}. Unit: {self.unit}."


RETURN = "reward"
COUNT = "count"
NATS = "nats"
LOSS = "loss"
FRACTION = "fraction"
STD = "standard deviations of the data"

# The order is that of docs/tags.md.
TAGS: dict[str, Tag] = {
    "eval/return": Tag("Mean undiscounted return of the evaluation episodes", RETURN),
    "eval/return_std": Tag("Standard deviation of the returns of the evaluation episodes", RETURN),
    "eval/return_min": Tag("Lowest return of the evaluation episodes", RETURN),
    "eval/length": Tag("Mean length of the evaluation episodes", "steps"),
    "eval/video": Tag("Video: the first evaluation episodes, one after another", "pixels"),
    "train/return": Tag("Undiscounted return of a training episode, exploration included", RETURN),
    "train/length": Tag("Length of a training episode", "steps"),
    "model/error_k<k>": Tag(
        "Root mean squared error of the observation after k imagined steps with the real actions, "
        "on held-out episodes; useful only if well below baseline_k<k>", STD,
    ),
    "model/baseline_k<k>": Tag(
        "The same error as error_k<k> for the prediction that nothing changes", STD
    ),
    "model/reward_error_k<k>": Tag(
        "Root mean squared error of the reward after k imagined steps, on held-out episodes", RETURN
    ),
    "model/reward_baseline_k<k>": Tag(
        "The same error as reward_error_k<k> for the prediction of the mean reward; a useful model "
        "is well below it", RETURN,
    ),
    "model/coverage_1sigma": Tag(
        "Fraction of one-step errors within one predicted standard deviation; 0.68 is calibrated, "
        "less is overconfident", FRACTION,
    ),
    "model/coverage_2sigma": Tag(
        "Fraction of one-step errors within two predicted standard deviations; 0.95 is calibrated",
        FRACTION,
    ),
    "model/coverage_90": Tag(
        "Fraction of one-step errors within the predicted central interval of 90 %; 0.9 is "
        "calibrated", FRACTION,
    ),
    "model/disagreement": Tag(
        "How much the members of an ensemble differ in their predictions, mean over held-out data",
        STD,
    ),
    "model/train_loss": Tag(
        "Loss that a fit minimises; of an ensemble: mean over its members. Of a Gaussian it is a "
        "likelihood, which falls below 0", LOSS
    ),
    "model/holdout_loss": Tag(
        "Squared error on held-out episodes in normalized units; of an ensemble: mean over its "
        "members", LOSS
    ),
    "model/holdout_loss_spread": Tag(
        "Standard deviation of the held-out loss over the members of an ensemble", LOSS
    ),
    "model/fit_steps": Tag("Gradient steps of the last fit", "steps"),
    "model/rolled_back": Tag(
        "Members, or fits, that diverged and have their last good weights again", COUNT
    ),
    "model/termination_loss": Tag(
        "Training loss of the learned termination, rare ends weighted up", NATS
    ),
    "model/termination_holdout_loss": Tag(
        "Cross entropy of the learned termination on held-out episodes, unweighted", NATS
    ),
    "model/termination_rate": Tag(
        "Fraction of the steps of held-out episodes at which the learned termination ends the "
        "task; calibrated if near true_termination_rate", FRACTION,
    ),
    "model/true_termination_rate": Tag(
        "Fraction of the steps of held-out episodes at which the task terminated", FRACTION
    ),
    "model/termination_precision": Tag(
        "Fraction of the terminations predicted on held-out episodes that are real; missing if "
        "none is predicted", FRACTION,
    ),
    "model/termination_recall": Tag(
        "Fraction of the real terminations of held-out episodes that are predicted with a "
        "probability of at least 0.5", FRACTION,
    ),
    "model/obs_loss": Tag(
        "Squared error of decoded observations, summed over their entries", "symlog units squared"
    ),
    "model/reward_loss": Tag("Cross entropy of the predicted reward", NATS),
    "model/consistency_loss": Tag(
        "Squared error of the latents that TD-MPC2's model imagines, mean over their entries", LOSS
    ),
    "model/value_loss": Tag("Cross entropy of the critics and their TD target", NATS),
    "model/continue_loss": Tag("Cross entropy of the predicted end of an episode", NATS),
    "model/kl": Tag("KL divergence from the prior to the posterior of the latents", NATS),
    "model/latent_entropy": Tag("Entropy of the posterior of the latents", NATS),
    "model/open_loop": Tag(
        "Video: images that the model predicts from actions alone, beside the real ones", "pixels"
    ),
    "model/grid_world": Tag(
        "Figure: what the model of a grid world predicts for each cell and action, beside the "
        "truth; at the end of the run", "pixels",
    ),
    "planner/optimism_gap": Tag(
        "Predicted minus observed return of the plans of a training episode, mean over its steps; "
        "far above 0: the planner exploits errors of the model", RETURN,
    ),
    "planner/predicted_return": Tag(
        "Predicted return of the chosen plans, mean over a training episode", RETURN
    ),
    "planner/nonfinite": Tag(
        "Plans, or steps of a search, of a training episode with predictions that are not finite",
        COUNT,
    ),
    "planner/late": Tag(
        "Decisions of a training episode that exceeded planner.max_plan_ms", COUNT
    ),
    "agent/critic_loss": Tag("Loss of the critics, mean over the updates since the last row", LOSS),
    "agent/actor_loss": Tag("Loss of the actor, mean over the updates since the last row", LOSS),
    "agent/entropy": Tag("Entropy of the policy", NATS),
    "agent/temperature": Tag("Weight of the entropy in SAC's objective", f"{RETURN} per nat"),
    "agent/q_real": Tag("Mean Q-value of real transitions: predicted discounted return", RETURN),
    "agent/q_imagined": Tag("Mean Q-value of imagined transitions", RETURN),
    "agent/imagined_ratio": Tag("Fraction of imagined transitions in the batches", FRACTION),
    "agent/rollout_length": Tag("Length of an imagined rollout", "steps"),
    "agent/rollout_error": Tag("Error of the model after that many imagined steps", STD),
    "agent/nonfinite": Tag("Imagined transitions that are not finite and are not stored", COUNT),
    "agent/imagined_return": Tag("Mean lambda-return of imagined rollouts, discounted", RETURN),
    "agent/assessed_rounds": Tag(
        "Rounds of training episodes in which the weights that act in evaluations were as good as "
        "in the best round; 0: the averaged weights of the moment act there",
        COUNT,
    ),
    "agent/value": Tag("Mean value that the critic gives to imagined states", RETURN),
    "agent/return_range": Tag(
        "Distance of the 5th and 95th percentile of imagined returns; it scales the advantages",
        RETURN,
    ),
    "agent/value_range": Tag(
        "Distance of the 5th and 95th percentile of the policy's values; it scales its objective",
        RETURN,
    ),
    "agent/policy_loss": Tag("Cross entropy of the policy and the policy of the search", NATS),
    "agent/value_loss": Tag("Cross entropy of the value and its n-step target", NATS),
    "agent/reward_loss": Tag("Cross entropy of the reward that MuZero's model predicts", NATS),
    "agent/continues_loss": Tag("Cross entropy of the end that MuZero's model predicts", NATS),
    "agent/consistency_loss": Tag(
        "One minus the cosine similarity of predicted and encoded latents; 0 is best", LOSS
    ),
    "time/decision_ms": Tag("Time to choose an action, mean since the previous row", "ms"),
    "time/update_ms": Tag(
        "Time of learning per environment step after the prefill, mean since the previous row; "
        "fits of the model included", "ms",
    ),
    "time/env_ms": Tag("Time of one environment step, mean since the previous row", "ms"),
    "time/env": Tag("Total time in the environment, training episodes only", "s"),
    "time/plan": Tag("Total time of choosing actions, training episodes only", "s"),
    "time/fit": Tag("Total time of learning", "s"),
    "time/eval": Tag("Total time of evaluations", "s"),
    "time/save": Tag("Total time of writing checkpoints", "s"),
}  # fmt: skip


def describe(tag: str) -> Tag | None:
    """Return the meaning of a tag; None for a tag of a plug-in."""
    return TAGS.get(tag) or TAGS.get(re.sub(r"_k\d+$", "_k<k>", tag))


PAGE = """\
# Tags

Every number that a run logs, in `metrics.csv` and in TensorBoard, which shows these descriptions.
`<k>` is a number of steps: 1, 5 and `model.accuracy_horizon`. [tensorboard.md](tensorboard.md)
explains the charts. This page is written by `python -m mbrl_cli.tags`.

| tag | meaning | unit |
|---|---|---|
"""


def markdown() -> str:
    """Return docs/tags.md."""
    rows = [f"| `{name}` | {tag.meaning} | {tag.unit} |\n" for name, tag in TAGS.items()]
    return PAGE + "".join(rows)


if __name__ == "__main__":
    print(markdown(), end="")
