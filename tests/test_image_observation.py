"""Observations that are images: layouts, sizes, and a run of agent=dreamer."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from mbrl_cli.envs.image_observation import (
    ImageObservation,
    image_layout,
    refuse_images_beside_other_parts,
)
from mbrl_cli.errors import UserError


class Showing(gymnasium.Env):
    """Returns a given array as its observation."""

    action_space = spaces.Discrete(2)

    def __init__(self, image, high=255):
        self.image = image
        self.observation_space = spaces.Box(0, high, image.shape, image.dtype)

    def reset(self, *, seed=None, options=None):
        return self.image, {}


@pytest.mark.parametrize(
    ("shape", "dtype", "high", "layout"),
    [
        ((64, 64, 3), np.uint8, 255, "channels last"),
        ((210, 160, 3), np.uint8, 255, "channels last"),
        ((4, 84, 84), np.uint8, 255, "channels first"),
        ((84, 84), np.uint8, 255, "grey"),
        ((32, 32, 3), np.float32, 1, "channels last"),
        ((10, 10, 4), np.uint8, 255, None),  # a small board
        ((20, 10), np.uint8, 255, None),
        ((7, 7, 3), np.uint8, 255, None),
        ((64, 64, 3), np.float32, 7, None),  # not pixels
        ((128,), np.uint8, 255, None),
    ],
)
def test_images_are_recognised_by_shape_and_range(shape, dtype, high, layout):
    assert image_layout(spaces.Box(0, high, shape, dtype)) == layout


@pytest.mark.parametrize("layout", ["channels last", "channels first"])
def test_channels_come_first_and_values_are_unchanged(layout):
    image = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    given = image.transpose(1, 2, 0) if layout == "channels last" else image
    env = ImageObservation(Showing(given))
    assert env.observation_space.shape == (3, 64, 64)
    np.testing.assert_array_equal(env.reset()[0], image)


def in_a_dict(**parts):
    env = Showing(np.zeros((32, 32, 3), np.uint8))
    env.observation_space = spaces.Dict(parts)
    return env


def test_an_image_that_is_the_only_entry_of_a_dict_is_used():
    image = np.full((32, 32, 3), 7, np.uint8)
    env = in_a_dict(screen=spaces.Box(0, 255, image.shape, np.uint8))
    env.image = {"screen": image}
    np.testing.assert_array_equal(ImageObservation(env).reset()[0], np.full((3, 32, 32), 7))


def test_an_image_beside_other_entries_is_refused_with_both_ways_out():
    screen = spaces.Box(0, 255, (32, 32, 3), np.uint8)
    both = spaces.Dict(screen=screen, health=spaces.Box(0, 9, (1,)))
    with pytest.raises(
        UserError, match=r"images \(screen\) among screen, health.*\[screen\].*\[health\]"
    ):
        refuse_images_beside_other_parts("Doom-v0", both)
    small = spaces.Dict(image=spaces.Box(0, 255, (7, 7, 3), np.uint8), way=spaces.Discrete(4))
    for space in (screen, small, spaces.Dict(screen=screen)):
        refuse_images_beside_other_parts("Doom-v0", space)


def test_a_grey_image_in_zero_to_one_is_averaged_to_a_power_of_two():
    image = np.zeros((80, 48), np.float32)
    image[:40] = 1.0
    obs, _ = ImageObservation(Showing(image, high=1)).reset()
    assert obs.shape == (1, 32, 32)
    np.testing.assert_array_equal(obs[0, :16], 255)
    np.testing.assert_array_equal(obs[0, 16:], 0)


@pytest.mark.parametrize("shape", [(32, 32, 3), (32, 32), (2, 40, 36)])
def test_dreamer_learns_from_an_environment_that_observes_images(mbrl, monkeypatch, shape):
    def make():
        env = Showing(np.zeros(shape, np.uint8))
        env.step = lambda action: (env.observation_space.sample(), 0.0, False, False, {})
        return env

    spec = gymnasium.envs.registration.EnvSpec("Shown-v0", entry_point=make, max_episode_steps=10)
    monkeypatch.setitem(gymnasium.registry, "Shown-v0", spec)
    done = mbrl(
        "train", "env=gym", "env.id=Shown-v0", "agent=dreamer", "total_steps=30",
        "prefill_steps=20", "final_eval_episodes=1", "eval_every=0", "agent.pretrain_steps=1",
        "model.batch_size=2", "model.sequence_length=4", "agent.actor_critic.rollouts=4",
        "hydra.run.dir=new",
    )  # fmt: skip
    assert done.code == 0, done.err
