"""DeepMind Control through shimmy; the extra `dmc` installs both."""

import numpy as np
import pytest

from mbrl_cli.envs.make import make_env

pytest.importorskip("dm_control")
pytest.importorskip("shimmy")


def episode(seed):
    env = make_env("dm_control/cartpole-swingup-v0", action_repeat=2)
    observations, rewards = [env.reset(seed)], []
    action = np.array([0.5])
    while True:
        obs, reward, terminated, truncated = env.step(action)
        observations.append(obs)
        rewards.append(reward)
        if terminated or truncated:
            env.close()
            return np.stack(observations), np.array(rewards), terminated


def test_an_episode_of_cartpole_swingup():
    """Position [3] and velocity [2] become one vector; 500 steps of two, truncated at the end."""
    observations, rewards, terminated = episode(seed=0)
    assert observations.shape == (501, 5)
    assert observations.dtype == np.float32
    assert not terminated
    assert rewards.min() >= 0.0
    assert rewards.max() <= 2.0  # the sum of two rewards of at most 1
    assert np.allclose(observations[:, 1] ** 2 + observations[:, 2] ** 2, 1.0, atol=1e-5)


def test_the_time_limit_of_dm_control_counts_decisions():
    for repeat, limit in ((1, 1000), (2, 500)):
        env = make_env("dm_control/walker-walk-v0", action_repeat=repeat)
        assert env.spec.max_episode_steps == limit
        assert env.has_limit
        env.close()


def test_the_seed_determines_the_episode():
    one, same, other = (episode(seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one[0], other[0])
