"""Training that diverges ends with exit code 4, and only finite states are saved."""

import math

import pytest
import torch

from mbrl_cli.agents import sac
from mbrl_cli.agents.diverged_fits import DivergedFits
from mbrl_cli.agents.sac import SAC
from mbrl_cli.checkpoint_store import load_newest_checkpoint
from mbrl_cli.divergence import all_finite, refuse_nonfinite_losses
from mbrl_cli.errors import Diverged
from mbrl_cli.models.linear import Linear

RUN = [
    "total_steps=100", "prefill_steps=30", "eval_every=0", "final_eval_episodes=1",
    "env.max_episode_steps=10", "checkpoint_every=10", "console=false", "device=cpu",
]  # fmt: skip
SAC_KEYS = ["hidden=[8]", "batch_size=8", "log_every=5", "updates_per_step=1"]
AGENT_SAC = [f"agent.sac.{key}" for key in SAC_KEYS]
AGENTS = {
    "sac": ["agent=sac", *(f"agent.{key}" for key in SAC_KEYS)],
    "mbpo": ["agent=mbpo", "model=linear", "agent.rollouts=20", *AGENT_SAC],
    "terminal value": [
        "agent=mpc", "model=linear", "agent.terminal_value=true", "planner.horizon=2",
        "planner.population=12", "planner.iterations=1", *AGENT_SAC,
    ],
}  # fmt: skip


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("env", ["pendulum", "cartpole"])  # continuous, discrete
def test_nan_losses_end_the_run_and_it_resumes_from_a_finite_state(
    mbrl, monkeypatch, tmp_path, agent, env
):
    real, calls = sac.critic_loss, []

    def diverging(q, targets):
        calls.append(1)
        return real(q, targets) * (float("nan") if len(calls) > 25 else 1.0)

    monkeypatch.setattr(sac, "critic_loss", diverging)
    done = mbrl("train", f"env={env}", *RUN, *AGENTS[agent], "hydra.run.dir=run")
    assert done.code == 4
    assert "is nan: training diverged" in done.err or "not finite: training diverged" in done.err
    assert "learning_rate" in done.err
    assert done.err.count("\n") == 1
    state = load_newest_checkpoint(tmp_path / "run")[0]
    saved = state["agent"] if agent == "sac" else state["agent"]["sac"]
    assert all_finite([*saved["actor"], *saved["critics"], *saved["targets"]])
    monkeypatch.setattr(sac, "critic_loss", real)
    assert mbrl("resume", "run").code == 0


def test_a_nan_action_is_not_reported_as_a_fault_of_the_environment(mbrl, monkeypatch):
    real, calls = SAC.act, []

    def act(self, obs, generator):
        calls.append(1)
        action = real(self, obs, generator)
        return action if len(calls) < 5 else torch.full_like(action, math.nan)

    monkeypatch.setattr(SAC, "act", act)
    done = mbrl("train", "env=pendulum", *RUN, *AGENTS["sac"], "hydra.run.dir=run")
    assert done.code == 4
    assert (
        "the agent's action is not finite: training diverged; lower agent.learning_rate" in done.err
    )


@pytest.mark.parametrize(
    "words",
    [
        ["agent=mpc", "model=linear", "planner.horizon=2", "planner.population=12"],
        ["agent=mpc", "model=rssm", "planner.horizon=2", "planner.population=12",
         "model.fit_steps=2", "model.batch_size=2", "model.sequence_length=4"],
        ["agent=alphazero", "model=linear", "planner.num_simulations=2", "agent.batch_size=4"],
    ],
    ids=["linear", "rssm", "alphazero"],
)  # fmt: skip
def test_three_diverged_fits_in_a_row_end_the_run(mbrl, monkeypatch, tmp_path, words):
    target = (
        "linear.Linear._targets" if "model=linear" in words else "rssm.rssm_losses.observation_loss"
    )
    if "model=linear" in words:
        real = Linear._targets
        monkeypatch.setattr(Linear, "_targets", lambda self, batch: real(self, batch) * math.nan)
    else:
        from mbrl_cli.models import rssm_losses

        real = rssm_losses.observation_loss
        monkeypatch.setattr(rssm_losses, "observation_loss", lambda d, t: real(d, t) * math.nan)
    done = mbrl("train", "env=cartpole", *RUN, *words, "agent.fit_every=10", "hydra.run.dir=run")
    assert done.code == 4, (target, done.err)
    assert "the model diverged in 3 fits in a row and was rolled back each time" in done.err
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert sum(",model/rolled_back,1.0" in row for row in rows) == 2  # the third one ended the run


def test_the_linear_model_keeps_its_weights_if_a_fit_is_not_finite(
    make_spec, fill, generator, monkeypatch
):
    replay = fill(lambda obs, action, rng: (obs + action, 1.0, False), 6, 10, lambda rng: 0.0)
    model = Linear(make_spec(), torch.device("cpu"), generator)
    model.fit(replay, generator)
    good = model.weight.clone()
    real = Linear._targets
    monkeypatch.setattr(Linear, "_targets", lambda self, batch: real(self, batch) * math.nan)
    assert model.fit(replay, generator)["rolled_back"] == 1.0
    assert torch.equal(model.weight, good)


def test_values_whose_differences_overflow_are_named(make_spec, fill, generator):
    replay = fill(lambda obs, action, rng: (obs + action, 1.0, False), 6, 10, lambda rng: 0.0)
    replay._obs[3], replay._next_obs[3] = 3e38, -3e38
    with pytest.raises(Diverged, match=r"entry 0 has values up to inf, too large for float32"):
        Linear(make_spec(), torch.device("cpu"), generator).fit(replay, generator)


def test_only_consecutive_diverged_fits_count():
    fits = DivergedFits()
    for rolled_back in (1.0, 1.0, 0.0, 1.0, 1.0):
        fits.add({"rolled_back": rolled_back})
    with pytest.raises(Diverged, match="3 fits in a row"):
        fits.add({"rolled_back": 2.0})


def test_losses_of_a_fit_that_was_rolled_back_are_excepted():
    refuse_nonfinite_losses({"agent/critic_loss": 1.0, "eval/return": math.nan}, "")
    refuse_nonfinite_losses({"model/train_loss": math.nan, "model/rolled_back": 1.0}, "")
    with pytest.raises(Diverged, match=r"model/train_loss is inf: training diverged; lower it"):
        refuse_nonfinite_losses(
            {"model/train_loss": math.inf, "model/rolled_back": 0.0}, "lower it"
        )


def test_a_model_that_diverges_in_every_fit_ends_the_run_with_advice(
    run_mistake, tiny_run, tmp_path
):
    words = " ".join(["train", "env=pendulum", *tiny_run, "hydra.run.dir=new"])
    more = " model.learning_rate=1 model.max_steps=300 model.activation=relu total_steps=200"
    wild = " model.weight_decay=1e30"
    run_mistake(
        words + more + wild, 4, "diverged in 3 fits in a row and was rolled back each time; lower"
    )
    rows = (tmp_path / "new" / "metrics.csv").read_text().splitlines()
    assert sum(",model/rolled_back,5.0" in row for row in rows) == 2  # the third one ended the run
