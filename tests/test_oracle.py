"""The oracle takes the environment's steps, by its simulator or by copies."""

import gymnasium
import numpy as np
import pytest
import torch

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.make import make_env
from mbrl_cli.models.base import Model
from mbrl_cli.models.oracle import Oracle

CPU = torch.device("cpu")


def one_hot(choice, size):
    return np.eye(size, dtype=np.float32)[choice]


def rows_from(model, obs, envs=None, num_plans=1):
    """Return the imagined states of N plans from obs [B, O], which `envs` returned."""
    obs = torch.as_tensor(obs, dtype=torch.float32)
    action = torch.zeros(len(obs), model.spec.action.dim)
    state = model.observe(model.initial(len(obs)), action, obs, envs)
    return model.branch(state, num_plans)


def test_a_simulator_takes_the_environment_s_steps_in_one_batch(generator):
    env = make_env("mbrl/GridWorld-v0")
    model = Oracle(env.spec, CPU, generator)
    obs = env.reset(0)
    rng = np.random.default_rng(0)
    for _ in range(30):
        step = model.step(rows_from(model, obs[None], num_plans=4), torch.eye(4), generator)
        choice = rng.integers(4)
        obs, reward, terminated, truncated = env.step(one_hot(choice, 4))
        assert model.decode(step.state)[choice, 0].tolist() == obs.tolist()
        assert float(step.reward[choice, 0]) == reward
        assert float(step.continues[choice, 0]) == 1.0 - terminated
        if terminated or truncated:
            obs = env.reset(0)


def test_each_particle_of_a_random_simulator_has_its_own_outcome(generator):
    env = make_env("FrozenLake-v1")
    model = Oracle(env.spec, CPU, generator, num_particles=30)
    rows = rows_from(model, env.reset(0)[None], num_plans=2)
    down = torch.eye(4)[[1, 1]]  # both rows go down, or slip to the left or right
    own = model.decode(model.step(rows, down, generator).state).argmax(-1)  # [2, 30]
    assert set(own.flatten().tolist()) == {0, 1, 4}
    assert not torch.equal(own[0], own[1])
    common = model.step(rows, down, generator, common_noise=True).state
    assert torch.equal(*model.decode(common))


def test_a_deterministic_simulator_has_one_particle(generator):
    assert Oracle(make_env("Taxi-v4").spec, CPU, generator, num_particles=30).num_particles == 1


def test_without_a_simulator_the_environments_are_required(generator):
    env = Env(RandomWalk())
    model = Oracle(env.spec, CPU, generator)
    with pytest.raises(ValueError, match="needs the environments"):
        rows_from(model, env.reset(0)[None])
    with pytest.raises(ValueError, match="has no batched simulator"):
        model.predict(torch.zeros(1, 1), torch.zeros(1, 2))


class RandomWalk(gymnasium.Env):
    """Random walk on the integers. A step of 1 is sometimes doubled; +-5 and beyond terminate."""

    observation_space = gymnasium.spaces.Box(-20, 20, (1,), dtype=np.float64)
    action_space = gymnasium.spaces.Discrete(2)
    double_probability = 0.5

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = 0.0
        return np.array([self.position]), {}

    def step(self, action):
        size = 2 if self.np_random.random() < self.double_probability else 1
        self.position += size if action else -size
        return np.array([self.position]), self.position, abs(self.position) >= 5, False, {}


def test_copies_step_as_the_environment_does_and_leave_it_unchanged(generator):
    env, twin = Env(RandomWalk()), Env(RandomWalk())  # the twin is never copied
    env.gym.double_probability = twin.gym.double_probability = 1.0
    model = Oracle(env.spec, CPU, generator)
    obs = env.reset(3)
    assert obs.tolist() == twin.reset(3).tolist()
    rng = np.random.default_rng(0)
    num_terminated = 0
    for k in range(60):
        plan = rng.integers(2, size=3)
        state = rows_from(model, obs[None], [env], num_plans=5)
        for choice in plan:  # row 2 follows the plan; the other rows have other actions
            actions = torch.eye(2)[torch.tensor([0, 1, int(choice), 0, 1])]
            state, reward, continues = model.step(state, actions, generator)
        for choice in plan:
            obs, real_reward, terminated, _ = env.step(one_hot(choice, 2))
            other = twin.step(one_hot(choice, 2))
            assert (obs.tolist(), real_reward, terminated) == (other[0].tolist(), *other[1:3])
            if terminated:
                break
        assert model.decode(state)[2, 0].tolist() == obs.tolist()
        assert float(continues[2, 0]) == 1.0 - terminated
        if terminated:
            num_terminated += 1
            obs = env.reset(k)
            twin.reset(k)
        else:
            assert float(reward[2, 0]) == real_reward
    assert num_terminated > 5


def test_a_copy_has_no_reward_after_termination(generator):
    env = Env(RandomWalk())
    env.reset(0)
    env.gym.position = 4.0
    model = Oracle(env.spec, CPU, generator)
    state = rows_from(model, [[4.0]], [env])
    right = torch.tensor([[0.0, 1.0]])
    state, reward, continues = model.step(state, right, generator)
    assert (float(reward) >= 5.0, float(continues)) == (True, 0.0)
    last_obs = model.decode(state).clone()
    state, reward, continues = model.step(state, right, generator)
    assert (float(reward), float(continues)) == (0.0, 0.0)
    assert torch.equal(model.decode(state), last_obs)


def test_copies_in_the_middle_of_a_plan_are_not_kept(generator):
    env = Env(RandomWalk())
    obs = env.reset(0)
    model = Oracle(env.spec, CPU, generator)
    state = rows_from(model, obs[None], [env], num_plans=3)
    actions = torch.eye(2)[torch.tensor([[0, 1, 1]] * 7)]  # [H, M, A]: left, right, right
    seed = generator.get_state()
    first = model.unroll(state, actions, generator)
    assert len(model._states) == 1 + 3  # that of the environment, and one of each plan
    generator.set_state(seed)
    plain = Model.unroll(model, state, actions, generator)  # keeps all copies
    assert torch.equal(first.reward, plain.reward)
    assert torch.equal(first.continues, plain.continues)
    ends = (model.decode(trajectory.last_state) for trajectory in (first, plain))
    assert torch.equal(*ends)
    model.unroll(first.last_state, actions[:1], generator)  # a plan goes on


def test_copies_of_several_environments_stay_apart(generator):
    envs = [Env(RandomWalk()) for _ in range(3)]
    positions = (0.0, 2.0, -3.0)
    for seed, (env, position) in enumerate(zip(envs, positions, strict=True)):
        env.reset(seed)
        env.gym.position = position
    model = Oracle(envs[0].spec, CPU, generator)
    state = rows_from(model, [[position] for position in positions], envs, num_plans=2)
    actions = torch.eye(2).repeat(3, 1)  # left and right in each
    state, _, _ = model.step(state, actions, generator)
    imagined = model.decode(state).view(3, 2).tolist()
    for position, (left, right) in zip(positions, imagined, strict=True):
        assert position - left in (1.0, 2.0)
        assert right - position in (1.0, 2.0)


def test_copies_know_the_distribution_of_outcomes_but_not_the_next_one(generator):
    env, twin = Env(RandomWalk()), Env(RandomWalk())
    obs = env.reset(0)
    twin.reset(0)
    model = Oracle(env.spec, CPU, generator)
    start = rows_from(model, obs[None], [env], num_plans=200)
    right = torch.tensor([[0.0, 1.0]]).expand(200, -1)
    moved = (model.decode(model.step(start, right, generator).state) - obs[0]).flatten()
    assert set(moved.tolist()) == {1.0, 2.0}
    assert 0.4 < (moved == 2.0).float().mean() < 0.6
    common = model.step(start, right, generator, common_noise=True).state
    assert len(set(model.decode(common).flatten().tolist())) == 1
    for _ in range(20):  # imagination has not changed the environment's own random numbers
        assert env.step(one_hot(1, 2))[0].tolist() == twin.step(one_hot(1, 2))[0].tolist()
