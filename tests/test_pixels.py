"""Images as observations: their values, refused configs, resumed runs and the video."""

from io import BytesIO

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mbrl_cli.config.build import build
from mbrl_cli.envs.action_repeat import ActionRepeat
from mbrl_cli.envs.make import make_env
from mbrl_cli.envs.pixels import Pixels
from mbrl_cli.errors import UserError


class Counter(gymnasium.Env):
    """Render the step count as brightness in the left half; the right half is black."""

    observation_space = spaces.Box(0, 1, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self):
        self.count = 0

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.zeros(1, np.float32), float(self.count), self.count == 5, False, {}

    def render(self):
        image = np.zeros((32, 64, 3), np.uint8)
        image[:, :32] = 10 * self.count
        return image


def test_images_are_means_of_the_rendered_ones_and_stacked_newest_last():
    env = Pixels(Counter(), 8, grey=True, frames=3)
    obs, _ = env.reset()
    assert obs.shape == env.observation_space.shape == (3, 8, 8)
    assert obs.max() == 0
    env.step(0)
    obs = env.step(0)[0]
    assert obs[:, 0, 0].tolist() == [0, 10, 20]
    assert obs[2].tolist() == [[20] * 4 + [0] * 4] * 8
    colour = Pixels(Counter(), 16, grey=False, frames=2)
    colour.reset()
    assert colour.step(0)[0][:, 0, 0].tolist() == [0, 0, 0, 10, 10, 10]


def test_a_repeated_action_has_the_sum_of_rewards_and_stops_at_the_end():
    env = ActionRepeat(Counter(), 3)
    env.reset()
    assert env.step(0)[1:4] == (6.0, False, False)  # 1 + 2 + 3
    assert env.step(0)[1:4] == (9.0, True, False)  # 4 + 5; the episode ends


def test_the_images_of_the_grid_world_show_the_agent():
    env = make_env("mbrl/GridWorld-v0", obs="pixels", pixel_size=32)
    assert env.spec.obs_shape == (1, 32, 32)
    assert env.spec.obs_dim == 1024
    start = env.reset(0).reshape(32, 32)
    moved = env.step(np.array([1.0, 0, 0, 0]))[0].reshape(32, 32)  # up
    # Luminance of the agent's blue: 0.299 * 40 + 0.587 * 90 + 0.114 * 200 = 87.6; floor 240.
    assert (start[-1, 0], start[-8, 0]) == (88.0, 240.0)
    assert (moved[-1, 0], moved[-8, 0]) == (240.0, 88.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["env=cartpole"], "env.termination=known: is a function of vectors"),
        (["env=gridworld", "env.pixel_size=20"], "env.pixel_size=20: must be 8, 16, 32, 64"),
        (
            ["env=gridworld", "model=mlp"],
            "model=Ensemble: mbrl/GridWorld-v0 observes images",
        ),
        (["env=gridworld", "agent=sac"], "agent: SAC needs vector observations"),
        (["env=gridworld", "env.obs=video"], "env.obs=video: must be one of vector, pixels"),
    ],
)
def test_a_config_that_cannot_use_images_is_refused(compose_run, words, message):
    with pytest.raises(UserError, match=message):
        build(compose_run("env.obs=pixels", *words))


@pytest.mark.parametrize(
    ("obs", "free_nats", "steps", "prefill"),
    [("vector", 0.1, 2000, 1000), ("pixels", 1.0, 4000, 1000)],
)
def test_images_have_recommended_values_of_their_own(compose_run, obs, free_nats, steps, prefill):
    cfg = compose_run("env=gridworld", f"env.obs={obs}", "agent=dreamer")
    assert (cfg.model.free_nats, cfg.total_steps, cfg.prefill_steps) == (free_nats, steps, prefill)


@pytest.mark.parametrize("agent", ["dreamer", "mpc"])
def test_a_resumed_run_on_images_equals_an_uninterrupted_one(mbrl, tmp_path, agent):
    words = [
        "env=gridworld", "env.obs=pixels", f"agent={agent}", "model=rssm", "prefill_steps=20",
        "eval_every=0", "final_eval_episodes=1", "env.max_episode_steps=10", "checkpoint_every=10",
        "model.sequence_length=8", "model.fit_steps=3", "console=false", "device=cpu",
    ]  # fmt: skip
    if agent == "mpc":
        words += ["planner=cem", "planner.horizon=3", "planner.population=8", "agent.fit_every=10"]
    else:
        words += ["agent.pretrain_steps=2", "agent.actor_critic.rollouts=16"]
    assert mbrl("train", *words, "total_steps=50", "hydra.run.dir=whole").code == 0
    assert mbrl("train", *words, "total_steps=37", "hydra.run.dir=resumed").code == 0
    assert mbrl("resume", "resumed", "total_steps=50").code == 0
    weights = [
        (tmp_path / run / "checkpoint.safetensors").read_bytes() for run in ("whole", "resumed")
    ]
    assert weights[0] == weights[1]


def test_the_video_has_the_truth_beside_the_open_loop_prediction(mbrl, tmp_path):
    """20 frames: 5 given, 15 predicted; truth, prediction, difference side by side."""
    words = [
        "env=gridworld", "env.obs=pixels", "agent=dreamer", "prefill_steps=60", "total_steps=90",
        "eval_every=80", "eval_episodes=1", "final_eval_episodes=1", "env.max_episode_steps=19",
        "agent.pretrain_steps=2", "agent.replay_ratio=0.05", "agent.actor_critic.rollouts=16",
        "holdout_ratio=0.5", "console=false", "device=cpu", "hydra.run.dir=run",
    ]  # fmt: skip
    assert mbrl("train", *words).code == 0
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"images": 0})
    events.Reload()
    videos = events.Images("model/open_loop")
    assert [video.step for video in videos] == [80, 90]
    with Image.open(BytesIO(videos[0].encoded_image_string)) as video:
        assert video.n_frames == 20
        # 2 held-out episodes below each other, 3 images of 16 pixels side by side, zoomed by 4
        assert video.size == (3 * 16 * 4, 2 * 16 * 4)
        video.seek(0)
        first = np.asarray(video.convert("L"))
    assert first[60, 0] == 88  # the agent at the start, with the brightness of the test above
