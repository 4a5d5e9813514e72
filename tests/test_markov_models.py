"""A restored Markov model imagines and predicts the same numbers as the saved one."""

import copy

import pytest
import torch

from mbrl_cli.models.linear import Linear

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", ["linear", "point", "gaussian"])
def test_a_restored_model_imagines_the_same_numbers(make_spec, make_ensemble, fill, one_step, kind):
    def system(obs, action, rng):
        return 0.9 * obs + action + 0.1 * rng.normal(size=2), obs[0], bool(obs[0] > 1.5)

    def build(seed):
        if kind == "linear":
            return Linear(make_spec(2), CPU, torch.Generator())
        return make_ensemble(
            make_spec(2), seed, head=kind, num_members=3, num_elites=2, num_particles=4,
            propagation="ts1", max_steps=40,
        )  # fmt: skip

    saved, restored, fresh = build(0), build(1), build(1)
    replay = fill(system, 20, 10, lambda rng: rng.uniform(-1, 1, 2))
    saved.fit(replay, torch.Generator().manual_seed(0))
    restored.load_state_dict(copy.deepcopy(saved.state_dict()))
    assert restored.is_fitted

    obs, action = torch.randn(6, 2, generator=torch.Generator().manual_seed(2)), torch.ones(6, 1)

    def numbers(model):
        next_obs, step = one_step(model, obs, action, torch.Generator().manual_seed(3))
        predicted = model.predict(obs, action)
        parts = (next_obs, step.reward, step.continues, *predicted)
        return torch.cat([part.flatten() for part in parts])

    assert torch.equal(numbers(saved), numbers(restored))
    assert not torch.equal(numbers(saved), numbers(fresh))
