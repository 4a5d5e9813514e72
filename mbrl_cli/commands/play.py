"""`mbrl play`: watch a saved run in a window, or write a video."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from mbrl_cli.commands.output_file import check_output_file
from mbrl_cli.commands.saved_run_parser import SavedRunParser
from mbrl_cli.errors import UserError, printable

if TYPE_CHECKING:
    from mbrl_cli.api.run import Run
    from mbrl_cli.playback.screen import Screen

EPILOG = """\
examples:
  mbrl play outputs/RUN                                 a window; Escape closes it
  mbrl play outputs/RUN --video out.gif                 one episode as GIF, or --video out.mp4
  mbrl play outputs/RUN planner=icem planner.horizon=30 with another planner
  mbrl play outputs/RUN --model-figure model.png        grid world: what the model predicts
"""
VIDEO_FORMATS = (".gif", ".mp4")
FRAMES_PER_SECOND = 30.0  # where the environment does not say


def run(argv: list[str]) -> None:
    """Play episodes of the run that the words name."""
    words = _parse(argv)
    from mbrl_cli.api.loading import load_run
    from mbrl_cli.config.sweep_folder import refuse_sweep_folder

    refuse_sweep_folder("play", words.run_dir)
    saved = load_run(words.run_dir, words.trust, words.config_dir)
    if words.model_figure is not None:
        from mbrl_cli.playback.model_figure import write_model_figure

        for line in write_model_figure(saved, words.model_figure):
            print(line)
        print(f"wrote {words.model_figure}")
        return
    _play(saved, words)


def _parse(argv: list[str]) -> Namespace:
    parser = SavedRunParser(
        command="play",
        description="Watch a saved run in a window, or write a video: the environment, the plan of "
        "each decision, real and predicted rewards.",
        epilog=EPILOG,
        options="[--video FILE] [--episodes N] [--seed S] [--model-figure FILE]",
    )
    parser.add_argument("--video", type=Path, metavar="FILE", help="write FILE, .gif or .mp4")
    parser.add_argument(
        "--episodes", type=int, metavar="N", help="number of episodes (default: 1 in a video, 5)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="S",
        help="reset seed of the first episode; the next ones have S+1, ... (default: the seeds of "
        "mbrl eval)",
    )
    parser.add_argument(
        "--model-figure",
        type=Path,
        metavar="FILE",
        help="grid world: write what the model predicts for each cell and action as FILE.png",
    )
    words = parser.parse(argv)
    if words.video is not None and words.model_figure is not None:
        parser.error("--model-figure: cannot be used together with --video")
    for name, minimum in (("episodes", 1), ("seed", 0)):
        value = getattr(words, name)
        if value is not None and value < minimum:
            parser.error(f"--{name} {value}: must be >= {minimum}")
    check_output_file("--video", words.video, VIDEO_FORMATS)
    check_output_file("--model-figure", words.model_figure, (".png",))
    return words


def _play(saved: Run, words: Namespace) -> None:
    from mbrl_cli.playback.frame_drawer import FrameDrawer
    from mbrl_cli.playback.mp4_file import check_mp4
    from mbrl_cli.playback.player import Player
    from mbrl_cli.playback.rendering_env import make_rendering_env
    from mbrl_cli.playback.window import check_window
    from mbrl_cli.return_text import format_return

    if words.video is None:
        check_window()
    elif words.video.suffix.lower() == ".mp4":
        check_mp4(words.video)
    episodes = words.episodes or (5 if words.video is None else 1)
    seeds = saved.evaluation_seeds(episodes)
    if words.seed is not None:
        seeds = [words.seed + episode for episode in range(episodes)]
    env = make_rendering_env(saved)
    policy = saved.policy(overrides=words.overrides, envs=[env])
    player = Player(env, saved.config["env"]["id"], policy)
    drawer = FrameDrawer()
    frames_per_second = float(env.metadata.get("render_fps") or FRAMES_PER_SECOND)
    screen = _screen(saved.name, words.video, frames_per_second)
    try:
        for episode, seed in enumerate(seeds):
            watching = True
            for step in player.episode(episode, seed):
                watching = screen.show(drawer.frame(step))
                if not watching:
                    break
                if step.last_image is not None:
                    last = drawer.last_frame(step)
                    for _ in range(round(frames_per_second)):  # one second
                        watching = watching and screen.show(last)
            if not watching and not step.end:
                break
            value = format_return(step.episode_return)
            print(f"episode {episode + 1}  seed {seed}  return {value}  {step.step + 1:,} steps")
            if not watching:
                break
    finally:
        screen.close()
        env.close()
    if player.note:
        print(f"mbrl: no plan is drawn: {printable(player.note)}", file=sys.stderr)
    if words.video is not None:
        print(f"wrote {words.video}")


def _screen(title: str, video: Path | None, frames_per_second: float) -> Screen:
    if video is None:
        from mbrl_cli.playback.window import Window

        return Window(f"mbrl play {title}", frames_per_second)
    is_new = not video.exists()
    try:
        video.open("ab").close()
        if is_new:
            video.unlink()
    except OSError as error:
        raise UserError(f"--video {video}: cannot be written ({error.strerror})") from error
    if video.suffix.lower() == ".gif":
        from mbrl_cli.playback.gif_file import GifFile

        return GifFile(video, frames_per_second)
    from mbrl_cli.playback.mp4_file import Mp4File

    return Mp4File(video, frames_per_second)
