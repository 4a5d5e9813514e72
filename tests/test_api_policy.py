"""Acting and predicting with a saved run: own loops equal `mbrl eval`, values have true units."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import mbrl_cli as mbrl_package
from mbrl_cli.api.space_values import split_batch, unflatten, unflatten_spread
from mbrl_cli.envs.checked_values import flatten_obs
from mbrl_cli.envs.spaces import ActionCodec
from mbrl_cli.errors import UserError

EXAMPLES = Path(__file__).parent.parent / "examples"
TINY = [
    "total_steps=60", "prefill_steps=20", "eval_every=0", "final_eval_episodes=2",
    "env.max_episode_steps=12", "console=false", "device=cpu", "hydra.run.dir=run",
]  # fmt: skip
TINY_PLANS = ["planner.horizon=4", "planner.population=12", "planner.iterations=1"]
TINY_LATENT = [
    "agent=dreamer", "model.batch_size=4", "model.sequence_length=8", "agent.pretrain_steps=3",
    "agent.replay_ratio=0.1", "agent.actor_critic.rollouts=8",
]  # fmt: skip


def play(env, policy, seed):
    """Return the return of one episode."""
    obs, _ = env.reset(seed=seed)
    policy.reset()
    total, over = 0.0, False
    while not over:
        action = policy.act(obs)
        assert env.action_space.contains(action)
        assert type(action) is type(env.action_space.sample())
        obs, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        over = terminated or truncated
    return total


def play_batch(envs, policy, seeds):
    """Return the returns of episodes that are played at once, as `mbrl eval` does."""
    obs = [env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)]
    policy.reset()
    returns, running = np.zeros(len(envs)), list(range(len(envs)))
    while running:
        actions = policy.act_batch(obs)
        steps = [envs[i].step(action) for i, action in zip(running, actions, strict=True)]
        for i, step in zip(running, steps, strict=True):
            returns[i] += step[1]
        kept = [row for row, step in enumerate(steps) if not (step[2] or step[3])]
        policy.retain(kept)
        obs, running = [steps[row][0] for row in kept], [running[row] for row in kept]
    return returns


@pytest.mark.parametrize(
    "words",
    [
        ["env=cartpole", "model=linear", *TINY_PLANS],
        ["env=pendulum", "model=linear", "planner=icem", *TINY_PLANS],
        ["env=pendulum", *TINY_LATENT],
        ["env=gridworld", "model=linear", "planner=random_shooting", "planner.horizon=4"],
        ["env=cartpole", "agent=random"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_an_own_loop_has_the_returns_of_the_evaluation_to_the_bit(mbrl, tmp_path, words):
    done = mbrl("train", *TINY, *words)
    assert done.code == 0, done.err
    before = sorted((path, path.stat().st_mtime_ns) for path in Path("run").rglob("*"))
    run = mbrl_package.load_run("run")
    seeds = run.evaluation_seeds(2)
    batch = play_batch([run.make_env(), run.make_env()], run.policy(num_envs=2), seeds)
    assert batch.mean() == run.final_return  # written with all digits
    single = play(run.make_env(), run.policy(), seeds[0])
    assert sorted((path, path.stat().st_mtime_ns) for path in Path("run").rglob("*")) == before
    if "agent=dreamer" in words:  # latent models predict from one observation
        imagined = run.model.imagine(np.float32([1.0, 0.0, 0.5]), np.zeros((3, 1), np.float32))
        assert imagined.obs.shape == (3, 3)
        assert (imagined.obs_std > 0).all()
    done = mbrl("eval", "run", "eval_episodes=1")
    assert float(re.search(r"min (\S+)", done.out)[1]) == pytest.approx(single, rel=1e-3)


def test_an_oracle_that_copies_environments_gets_those_of_the_user(mbrl, tmp_path):
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    plans = ["planner.horizon=2", "planner.population=5", "planner.iterations=1"]
    words = ["env=rail_cart", "model=oracle", *plans]
    done = mbrl("train", *TINY, "--config-dir", "configs", *words, "final_eval_episodes=1")
    assert done.code == 0, done.err
    run = mbrl_package.load_run("run")
    env = run.make_env()
    assert play(env, run.policy(envs=[env]), run.evaluation_seeds(1)[0]) == run.final_return
    with pytest.raises(UserError, match=r"copies the environment itself; use run.policy\(envs="):
        run.policy()
    with pytest.raises(UserError, match=r"1 envs; must be num_envs=2"):
        run.policy(envs=[env], num_envs=2)
    with pytest.raises(UserError, match="so its oracle needs the environment itself"):
        _ = run.model


def test_a_second_episode_continues_the_random_numbers_and_a_seed_restarts_them(mbrl):
    assert mbrl("train", *TINY, "env=pendulum", "agent=random").code == 0
    run = mbrl_package.load_run("run")
    policy, env = run.policy(), run.make_env()
    first, second = play(env, policy, 1), play(env, policy, 1)
    assert first != second
    policy.reset(seed=0)  # the seed of the run
    assert play(env, policy, 1) == first
    other = run.policy(seed=5)
    assert play(env, other, 1) != first


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder in which the run of `cart` is trained once."""
    folder = tmp_path_factory.mktemp("cart")
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def cart(mbrl, trained, monkeypatch):
    """Return a run on the example environment with a Dict observation."""
    monkeypatch.chdir(trained)
    words = ["--config-dir", "configs", "env=rail_cart", "model=linear", "total_steps=120",
             "prefill_steps=80", "eval_every=0", "final_eval_episodes=1", "planner.population=20",
             "console=false", "device=cpu", "hydra.run.dir=run"]  # fmt: skip
    if not Path("run").exists():
        done = mbrl("train", *words)
        assert done.code == 0, done.err
    return mbrl_package.load_run("run")


def test_predictions_have_the_units_of_the_environment(cart):
    # With 0.5 kg and 0.1 s: v' = 0.4 + 0.1 * 1 / 0.5 = 0.6 m/s, x' = 0.2 + 0.1 * 0.6 = 0.26 m.
    obs = {"position": np.float32([0.2]), "velocity": np.float32([0.4])}
    force = np.float32([1.0])
    one = cart.model.predict(obs, force)
    assert one.obs["velocity"] == pytest.approx([0.6], abs=1e-3)
    assert one.obs["position"] == pytest.approx([0.26], abs=1e-3)
    assert one.obs_std["position"] < 1e-3
    assert one.reward == pytest.approx(-0.26, abs=1e-3)
    assert one.reward.shape == ()
    assert one.termination == pytest.approx(0.0, abs=1e-3)
    # The next step: v'' = 0.8 m/s, x'' = 0.34 m.
    two = cart.model.imagine(obs, [force, force])
    assert two.obs["position"][:, 0] == pytest.approx([0.26, 0.34], abs=2e-3)
    assert two.obs["velocity"].shape == (2, 1)
    assert two.reward == pytest.approx([-0.26, -0.34], abs=2e-3)
    arrays = {key: np.stack([value, value, value]) for key, value in obs.items()}
    for batch in ([obs] * 3, arrays):
        rows = cart.model.predict_batch(batch, np.stack([force, force, -force]))
        assert rows.obs["velocity"][:, 0] == pytest.approx([0.6, 0.6, 0.2], abs=1e-3)
    many = cart.model.imagine_batch([obs] * 3, [[force, force]] * 3)
    assert many.obs["position"].shape == (3, 2, 1)
    np.testing.assert_allclose(many.obs["position"][1], two.obs["position"], atol=1e-5)


def test_wrong_values_are_refused_with_what_is_allowed(cart):
    policy = cart.policy()
    good = {"position": np.zeros(1), "velocity": np.zeros(1)}
    with pytest.raises(ValueError, match=r"has the keys \['position', 'velocity'\]"):
        policy.act({"position": np.zeros(1)})
    with pytest.raises(ValueError, match="not finite"):
        policy.act(good | {"position": np.array([np.nan])})
    with pytest.raises(ValueError, match=r"action .*: the action space is Box\(-1.0, 1.0"):
        cart.model.predict(good, np.array([1.5]))
    with pytest.raises(ValueError, match="all sequences need the same length"):
        cart.model.imagine_batch([good, good], [[np.zeros(1)], [np.zeros(1)] * 2])
    with pytest.raises(ValueError, match="1 observations and 2 actions"):
        cart.model.predict_batch([good], [np.zeros(1)] * 2)
    with pytest.raises(ValueError, match="acts in 2 environments; use act_batch"):
        cart.policy(num_envs=2).act(good)


def test_the_plan_is_a_sequence_of_actions_that_the_model_can_imagine(cart):
    policy = cart.policy("icem", ["planner.horizon=7"])
    assert policy.plan() is None
    obs, _ = cart.make_env().reset(seed=3)
    action = policy.act(obs)
    (plan,) = policy.plan()
    assert plan.shape == (7, 1)
    np.testing.assert_array_equal(plan[0], action)
    imagined = cart.model.imagine(obs, plan)
    # A linear model without noise: the planner's sum of rewards is that of one trajectory.
    assert imagined.reward.sum() == pytest.approx(policy.predicted_return[0], rel=1e-4)
    same = policy.imagine()
    np.testing.assert_allclose(same.obs["position"][0], imagined.obs["position"], atol=1e-5)
    assert same.reward.shape == (1, 7)


def test_a_plan_of_several_steps_gets_shorter_while_it_is_executed(cart):
    policy = cart.policy("cem", ["planner.horizon=5", "planner.replan_every=3"], num_envs=2)
    assert policy.imagine() is None
    envs = [cart.make_env(), cart.make_env()]
    obs = [env.reset(seed=seed)[0] for seed, env in enumerate(envs)]
    policy.reset()
    for length in (5, 4, 3, 5):
        actions = policy.act_batch(obs)
        plans = policy.plan()
        assert [plan.shape for plan in plans] == [(length, 1)] * 2
        np.testing.assert_array_equal([plan[0] for plan in plans], actions)
        imagined = policy.imagine(samples=10)
        obs = [env.step(action)[0] for env, action in zip(envs, actions, strict=True)]
        real = [o["position"][0] for o in obs]
        np.testing.assert_allclose(imagined.obs["position"][:, 0, 0], real, atol=0.01)


def test_the_control_loop_of_the_examples_runs(cart, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["control_loop.py", "run"])
    monkeypatch.syspath_prepend(EXAMPLES)
    runpy.run_path("control_loop.py")
    lines = re.findall(r"(\S+) m  predicted (\S+) m", capfd.readouterr().out)
    assert len(lines) == 40
    for real, predicted in lines:
        assert float(predicted) == pytest.approx(float(real), abs=0.01)


def test_a_foreign_run_needs_trust_before_its_code_is_imported(cart, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other_user"))
    run = mbrl_package.load_run("run")
    assert run.choices["env"] == "rail_cart"  # reading it imports nothing
    for use in (run.policy, run.make_env, lambda: run.model):
        with pytest.raises(UserError, match=r"env.id=rail_cart:RailCart-v0 imports other code"):
            use()
    sys.modules.pop("rail_cart", None)
    gymnasium.registry.pop("RailCart-v0", None)
    monkeypatch.syspath_prepend(EXAMPLES)
    assert mbrl_package.load_run("run", trust=True).policy().num_envs == 1
    by_yaml = mbrl_package.load_run("run", config_dir="configs")
    assert by_yaml.make_env().spec.id == "RailCart-v0"


def test_runs_without_a_usable_model_say_so(mbrl):
    assert mbrl("train", *TINY, "env=cartpole", "agent=random").code == 0
    with pytest.raises(UserError, match="agent=random of run learns no model; use a run"):
        _ = mbrl_package.load_run("run").model
    shutil.rmtree("run/checkpoints")
    Path("run/checkpoint.safetensors").unlink()
    with pytest.raises(UserError, match="has no checkpoint yet"):
        mbrl_package.load_run("run").policy()
    assert mbrl_package.load_run("run").make_env("rgb_array").render_mode == "rgb_array"


SPACE = spaces.Dict(
    {
        "box": spaces.Box(-9, 9, (2, 2), np.float32),
        "number": spaces.Discrete(3, start=5),
        "pair": spaces.Tuple([spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)]),
    }
)


def test_unflatten_is_the_inverse_of_flatten():
    SPACE.seed(0)
    values = [SPACE.sample() for _ in range(6)]
    flat = np.stack([flatten_obs(SPACE, value) for value in values]).reshape(2, 3, -1)
    structured = unflatten(SPACE, flat)
    for i, value in enumerate(values):
        index = divmod(i, 3)
        np.testing.assert_array_equal(structured["box"][index], value["box"])
        assert structured["number"][index] == value["number"]
        for part, expected in zip(structured["pair"], value["pair"], strict=True):
            np.testing.assert_array_equal(part[index], expected)
    spread = unflatten_spread(SPACE, flat)
    assert (spread["number"].shape, spread["pair"][0].shape) == ((2, 3, 3), (2, 3, 5))


def test_batches_are_split_as_vectorized_environments_join_them():
    SPACE.seed(1)
    values = tuple(SPACE.sample() for _ in range(4))
    batched = gymnasium.vector.utils.batch_space(SPACE, 4)
    joined = gymnasium.vector.utils.concatenate(
        SPACE, values, gymnasium.vector.utils.create_empty_array(SPACE, 4)
    )
    assert batched.contains(joined)
    for got, expected in zip(split_batch(SPACE, joined), values, strict=True):
        np.testing.assert_array_equal(flatten_obs(SPACE, got), flatten_obs(SPACE, expected))
    with pytest.raises(ValueError, match=r"shape \[2, 2\]; it must be \[n, 2, 2\]"):
        split_batch(SPACE["box"], np.zeros((2, 2)))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(4, start=-1), spaces.MultiDiscrete([[2, 3]]), spaces.MultiBinary(3),
        spaces.Box(np.float32([-2, 0]), np.float32([2, 5])), spaces.Box(-3, 3, (2,), np.int32),
        spaces.Box(-np.inf, np.inf, (1,), np.float64), spaces.Box(0, np.inf, (1,), np.float32),
    ],
    ids=str,
)  # fmt: skip
def test_encoded_actions_decode_to_themselves(space):
    codec = ActionCodec(space)
    space.seed(0)
    for _ in range(5):
        action = codec.to_env(np.random.default_rng(0).uniform(-1, 1, codec.spec.dim))
        encoded = codec.encode(action)
        assert encoded.shape == (codec.spec.dim,)
        np.testing.assert_allclose(codec.to_env(encoded), action, rtol=1e-6)
    for wrong in (9.5, -2.5, [0.0] * 7, "left"):
        with pytest.raises(ValueError, match=r"^action "):
            codec.encode(wrong)
