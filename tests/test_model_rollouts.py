"""MBPO's rollouts in the model, and their length."""

import pytest
import torch
from mbpo_agent import make_mbpo, zeros_replay

from mbrl_cli.agents.rollout_length import RolloutLength
from mbrl_cli.errors import UserError
from mbrl_cli.replay.buffer import ReplayBuffer


def test_rollouts_start_at_real_states_and_stop_at_terminations(make_spec, make_recording_model):
    spec = make_spec()
    agent = make_mbpo(spec, make_recording_model(spec), rollout_length=5)
    agent.update(zeros_replay(spec, 4), 4)
    stored = agent.imagined.batch(torch.arange(len(agent.imagined)))
    # 12 rollouts from 0: to 1, to 2, and to 3, where all terminate
    assert stored.obs[:, 0].tolist() == [0.0] * 12 + [1.0] * 12 + [2.0] * 12
    assert stored.terminated.tolist() == [0.0] * 24 + [1.0] * 12
    assert torch.equal(stored.next_obs, stored.obs + 1.0)
    assert torch.equal(stored.reward, stored.obs[:, 0])


def test_the_last_step_of_a_rollout_is_no_termination(make_spec, make_recording_model):
    spec = make_spec()
    agent = make_mbpo(spec, make_recording_model(spec), rollout_length=2)
    agent.update(zeros_replay(spec, 4), 4)
    assert agent.imagined.batch(torch.arange(24)).terminated.sum() == 0.0


def test_terminations_are_sampled_with_their_probability(make_spec, make_recording_model):
    spec = make_spec()

    def uncertain(obs, action):
        return obs + 1.0, obs[..., 0], torch.full_like(obs[..., 0], 0.75)

    agent = make_mbpo(
        spec, make_recording_model(spec, uncertain), rollouts=4000, imagined_capacity=20_000
    )
    agent.update(zeros_replay(spec, 4), 4)
    stored = agent.imagined.batch(torch.arange(len(agent.imagined)))
    rollouts_per_step = stored.obs[:, 0].long().bincount().tolist()
    assert rollouts_per_step == pytest.approx([4000, 3000, 2250], rel=0.05)  # +- 0.014 at most


def test_transitions_that_are_not_finite_are_counted_and_not_stored(
    make_spec, make_recording_model
):
    spec = make_spec()

    def diverging(obs, action):
        next_obs = torch.where(obs == 1.0, torch.nan, obs + 1.0)
        return next_obs, obs[..., 0], torch.ones_like(obs[..., 0])

    agent = make_mbpo(spec, make_recording_model(spec, diverging))
    metrics = agent.update(zeros_replay(spec, 4), 4)
    assert metrics["agent/nonfinite"] == 12.0
    assert len(agent.imagined) == 12


def test_batches_are_real_if_no_imagined_transition_is_finite(make_spec, make_recording_model):
    spec = make_spec()

    def diverging(obs, action):
        return obs + torch.nan, obs[..., 0], torch.ones_like(obs[..., 0])

    agent = make_mbpo(spec, make_recording_model(spec, diverging))
    replay = zeros_replay(spec, 20)
    rows = [agent.update(replay, step) for step in range(1, 6)]
    assert rows[-1]["agent/imagined_ratio"] == 0.0
    assert rows[-1]["agent/q_real"] == pytest.approx(0.0, abs=5.0)


def test_an_empty_replay_gives_no_update(make_spec, make_recording_model):
    spec = make_spec()
    assert make_mbpo(spec, make_recording_model(spec)).update(ReplayBuffer(5, 1, 1), 0) == {}


def test_each_particle_takes_its_own_action(make_spec, make_recording_model):
    spec = make_spec(1, 2)
    model = make_recording_model(spec, num_particles=3)
    make_mbpo(spec, model).update(zeros_replay(spec, 4), 4)
    assert model.actions[0].shape == (4, 3, 2)  # 12 rollouts, 3 particles each
    assert len(model.actions[0].flatten().unique()) == 24


@pytest.mark.parametrize("propagation", ["ts1", "ts_inf", "expectation"])
def test_a_model_steps_each_particle_with_its_own_action(
    make_spec, make_ensemble, fill, propagation
):
    """The data follow obs + action, so the change of each particle is its own action."""
    spec = make_spec()
    model = make_ensemble(
        spec, num_members=2, num_elites=2, num_particles=4, propagation=propagation,
        max_steps=600,
    )  # fmt: skip
    replay = fill(lambda o, a, rng: (o + a, 0.0, False), 20, 20, lambda rng: rng.normal(size=1))
    generator = torch.Generator().manual_seed(0)
    model.fit(replay, generator)
    state = model.branch({"obs": torch.zeros(5, 1)}, 1)
    action = torch.linspace(-1, 1, 5 * model.num_particles).view(5, -1, 1)
    next_obs = model.decode(model.step(state, action, generator).state)
    assert torch.allclose(next_obs, action, atol=0.05)
    shared = model.step(state, action[:, 0], generator).state["obs"]  # one action for all particles
    assert torch.allclose(shared, action[:, :1].expand_as(shared), atol=0.05)


# --- length of rollouts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "length"), [(0, 1), (1000, 1), (1400, 1), (1500, 2), (2999, 4), (3000, 5), (9000, 5)]
)
def test_a_scheduled_length_is_linear_and_rounded_down(step, length):
    assert RolloutLength([1000, 3000, 1, 5], 0.3, 10).at(step) == length


@pytest.mark.parametrize("schedule", [[1, 5], [100, 100, 1, 5], [0, 100, 0, 5]])
def test_a_schedule_of_another_form_is_refused(make_spec, make_recording_model, schedule):
    with pytest.raises(UserError, match=r"agent\.rollout_length=.*first step < last step"):
        make_mbpo(make_spec(), make_recording_model(make_spec()), rollout_length=schedule)


@pytest.mark.parametrize(
    ("max_error", "length"), [(0.05, 1), (0.11, 1), (0.31, 3), (0.49, 4), (0.51, 5), (9.0, 5)]
)
def test_the_automatic_length_is_the_longest_with_a_small_error(
    make_spec, make_recording_model, max_error, length
):
    spec = make_spec()
    model = make_recording_model(spec, errors={5: 0.5, 1: 0.1})
    agent = make_mbpo(spec, model, rollout_length="auto", max_error=max_error, max_length=6)
    assert agent.rollout_length.at(4) == 1  # before any error is measured
    metrics = agent.update(zeros_replay(spec, 4), 4)
    assert metrics["agent/rollout_length"] == length
    assert metrics["agent/rollout_error"] == pytest.approx(0.1 * length)
