"""Training episodes that start together, `num_envs` at a time."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mbrl_cli.agents.random import Random
from mbrl_cli.config.build import build
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.logger import Logger
from mbrl_cli.runner import Runner
from mbrl_cli.seeding import child_seed

RUN = [
    "total_steps=60", "prefill_steps=20", "eval_every=0", "final_eval_episodes=1", "log_every=20",
    "checkpoint_every=0", "env.max_episode_steps=5", "device=cpu",
]  # fmt: skip
PLANS = ["planner.horizon=3", "planner.population=8", "planner.iterations=2"]
AGENTS = {
    "random": ["env=cartpole", "agent=random"],
    "sac": ["env=cartpole", "agent=sac", "agent.hidden=[8]", "agent.batch_size=8"],
    "mpc": ["env=cartpole", "agent=mpc", "model=linear", "planner=cem", *PLANS],
    "oracle": ["env=pendulum", "agent=mpc", "model=oracle", "planner=icem", *PLANS],
    "dreamer": [
        "env=cartpole", "agent=dreamer", "agent.pretrain_steps=2", "agent.replay_ratio=0.2",
        "model.batch_size=2", "model.sequence_length=4",
    ],
    "tdmpc2": [
        "env=pendulum", "agent=tdmpc2", *PLANS[1:], "agent.proposals=2", "agent.batch_size=4",
        "agent.pretrain_steps=2",
    ],
    "muzero": ["env=cartpole", "agent=muzero", "planner.num_simulations=2", "agent.batch_size=4"],
}  # fmt: skip


@pytest.fixture
def play(compose_run, tmp_path):
    """Return a function that runs to the end and returns runner, decisions and reset seeds."""

    def run(*words):
        parts = build(compose_run(*RUN, *words))
        seeds, decisions = [], []
        with Logger(tmp_path, console=False) as logger:
            runner = Runner(
                parts.envs, parts.eval_envs, parts.agent, parts.settings, logger, tmp_path
            )
            for env in parts.envs:
                env.reset = noting(env.reset, seeds)
            for policy in (runner._policy, runner._prefill_policy):
                policy.act = noting(policy.act, decisions)
            runner.run()
        return SimpleNamespace(runner=runner, parts=parts, seeds=seeds, decisions=decisions)

    return run


def noting(method, calls):
    """Return the method; it appends its argument to `calls`."""

    def note(argument):
        calls.append(argument)
        return method(argument)

    return note


@pytest.mark.parametrize("agent", AGENTS)
def test_each_episode_is_a_sequence_and_decisions_are_taken_together(play, agent):
    played = play(*AGENTS[agent], "num_envs=4")
    replay = played.runner.replay
    assert replay.total_added == 60
    # Three rounds of four episodes with five steps; a pole does not fall in five steps.
    assert [len(obs) for obs in played.decisions] == [4] * 15
    assert played.seeds == [child_seed(0, "episode", index) for index in range(12)]
    rows = replay.transitions(0, 60)
    assert rows["episode"].reshape(3, 5, 4).tolist() == [
        [[4 * part + row for row in range(4)]] * 5 for part in range(3)
    ]
    for episode in range(12):
        own = rows["episode"] == episode
        assert np.array_equal(rows["next_obs"][own][:-1], rows["obs"][own][1:])


def test_episodes_that_end_leave_the_decision_and_the_others_go_on(play):
    words = ["env.max_episode_steps=60", "total_steps=200", "prefill_steps=100"]
    played = play("env=cartpole", "agent=random", "num_envs=3", *words)
    rows = played.runner.replay.transitions(0, 200)
    lengths = [int((rows["episode"] == index).sum()) for index in range(3)]
    assert len(set(lengths)) > 1  # or the seed is a bad choice
    running = [len(obs) for obs in played.decisions[: max(lengths)]]
    assert running == [sum(t < length for length in lengths) for t in range(max(lengths))]
    assert played.seeds[:6] == [child_seed(0, "episode", index) for index in range(6)]


def test_a_run_stops_at_its_last_step_in_the_middle_of_a_decision(play):
    played = play(*AGENTS["sac"], "num_envs=4", "total_steps=51")
    assert played.runner.replay.total_added == 51
    assert played.runner.replay.transitions(48, 51)["episode"].tolist() == [8, 9, 10]


@pytest.mark.parametrize(("agent", "ends_at"), [("sac", [22, 23, 24, 25]), ("random", [])])
def test_parallel_episodes_of_the_prefill_are_cut_together(play, agent, ends_at):
    words = ["env.max_episode_steps=500", "prefill_steps=22", "total_steps=40", "num_envs=4"]
    played = play("env=pendulum", *AGENTS[agent][1:], *words)
    episode = played.runner.replay.transitions(0, 40)["episode"]
    # Step 22 ends the second episode; the others take their next step first. agent=random does not
    # learn, so nothing is cut.
    last = {int(index): step for step, index in enumerate(episode, start=1)}
    assert sorted(step for step in last.values() if step <= 36) == ends_at


@pytest.mark.parametrize("agent", [name for name in AGENTS if name != "random"])
def test_a_reset_policy_acts_in_all_environments_again(compose_run, agent):
    parts = build(compose_run(*RUN, *AGENTS[agent], "num_envs=3"))
    policy = parts.agent.policy(parts.envs, True, torch.Generator().manual_seed(0))
    for _ in range(2):
        obs = np.stack([env.reset(seed) for seed, env in enumerate(parts.envs)])
        policy.reset()
        assert policy.act(obs).action.shape[0] == 3
        policy.retain(np.array([0, 2]))
        assert policy.act(obs[[0, 2]]).action.shape[0] == 2


def test_a_search_policy_is_stored_for_the_row_of_its_own_environment(play):
    # Without noise and reanalysis the same observation has the same policy.
    played = play(*AGENTS["muzero"], "num_envs=4", "agent.reanalyse=0", "agent.updates_per_step=1")
    stored = played.parts.agent.policies.policies[:60]
    assert np.isnan(stored[:20]).all()  # the prefill is not searched
    assert np.allclose(stored[20:].sum(1), 1.0)


def test_alphazero_stores_four_policies_in_the_order_of_the_rows(compose_run):
    agent = build(compose_run(*RUN, *AGENTS["muzero"])).agent
    agent.next_row = 7
    policies = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    agent.store_policies(policies)
    assert agent.policies.get(np.array([[7, 8, 9]]))[0].numpy() == pytest.approx(policies)


def test_an_environment_of_which_there_is_one_instance_is_explained(compose_run, monkeypatch):
    real, built = Env.__init__, []

    def only_one(self, *arguments, **named):
        built.append(1)
        if len(built) > 1:
            raise UserError("env.id=CartPole-v1: the port is in use")
        real(self, *arguments, **named)

    monkeypatch.setattr(Env, "__init__", only_one)
    with pytest.raises(UserError) as failure:
        build(compose_run(*RUN, *AGENTS["sac"], "num_envs=2"))
    assert str(failure.value) == (
        "num_envs=2: a further instance cannot be built; use num_envs=1 "
        "(env.id=CartPole-v1: the port is in use)"
    )


def test_evaluation_plays_in_the_environments_of_the_training(compose_run):
    parts = build(compose_run(*RUN, *AGENTS["random"], "num_envs=3", "eval_envs=0"))
    assert parts.eval_envs.take(2) == parts.envs[:2]
    assert parts.eval_envs.take(5) == parts.envs
    assert isinstance(parts.agent, Random)
