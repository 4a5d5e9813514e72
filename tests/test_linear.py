"""The linear model recovers linear systems; ridge regression and clipping by hand."""

import numpy as np
import pytest
import torch

from mbrl_cli.models.linear import Linear
from mbrl_cli.replay.buffer import ReplayBuffer

CPU = torch.device("cpu")
A = np.array([[0.9, 0.2], [-0.3, 1.1]])
B = np.array([[0.5], [-2.0]])
SHIFT = np.array([0.3, 0.0])


def make_linear(spec, ridge=1e-9):
    return Linear(spec, CPU, torch.Generator(), ridge=ridge, accuracy_horizon=1)


def linear_system(obs, action, rng):
    reward = 2.0 * obs[0] - obs[1] + 3.0 * action[0] - 4.0
    return A @ obs + B @ action + SHIFT, reward, False


def test_a_linear_system_and_its_reward_are_recovered(make_spec, fill, one_step, generator):
    replay = fill(linear_system, 20, 10, lambda rng: rng.uniform(-1, 1, 2))
    model = make_linear(make_spec(2))
    metrics = model.fit(replay, generator)
    obs = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    action = torch.tensor([[0.0], [0.0], [0.0], [1.0]])
    next_obs, step = one_step(model, obs, action, generator)
    at_zero, *columns = next_obs[:, 0].numpy()
    np.testing.assert_allclose(at_zero, SHIFT, atol=1e-4)
    np.testing.assert_allclose(
        np.stack(columns, 1) - at_zero[:, None], np.hstack([A, B]), atol=1e-4
    )
    assert step.reward[:, 0].tolist() == pytest.approx([-4.0, -2.0, -5.0, -1.0], abs=1e-3)
    assert step.continues[:, 0].tolist() == pytest.approx([1.0] * 4, abs=1e-4)
    assert metrics["error_k1"] < 1e-4 < metrics["baseline_k1"]


def test_a_ridge_of_one_halves_a_weight_of_normalized_data(make_spec, one_step, generator):
    # obs +-1 with change +-1: normalized x = y = +-1, so the weight is x'y / (x'x + n) = 1/2.
    replay = ReplayBuffer(100, 1, 1, 0.0)
    for i in range(100):
        obs = np.array([1.0 if i % 2 else -1.0])
        replay.add(obs, np.zeros(1), 0.0, 2 * obs, False, i == 99)
    model = make_linear(make_spec(), ridge=1.0)
    model.fit(replay, generator)
    next_obs, _ = one_step(model, torch.tensor([[1.0], [-1.0]]), torch.zeros(2, 1), generator)
    assert next_obs.flatten().tolist() == pytest.approx([1.5, -1.5], abs=1e-6)


def test_the_continue_probability_is_clipped(make_spec, one_step, generator):
    # All steps from obs 1 terminate and none from obs 0: the regression line is 1 - obs.
    replay = ReplayBuffer(100, 1, 1, 0.0)
    for i in range(100):
        replay.add(np.array([i % 2]), np.zeros(1), 0.0, np.array([i % 2]), bool(i % 2), False)
    model = make_linear(make_spec())
    model.fit(replay, generator)
    obs = torch.tensor([[-1.0], [0.0], [0.25], [1.0], [3.0]])
    _, step = one_step(model, obs, torch.zeros(5, 1), generator)
    assert step.continues[:, 0].tolist() == pytest.approx([1.0, 1.0, 0.75, 0.0, 0.0], abs=1e-4)


def test_held_out_episodes_do_not_change_a_fit(make_spec, fill, generator):
    """Huge values in the held-out episodes change neither the statistics nor the weights."""

    def system(obs, action, rng):
        return (obs * 0 + 1e6, 1e6, False) if obs[0] > 100 else linear_system(obs, action, rng)

    def fitted(held_out_start):
        episode = iter(range(-1, 1000))  # `fill` draws one start more, for its shape

        def start(rng):
            normal = rng.uniform(-1, 1, 2)
            return normal + (held_out_start if next(episode) % 5 == 1 else 0.0)

        model = make_linear(make_spec(2))
        replay = fill(system, 20, 10, start, holdout_ratio=0.2)
        assert len(replay.split()[1]) == 4 * 10
        model.fit(replay, generator)
        return model

    normal, huge = fitted(0.0), fitted(1e5)
    assert torch.equal(normal.weight, huge.weight)
    assert torch.equal(normal.normalizer.obs.mean, huge.normalizer.obs.mean)
