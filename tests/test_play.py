"""`mbrl play`: imagined states lie on the visited ones; videos, the window, the model's figure."""

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import RescaleObservation
from PIL import Image
from test_documentation import DOCUMENTS, ROOT, blocks, commands

import mbrl_cli as mbrl_api
from mbrl_cli.envs.action_repeat import ActionRepeat
from mbrl_cli.envs.gridworld import GridWorld
from mbrl_cli.envs.mujoco_tasks.forward_velocity import ForwardVelocity
from mbrl_cli.grid_figure import (
    Outcomes,
    draw_figure,
    pairs,
    right_predictions,
    true_outcomes,
)
from mbrl_cli.playback.frame_drawer import MIN_HEIGHT, FrameDrawer
from mbrl_cli.playback.played_step import PlayedStep
from mbrl_cli.playback.projections.mujoco_camera import image_points
from mbrl_cli.playback.projections.registry import projection_of

ORACLE = [
    "agent=mpc", "model=oracle", "planner=random_shooting", "planner.population=200",
    "planner.horizon=12", "total_steps=12", "prefill_steps=10", "eval_every=0",
    "final_eval_episodes=1", "env.max_episode_steps=10", "console=false", "device=cpu",
]  # fmt: skip


@pytest.fixture
def oracle_run(mbrl):
    """Return a function that trains a run whose model is the true simulator."""

    def trained(*words, folder="run"):
        done = mbrl("train", *ORACLE, *words, f"hydra.run.dir={folder}")
        assert done.code == 0, done.err
        return mbrl_api.load_run(folder)

    return trained


def of_colour(image, colour):
    """Return the columns and rows [n, 2] of all pixels of one colour, at their centres."""
    rows, columns = np.nonzero((image == np.array(colour)).all(-1))
    return np.stack([columns, rows], 1) + 0.5


def far_end(pixels, centre):
    """Return the end of a long shape that begins at `centre`: the mean of its farthest pixels."""
    along = pixels.mean(0) - centre
    along /= np.linalg.norm(along)
    distance = (pixels - centre) @ along
    return pixels[distance > distance.max() - 1.5].mean(0)


def cartpole_tip(image):
    axle = of_colour(image, (129, 132, 203)).mean(0)
    return far_end(of_colour(image, (202, 152, 101)), axle)


def pendulum_tip(image):
    # The end of the rod is a half circle whose radius is a tenth of the rod's length, 500 / 4.4.
    end = far_end(of_colour(image, (204, 77, 77)), np.array([250.0, 250.0]))
    direction = end - 250.0
    return end - direction / np.linalg.norm(direction) * 0.1 * 500 / 4.4


def grid_agent(image):
    return of_colour(image, (40, 90, 200)).mean(0)


def inverted_pendulum_tip(image):
    """Return the centre of the ball at the upper end of the pole, which is blue-green."""
    colours = image.astype(int)
    is_pole = (colours[..., 2] > colours[..., 0] + 30) & (colours[..., 1] > colours[..., 0] + 30)
    rows, columns = np.nonzero(is_pole)
    pixels = np.stack([columns, rows], 1) + 0.5
    _, _, (along, across) = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    along = along if along[1] < 0 else -along  # upwards
    radius = np.abs((pixels - pixels.mean(0)) @ across).max()
    return far_end(pixels, pixels.mean(0) - 100 * along) - radius * along


@pytest.mark.parametrize(
    ("words", "find", "package", "tolerance"),
    [
        (["env=gridworld"], grid_agent, None, 0.01),
        (["env=cartpole"], cartpole_tip, "pygame", 2.0),
        (["env=cartpole_continuous"], cartpole_tip, "pygame", 2.0),
        (["env=pendulum"], pendulum_tip, "pygame", 2.0),
    ],
    ids=["gridworld", "cartpole", "cartpole_continuous", "pendulum"],
)
def test_imagined_states_lie_on_the_states_that_are_visited(
    oracle_run, words, find, package, tolerance
):
    if package is not None:
        pytest.importorskip(package)
    run = oracle_run(*words)
    env, policy = run.make_env("rgb_array"), run.policy()
    projection = projection_of(env)
    env.reset(seed=3)
    for _ in range(4):  # so that it moves
        discrete = env.action_space.shape == ()
        obs, *_ = env.step(1 if discrete else env.action_space.high)
    images = [env.render()]
    policy.act(obs)
    (plan,), imagined = policy.plan(), policy.imagine(1)
    path = projection.points(np.concatenate([[obs], imagined.obs[0]]).astype(float))
    for action in plan[:9]:  # the plan itself is executed, without a new one
        env.step(action)
        images.append(env.render())
    found = np.array([find(image) for image in images])
    assert np.abs(found - path[: len(found)]).max() < tolerance
    assert np.abs(found[1:] - found[0]).max() > 5  # it moves, so the test can fail


@pytest.fixture
def rendered(monkeypatch):
    """Return a function that builds a MuJoCo environment and renders its first image."""
    pytest.importorskip("mujoco")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    built = []

    def build(name, *wrappers):
        env = gymnasium.make(name, render_mode="rgb_array")
        for wrapper in wrappers:
            env = wrapper(env)
        built.append(env)
        obs, _ = env.reset(seed=0)
        try:
            env.render()
        except Exception as error:  # no EGL on this machine
            pytest.skip(f"MuJoCo cannot render: {error}")
        return env, obs

    yield build
    for env in built:
        env.close()


def test_a_mujoco_projection_finds_the_tip_of_the_pole(rendered):
    env, _ = rendered("InvertedPendulum-v5")
    projection = projection_of(env)
    for action in (0.0, 1.0, 1.0, -1.0, -1.0):
        obs = env.step(np.array([action], np.float32))[0]
        image = env.render()
        assert np.abs(projection.points(obs[None])[0] - inverted_pendulum_tip(image)).max() < 3


@pytest.mark.parametrize(
    ("name", "repeats"), [("Hopper-v5", 1), ("Hopper-v5", 2), ("HalfCheetah-v5", 1)]
)
def test_the_summed_velocities_of_a_torso_lead_to_its_positions(rendered, name, repeats):
    env, obs = rendered(name, lambda env: ActionRepeat(env, repeats), ForwardVelocity)
    body, action = env.unwrapped.data.body("torso"), np.full(env.action_space.shape, 0.5)
    projection = projection_of(env)
    states, positions = [obs], [body.xpos.copy()]
    for _ in range(12):
        states.append(env.step(action)[0])
        positions.append(body.xpos.copy())
    true = image_points(env.unwrapped, np.array(positions))  # with the camera of the first image
    env.reset(seed=0)  # the present state is the first one again
    assert np.abs(projection.points(np.array(states)) - true).max() < 2  # pixels
    assert np.abs(true - true[0]).max() > 3  # it moves


def test_observations_that_a_wrapper_changed_have_no_place_in_the_image():
    env = GridWorld(render_mode="rgb_array")
    assert projection_of(env) is not None
    assert projection_of(RescaleObservation(env, np.float32(0), np.float32(1))) is None


def test_an_environment_states_where_its_observations_lie():
    (example,) = blocks(ROOT / "docs" / "play.md", "python")
    names = {}
    exec(example, names)

    class Corridor(names["ShowsPlans"], GridWorld):
        pass

    points = projection_of(Corridor()).points(np.array([[0.0, 0.0], [2.0, 0.0]]))
    assert points.tolist() == [[16, 16], [80, 16]]


def test_a_video_of_the_grid_world_shows_the_plan_and_prints_the_return(oracle_run, mbrl):
    oracle_run("env=gridworld", "planner.population=3000", "env.max_episode_steps=50")
    done = mbrl("play", "run", "--video", "out.gif", "--episodes", "2", "--seed", "5")
    lines = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert lines[0].startswith("episode 1  seed 5  return ")
    assert lines[1].startswith("episode 2  seed 6  return ")
    assert lines[2] == "wrote out.gif"
    steps = [int(line.split()[-2]) for line in lines[:2]]
    video = Image.open("out.gif")
    # One frame a step and the last image of each episode, which is held for a second.
    assert video.n_frames == sum(steps) + 2
    assert video.size == (320 + 260, 320)
    vermilion = of_colour(np.asarray(video.convert("RGB"))[:, :320], (213, 94, 0))
    assert len(vermilion) > 100  # the plan is drawn over the grid
    video.seek(steps[0])  # the state at the end of the first episode has no plan
    assert len(of_colour(np.asarray(video.convert("RGB"))[:, :320], (213, 94, 0))) == 0


def test_playing_again_gives_the_same_video(oracle_run, mbrl, tmp_path):
    oracle_run("env=gridworld")
    first = mbrl("play", "run", "--video", "a.gif")
    second = mbrl("play", "run", "--video", "b.gif")
    assert first.out.replace("a.gif", "") == second.out.replace("b.gif", "")
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def step_of(size, path=None, **fields):
    image = np.zeros((*size, 3), np.uint8)
    return PlayedStep(image, 0, 0, np.int64(1), 1.0, 1.0, "", path=path, **fields)


@pytest.mark.parametrize("size", [(160, 160), (400, 600), (481, 333), (1000, 501), (64, 65)])
def test_a_frame_has_even_sides_and_space_for_the_panel(size):
    frame = FrameDrawer().frame(step_of(size))
    height, width = frame.shape[:2]
    assert height % 2 == width % 2 == 0
    assert MIN_HEIGHT <= height <= 480
    assert width >= 260 + 20


def test_the_path_is_scaled_with_the_image():
    # 100 pixels become 400, so the point (25, 50) lies at (100, 200).
    frame = FrameDrawer().frame(step_of((100, 100), np.array([[75.0, 50], [25, 50]])))
    assert frame[200, 100].tolist() == [213, 94, 0]
    assert frame[100, 200].tolist() == [0, 0, 0]


def test_the_window_shows_the_frames(oracle_run, mbrl, monkeypatch):
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    oracle_run("env=gridworld", "env.kwargs.max_steps=2")
    done = mbrl("play", "run", "--episodes", "1")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("episode 1  seed ")


def test_an_mp4_has_one_frame_for_each_step(oracle_run, mbrl):
    pytest.importorskip("imageio_ffmpeg")
    import imageio.v2

    oracle_run("env=gridworld", "env.kwargs.max_steps=3")
    done = mbrl("play", "run", "--video", "out.mp4")
    assert (done.code, done.err) == (0, "")
    frames = imageio.v2.mimread("out.mp4")
    assert len(frames) == 3 + 4  # four images a second, and the last one is held for a second
    assert frames[0].shape == (320, 580, 3)


def test_mistakes_are_answered_in_one_line(oracle_run, mbrl, monkeypatch, tmp_path):
    oracle_run("env=gridworld", "env.kwargs.max_steps=2")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    for words, text in (
        ((), "no display; write a file: --video out.gif"),
        (("--video", "out.avi"), "must end in .gif or .mp4"),
        (("--video", "nowhere/out.gif"), "the folder nowhere does not exist"),
        (("--video", "out.gif", "--episodes", "0"), "--episodes 0: must be >= 1"),
        (("--video", "out.gif", "planner=cemm"), "did you mean cem"),
        (("--video", "out.gif", "--model-figure", "out.png"), "cannot be used together"),
    ):
        done = mbrl("play", "run", *words)
        assert (done.code, done.out) == (2, ""), words
        assert text in done.err
        assert done.err.count("\n") == 1
    monkeypatch.setattr("mbrl_cli.playback.mp4_file.find_spec", lambda name: None)
    done = mbrl("play", "run", "--video", "out.mp4")
    assert 'pip install -c constraints.txt ".[video]"' in done.err
    monkeypatch.setattr(
        "mbrl_cli.envs.gridworld.GridWorld.metadata", {"render_modes": ["ansi"], "render_fps": 4}
    )
    done = mbrl("play", "run", "--video", "out.gif")
    assert "its render modes (ansi) do not include rgb_array" in done.err
    assert not (tmp_path / "out.gif").exists()


def test_the_true_outcomes_of_the_grid_world_are_those_found_by_hand():
    grid = GridWorld()
    cells, actions = pairs(grid)
    assert len(cells) == 4 * (25 - 3 - 1)  # not in an obstacle, not at the goal
    truth = true_outcomes(grid, cells, actions)
    up, down, left, right = range(4)
    for cell, action, following, reward, end in (
        ((4, 3), up, (4, 4), 100, 1),
        ((3, 4), right, (4, 4), 100, 1),
        ((1, 2), right, (1, 2), -1, 0),  # obstacle
        ((0, 0), left, (0, 0), -1, 0),  # edge
        ((0, 1), down, (0, 0), -1, 0),
    ):
        (index,) = np.flatnonzero((cells == cell).all(1) & (actions == action))
        assert truth.next_cell[index].tolist() == list(following)
        assert (truth.reward[index], truth.termination[index]) == (reward, end)


def test_wrong_predictions_are_counted_and_marked():
    grid = GridWorld()
    cells, actions = pairs(grid)
    truth = true_outcomes(grid, cells, actions)
    model = Outcomes(truth.next_cell + 0.4, truth.reward.copy(), truth.termination.copy())
    model.next_cell[0] += 0.2  # 0.6 from the true cell
    model.reward[1] += 0.6
    model.termination[2] = 0.6
    right = right_predictions(model, truth)
    assert (~right).sum(0).tolist() == [1, 1, 1]
    orange = (255, 214, 190)
    figure = np.asarray(draw_figure(grid, cells, actions, model, truth))
    clean = np.asarray(draw_figure(grid, cells, actions, truth, truth))
    assert len(of_colour(clean, orange)) == 0
    assert 3 * 1500 < len(of_colour(figure, orange)) < 3 * 52**2


def test_the_figure_of_a_perfect_model_finds_no_error(oracle_run, mbrl):
    oracle_run("env=gridworld")
    done = mbrl("play", "run", "--model-figure", "model.png")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("84 of 84") == 3
    assert Image.open("model.png").width > 1000
    oracle_run("env=pendulum", folder="other")
    done = mbrl("play", "other", "--model-figure", "model.png")
    assert "draws grid worlds" in done.err


def documented():
    return [
        pytest.param(words, id=f"{path.name}: {' '.join(words)}")
        for path in DOCUMENTS
        for words in commands(path, "play")
    ]


@pytest.mark.parametrize("words", documented())
def test_a_documented_command_runs(oracle_run, mbrl, monkeypatch, words):
    if "--video" not in words and "--model-figure" not in words:
        pytest.importorskip("pygame")
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
        words = [*words, "--episodes", "1"]
    if any(word.endswith(".mp4") for word in words):
        pytest.importorskip("imageio_ffmpeg")
    oracle_run("env=gridworld", "env.kwargs.max_steps=3", folder="outputs/RUN")
    done = mbrl("play", *words)
    assert (done.code, done.err) == (0, "")
