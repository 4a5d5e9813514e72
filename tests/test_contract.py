"""Every choice of every YAML group works with every other: the real configs, only shrunk.

A combination composes, builds, runs from prefill to final evaluation, saves, and the restored agent
acts as the saved one.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from mbrl_cli.checkpoint import load_checkpoint
from mbrl_cli.checkpoint_store import FINAL_CHECKPOINT
from mbrl_cli.config.build import build
from mbrl_cli.config.groups import choices, config_dir
from mbrl_cli.errors import UserError
from mbrl_cli.logger import Logger
from mbrl_cli.metrics_csv import METRICS_CSV
from mbrl_cli.runner import Runner
from mbrl_cli.tags import describe

PREFILL, TOTAL = 20, 40
NOT_IN_THE_TESTS_EXTRA = {
    "dmc": ("dm_control", "shimmy"), "lunarlander": ("Box2D",), "minigrid": ("minigrid",)
}  # fmt: skip
LATENT = ("rssm", "latent")  # models whose states remember
WITH_VALUES = ("muzero", "tdmpc2")  # models that only one agent trains, with a policy and values
# What makes any run tiny; a key is only overridden in the choices that have it.
SMALL = {
    "model": {"hidden": "[8]", "max_steps": 5, "termination_steps": 5, "fit_steps": 3,
              "sequence_length": 8},
    "planner": {
        "horizon": 3, "population": 8, "elite_ratio": 0.4, "iterations": 2, "num_simulations": 4,
        "leaf_plans": 2,
    },
    "agent": {"fit_every": 10, "hidden": "[8]", "batch_size": 8, "log_every": 5,
              "pretrain_steps": 2},
    "agent.network": {"hidden": "[8]"},
    "agent.actor_critic": {"hidden": 8, "rollouts": 16, "rollout_length": 3},
    "agent.sac": {"hidden": "[8]", "batch_size": 8, "log_every": 5},
}  # fmt: skip
RUN = [
    f"total_steps={TOTAL}", f"prefill_steps={PREFILL}", "eval_every=30", "eval_episodes=1",
    "final_eval_episodes=1", "log_every=20", "checkpoint_every=0", "env.max_episode_steps=10",
]  # fmt: skip


def names(group, without=("none",)):
    return [name for name in choices(group) if name not in without]


@pytest.fixture
def compose_small(compose_run):
    """Return a function that composes a tiny run; `chosen` are overrides such as env=pendulum."""

    def compose(*chosen):
        cfg = compose_run(*RUN, *chosen)
        keys = [
            f"{group}.{key}={value}"
            for group, small in SMALL.items()
            for key, value in small.items()
            if key in (OmegaConf.select(cfg, group) or {})
        ]
        return compose_run(*RUN, *keys, *chosen)

    return compose


def run(parts, folder):
    """Run to the end; return the runner and the rows of its metrics as {tag: [(step, value)]}."""
    settings = parts.settings
    with Logger(folder, console=False) as logger:
        runner = Runner(parts.envs, parts.eval_envs, parts.agent, settings, logger, folder)
        runner.run()
    logged = {}
    with (folder / METRICS_CSV).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            logged.setdefault(row["tag"], []).append((int(row["env_step"]), float(row["value"])))
    return runner, logged


def decisions(parts, agent):
    """Return the actions [steps, A] and predicted returns of one episode without exploration."""
    env = parts.env
    policy = agent.policy([env], explore=False, generator=torch.Generator().manual_seed(5))
    policy.reset()
    obs, actions, predicted = env.reset(11), [], []
    for _ in range(6):
        decision = policy.act(obs[None])
        actions.append(decision.action[0])
        if decision.predicted_return is not None:
            predicted.append(decision.predicted_return[0])
        obs, _, terminated, truncated = env.step(actions[-1])
        if terminated or truncated:
            break
    return np.stack(actions), np.array(predicted)


def strides(state, name=""):
    """Return the memory layout of all tensors by name: strides of axes longer than 1."""
    if isinstance(state, dict | list | tuple):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        parts = [strides(value, f"{name}.{key}") for key, value in items]
        return {key: value for part in parts for key, value in part.items()}
    if not isinstance(state, torch.Tensor) or not state.numel():
        return {}
    axes = zip(state.shape, state.stride(), strict=True)
    return {name: [stride for length, stride in axes if length > 1]}


def assert_whole_run(parts, restored, folder):
    runner, logged = run(parts, folder)
    assert runner.env_step == runner.replay.total_added == TOTAL
    assert [step for step, _ in logged["eval/return"]] == [30, TOTAL]
    assert all(np.isfinite(value) for rows in logged.values() for _, value in rows), logged
    assert [tag for tag in logged if describe(tag) is None] == []
    state = load_checkpoint(folder / f"{FINAL_CHECKPOINT}.safetensors")
    assert strides(state["agent"]) == strides(parts.agent.state_dict())
    assert state["env_step"] == TOTAL
    restored.agent.load_state_dict(state["agent"])
    for saved, loaded in zip(
        decisions(parts, parts.agent), decisions(restored, restored.agent), strict=True
    ):
        assert np.array_equal(saved, loaded)
    return logged


@pytest.mark.parametrize("env", ["gridworld", "cartpole_continuous"])  # discrete, continuous
@pytest.mark.parametrize("planner", names("planner"))
@pytest.mark.parametrize("model", names("model", without=("none", *WITH_VALUES)))
def test_every_model_drives_every_planner(compose_small, tmp_path, model, planner, env):
    chosen = [f"env={env}", "agent=mpc", f"model={model}", f"planner={planner}"]
    # Another seed: other initial weights, so that all that is equal was loaded.
    parts, restored = build(compose_small(*chosen)), build(compose_small(*chosen, "seed=1"))
    logged = assert_whole_run(parts, restored, tmp_path)
    if model != "oracle":  # fitted once after the prefill's episode, and every ten steps after it
        steps = [step for step, _ in logged["model/train_loss"]]
        assert steps[0] in range(PREFILL, PREFILL + 10)
        assert steps == list(range(steps[0], TOTAL, 10))


@pytest.mark.parametrize("env", names("env"))
def test_every_environment_runs_with_every_kind_of_group_at_its_default(
    compose_small, tmp_path, env
):
    for module in NOT_IN_THE_TESTS_EXTRA.get(env, ()):
        pytest.importorskip(module)
    chosen = [f"env={env}", "agent=mpc"] + ["env.id=MountainCar-v0"] * (env == "gym")
    parts, restored = build(compose_small(*chosen)), build(compose_small(*chosen, "seed=1"))
    logged = assert_whole_run(parts, restored, tmp_path)
    assert logged["train/length"][0][1] <= 10  # max_episode_steps reached the environment


@pytest.mark.parametrize("agent", names("agent"))
def test_every_agent_brings_the_model_and_planner_that_it_needs(compose_small, tmp_path, agent):
    chosen = ["env=gridworld", f"agent={agent}"]
    parts, restored = build(compose_small(*chosen)), build(compose_small(*chosen, "seed=1"))
    assert_whole_run(parts, restored, tmp_path)


@pytest.mark.parametrize("env", ["gridworld", "cartpole_continuous"])  # discrete, continuous
@pytest.mark.parametrize("model", names("model", without=("none", *WITH_VALUES, *LATENT)))
def test_mbpo_learns_with_every_model(compose_small, tmp_path, model, env):
    chosen = [f"env={env}", "agent=mbpo", f"model={model}", "agent.rollout_length=auto"]
    parts, restored = build(compose_small(*chosen)), build(compose_small(*chosen, "seed=1"))
    logged = assert_whole_run(parts, restored, tmp_path)
    for tag in ("critic_loss", "actor_loss", "temperature", "q_real", "q_imagined"):
        assert logged[f"agent/{tag}"]
    assert {share for _, share in logged["agent/imagined_ratio"]} == {0.75}


@pytest.mark.parametrize("select", ["puct", "gumbel"])
@pytest.mark.parametrize("model", names("model", without=("none", "tdmpc2")))
def test_alphazero_learns_with_every_model(compose_small, tmp_path, model, select):
    chosen = ["env=gridworld", "agent=alphazero", f"model={model}", f"planner.select={select}"]
    parts, restored = build(compose_small(*chosen)), build(compose_small(*chosen, "seed=1"))
    logged = assert_whole_run(parts, restored, tmp_path)
    assert logged["agent/policy_loss"]
    assert logged["agent/value_loss"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["agent=mpc", "model=muzero"],
            "model=MuZero: learns from tree search, and agent MPC does not",
        ),
        (["agent=mbpo", "model=muzero"], "model=MuZero: learns from tree search"),
        (
            ["agent=mpc", "model=tdmpc2"],
            "model=TDMPC2: learns from temporal differences, and agent",
        ),
        (["agent=tdmpc2", "model=mlp"], "learns from the replay, and agent TDMPC2Agent does not"),
        (["agent=alphazero", "planner=cem"], "planner=CEM: agent=alphazero learns from tree"),
        (["agent=alphazero", "env=pendulum"], "agent=alphazero: needs one discrete action"),
        (["agent=alphazero", "model=oracle", "env=gym", "env.id=Blackjack-v1"], "no batched sim"),
        (
            ["agent=mpc", "planner=mcts", "model=ensemble", "agent.explore=disagreement"],
            "agent.explore=disagreement: needs a planner over whole plans",
        ),
    ],
)
def test_what_a_search_or_a_learned_value_cannot_do_is_refused(compose_run, overrides, message):
    with pytest.raises(UserError, match=message):
        build(compose_run("env=cartpole", *overrides))


@pytest.mark.parametrize("env", ["gridworld", "cartpole_continuous"])  # discrete, continuous
@pytest.mark.parametrize("planner", names("planner"))
def test_tdmpc2_plans_with_every_planner(compose_small, tmp_path, planner, env):
    chosen = [f"env={env}", "agent=tdmpc2", f"planner={planner}"]
    parts, restored = build(compose_small(*chosen)), build(compose_small(*chosen, "seed=1"))
    logged = assert_whole_run(parts, restored, tmp_path)
    assert logged["model/consistency_loss"]
    assert logged["agent/value_range"]


@pytest.mark.parametrize("model", LATENT)
def test_dreamer_learns_with_every_latent_model_and_mbpo_is_refused(compose_small, tmp_path, model):
    chosen = ["env=cartpole_continuous", "agent=dreamer", f"model={model}"]
    parts, restored = build(compose_small(*chosen)), build(compose_small(*chosen, "seed=1"))
    logged = assert_whole_run(parts, restored, tmp_path)
    assert logged["agent/imagined_return"]
    with pytest.raises(UserError, match="model: agent=mbpo imagines from stored"):
        build(compose_small("agent=mbpo", f"model={model}"))
    with pytest.raises(UserError, match="use model=rssm or model=latent"):
        build(compose_small("agent=dreamer", "model=mlp"))


def test_mbpo_on_real_data_alone_runs_as_sac_to_the_bit(compose_small, tmp_path):
    logged = []
    for agent in (["sac"], ["mbpo", "agent.real_ratio=1"]):
        folder = tmp_path / agent[0]
        prefix = "agent.sac" if agent[0] == "mbpo" else "agent"
        same = [f"{prefix}.updates_per_step=2", f"{prefix}.target_rate=0.01"]
        runner, rows = run(
            build(compose_small("env=pendulum", f"agent={agent[0]}", *agent[1:], *same)), folder
        )
        timeless = {tag: values for tag, values in rows.items() if not tag.startswith("time/")}
        logged.append((timeless, runner.replay.state_dict()["obs"].tolist()))
    assert logged[0] == logged[1]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("agent.sac.batch_sise=4", "agent.sac.batch_sise: unknown key; did you mean batch_size?"),
        ("agent.sac.discount=2", r"agent.sac.discount=2: must be a number in \[0, 1\]"),
        (
            "agent.rollout_length=0",
            r"agent.rollout_length=0: must be a whole number >= 1 or a list",
        ),
    ],
)
def test_a_wrong_setting_of_mbpo_or_of_its_sac_is_named(compose_run, override, message):
    with pytest.raises(UserError, match=message):
        build(compose_run("env=pendulum", "agent=mbpo", f"++{override}"))


@pytest.mark.parametrize("explore", ["noise", "epsilon", "disagreement"])
def test_every_way_to_explore_runs(compose_small, tmp_path, explore):
    chosen = ["env=pendulum", "agent=mpc", "model=ensemble", f"agent.explore={explore}"]
    parts, restored = build(compose_small(*chosen)), build(compose_small(*chosen, "seed=1"))
    assert_whole_run(parts, restored, tmp_path)


@pytest.mark.parametrize("propagation", ["ts1", "ts_inf", "expectation"])
@pytest.mark.parametrize("model", ["ensemble", "gaussian_ensemble"])
def test_every_way_to_propagate_runs(compose_small, tmp_path, model, propagation):
    chosen = ["env=pendulum", "agent=mpc", f"model={model}", f"model.propagation={propagation}"]
    parts, restored = build(compose_small(*chosen)), build(compose_small(*chosen, "seed=1"))
    assert_whole_run(parts, restored, tmp_path)


def test_a_seed_decides_the_whole_run(compose_small, tmp_path):
    def returns(seed, folder):
        cfg = compose_small("env=cartpole", "agent=mpc", f"seed={seed}")
        runner, logged = run(build(cfg), tmp_path / folder)
        timeless = {tag: rows for tag, rows in logged.items() if not tag.startswith("time/")}
        return timeless, runner.replay.state_dict()

    (first, data), (again, same), (other, _) = (
        returns(seed, folder) for seed, folder in ((0, "a"), (0, "b"), (1, "c"))
    )
    assert first == again
    assert first != other
    for key, value in data.items():
        assert np.array_equal(value, same[key])


def test_without_a_prefill_a_learned_model_is_refused_or_starts_by_itself(compose_small, tmp_path):
    """A model that was fitted to nothing must not decide: no crash deep in torch, no NaN."""
    try:
        parts = build(compose_small("env=pendulum", "agent=mpc", "prefill_steps=0"))
    except UserError:
        return
    _, logged = run(parts, tmp_path)
    assert all(np.isfinite(value) for rows in logged.values() for _, value in rows), logged
    assert [tag for tag in logged if describe(tag) is None] == []


def test_every_yaml_file_is_in_a_group_that_these_tests_know():
    folders = {path.parent.name for path in Path(config_dir()).glob("*/*.yaml")}
    groups = {"env", "model", "planner", "agent", "experiment", "logger", "callbacks"}
    # test_trackers, test_callbacks, test_reproduce, test_debug, test_search_parts use the others.
    assert folders <= {*groups, "published", "debug", "hparams_search"}
