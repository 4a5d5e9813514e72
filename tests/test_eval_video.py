"""`eval_video`: evaluation episodes as videos in TensorBoard, which change no number."""

from io import BytesIO

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mbrl_cli.episode_video import MAX_FRAMES, MAX_SIDE, EpisodeVideo
from mbrl_cli.runner import Runner

RUN = [
    "env=gridworld", "agent=mpc", "planner=cem", "total_steps=60", "prefill_steps=20",
    "eval_every=25", "eval_episodes=2", "final_eval_episodes=2", "planner.horizon=3",
    "planner.population=12", "planner.iterations=1", "agent.fit_every=10", "model.max_steps=5",
    "model.hidden=[8]", "model.termination_steps=5", "env.kwargs.max_steps=10",
    "checkpoint_every=10", "console=false", "device=cpu",
]  # fmt: skip


class FakeEnv:
    """Renders its number of images so far as brightness."""

    def __init__(self, size=(30, 40)):
        self.gym = self
        self.render_mode = "rgb_array"
        self.size = size
        self.count = 0

    def render(self):
        return np.full((*self.size, 3), self.count, np.uint8)


def brightness(episodes, lengths):
    video, envs = EpisodeVideo(episodes), [FakeEnv() for _ in lengths]
    for step in range(max(lengths)):
        for episode, (env, length) in enumerate(zip(envs, lengths, strict=True)):
            env.count = step
            if step < length:
                video.record(episode, env)
    return video.frames()[:, 0, 0, 0].tolist()


def test_the_first_episodes_follow_each_other():
    assert brightness(2, [3, 2, 4]) == [0, 1, 2, 0, 1]


def test_of_a_long_episode_every_second_or_fourth_image_is_kept():
    assert brightness(1, [MAX_FRAMES]) == list(range(MAX_FRAMES))
    assert brightness(1, [MAX_FRAMES + 1]) == list(range(0, MAX_FRAMES + 1, 2))
    assert brightness(1, [255]) == list(range(0, 255, 4))


def test_large_images_become_small_ones():
    video = EpisodeVideo(1)
    video.record(0, FakeEnv((400, 600)))
    assert video.frames().shape[1:] == (round(400 * MAX_SIDE / 600), MAX_SIDE, 3)


def rows(run):
    lines = (run / "metrics.csv").read_text().splitlines()
    return [line for line in lines if ",time/" not in line]


def test_videos_are_logged_and_no_number_changes(mbrl, tmp_path):
    assert mbrl("train", *RUN, "hydra.run.dir=plain").code == 0
    done = mbrl("train", *RUN, "eval_video=1", "hydra.run.dir=video")
    assert done.code == 0, done.err
    assert rows(tmp_path / "video") == rows(tmp_path / "plain")
    events = EventAccumulator(str(tmp_path / "video"), {"images": 0}).Reload()
    (figure,) = events.Images("model/grid_world")
    assert (figure.step, figure.width > 1000) == (60, True)
    videos = events.Images("eval/video")
    assert [video.step for video in videos] == [25, 50, 60]
    with Image.open(BytesIO(videos[-1].encoded_image_string)) as image:
        assert image.size == (160, 160)  # five cells of 32 pixels
        assert image.info["duration"] % 60 == 0  # equal images are one, shown for longer


def test_a_resumed_run_logs_the_same_videos(mbrl, tmp_path, raise_at_call):
    whole = mbrl("train", *RUN, "eval_video=1", "hydra.run.dir=whole")
    assert whole.code == 0
    raise_at_call(Runner, "_play_round", 6, KeyboardInterrupt)
    assert mbrl("train", *RUN, "eval_video=1", "hydra.run.dir=cut").code != 0
    assert mbrl("resume", "cut").code == 0
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    images = [
        [(v.step, v.encoded_image_string) for v in accumulated.Images("eval/video")]
        for name in ("whole", "cut")
        for accumulated in [EventAccumulator(str(tmp_path / name), {"images": 0}).Reload()]
    ]
    assert images[0] == images[1]


def test_mistakes_are_answered_in_one_line(mbrl, monkeypatch):
    done = mbrl("train", *RUN, "eval_video=1", "eval_envs=0", "hydra.run.dir=run")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "eval_envs=0 has none" in done.err
    monkeypatch.setattr(
        "mbrl_cli.envs.gridworld.GridWorld.metadata", {"render_modes": ["ansi"], "render_fps": 4}
    )
    done = mbrl("train", *RUN, "eval_video=1", "hydra.run.dir=run")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "does not render rgb_array (its render modes: ansi)" in done.err
