"""Evaluation: fixed episodes, an unchanged agent; and the optimism gap."""

import copy

import numpy as np
import pytest
import torch

from mbrl_cli.agents.base import Agent, Decision
from mbrl_cli.agents.mpc import MPC
from mbrl_cli.envs.make import make_env
from mbrl_cli.evaluation import evaluate
from mbrl_cli.models.oracle import Oracle
from mbrl_cli.optimism_gap import optimism_gap
from mbrl_cli.planners.random_shooting import RandomShooting
from mbrl_cli.seeding import child_seed

CPU = torch.device("cpu")

# --- optimism gap -----------------------------------------------------------------------------


def test_after_a_termination_every_prediction_counts():
    # horizon 2: the observed returns are 1 + 2, 2 + 4, 4 (no reward after a termination)
    gap = optimism_gap([5, 7, 9], [1, 2, 4], terminated=True, horizon=2, discount=1.0)
    assert gap == pytest.approx(((5 - 3) + (7 - 6) + (9 - 4)) / 3)


def test_after_a_time_limit_only_predictions_with_a_full_horizon_count():
    gap = optimism_gap([5, 7, 9], [1, 2, 4], terminated=False, horizon=2, discount=1.0)
    assert gap == pytest.approx(((5 - 3) + (7 - 6)) / 2)


def test_predicted_and_observed_returns_have_the_same_discount():
    gap = optimism_gap([3.0, 3.0], [2, 4], terminated=True, horizon=2, discount=0.5)
    assert gap == pytest.approx(((3 - (2 + 0.5 * 4)) + (3 - 4)) / 2)
    gap = optimism_gap([3.0, 3.0], [2, 4], terminated=True, horizon=9, discount=0.0)
    assert gap == pytest.approx(((3 - 2) + (3 - 4)) / 2)


def test_a_perfect_prediction_has_no_gap():
    assert optimism_gap([6, 5, 3], [1, 2, 3], terminated=True, horizon=3, discount=1.0) == 0.0
    assert optimism_gap([6], [1, 2, 3], terminated=False, horizon=3, discount=1.0) == 0.0


@pytest.mark.parametrize(
    ("predicted", "rewards", "terminated"),
    [([], [1, 2], True), ([1, 1], [1, 2], False), ([], [], True)],
    ids=["no predictions", "truncated before the first horizon ends", "empty"],
)
def test_there_is_no_gap_without_a_prediction_that_counts(predicted, rewards, terminated):
    assert optimism_gap(predicted, rewards, terminated, horizon=3, discount=1.0) is None


# --- evaluate ---------------------------------------------------------------------------------


class Countdown:
    """Ends after `length` steps; obs = [name, number of steps], reward = name + action."""

    def __init__(self, name, length, terminates):
        self.name, self.length, self.terminates = name, length, terminates
        self.seeds = []

    def reset(self, seed):
        self.seeds.append(seed)
        self.steps = 0
        return np.array([self.name, 0.0], np.float32)

    def step(self, action):
        assert self.steps < self.length, "stepped after the episode's end"
        self.steps += 1
        over = self.steps == self.length
        obs = np.array([self.name, self.steps], np.float32)
        return obs, self.name + action[0], over and self.terminates, over and not self.terminates


class Echo(Agent):
    """An agent whose action is obs[0] / 100; it records its inputs."""

    def __init__(self):
        self.asked, self.seen, self.kept = [], [], []

    def policy(self, envs, explore, generator):
        self.asked.append((list(envs), explore))
        return self

    def reset(self):
        pass

    def act(self, obs):
        self.seen.append(obs.tolist())
        return Decision(obs[:, :1] / 100.0)

    def retain(self, rows):
        self.kept.append(rows.tolist())


def test_episodes_of_different_lengths_are_all_played_to_the_end():
    envs = [Countdown(1, 2, True), Countdown(2, 1, True), Countdown(3, 4, False)]
    agent = Echo()
    result = evaluate(agent, envs, seed=5)
    assert result.lengths.tolist() == [2, 1, 4]
    assert result.returns.tolist() == pytest.approx([2 * 1.01, 1 * 2.02, 4 * 3.03])
    assert agent.asked == [(envs, False)]
    assert agent.seen == [
        [[1, 0], [2, 0], [3, 0]],
        [[1, 1], [3, 1]],
        [[3, 2]],
        [[3, 3]],
    ]
    assert agent.kept == [[0, 2], [1]]  # row numbers among the episodes still running


def test_every_evaluation_has_the_same_seeds_and_more_episodes_append_to_them():
    env = Countdown(1, 1, True)
    for _ in range(2):
        evaluate(Echo(), [env], seed=5)
    more = evaluate(Echo(), [Countdown(1, 1, True) for _ in range(3)], seed=5)
    assert more.seeds == [child_seed(5, "evaluation", episode) for episode in range(3)]
    assert env.seeds == [more.seeds[0]] * 2
    assert evaluate(Echo(), [env], seed=6).seeds != more.seeds[:1]


def test_the_metrics_are_statistics_of_the_episodes():
    envs = [Countdown(name, length, True) for name, length in ((1, 1), (2, 2), (3, 3))]
    metrics = evaluate(Echo(), envs, seed=0).metrics()  # returns 1.01, 4.04, 9.09
    assert metrics["eval/return"] == pytest.approx(4.71333, abs=1e-4)
    assert metrics["eval/return_min"] == pytest.approx(1.01)
    assert metrics["eval/return_std"] == pytest.approx(np.std([1.01, 4.04, 9.09]), rel=1e-5)
    assert metrics["eval/length"] == 2.0


def test_an_evaluation_changes_neither_the_agent_nor_its_training_episode():
    env = make_env("CartPole-v1", max_episode_steps=15)
    eval_envs = [make_env("CartPole-v1", max_episode_steps=15) for _ in range(3)]
    planner = RandomShooting(env.spec.action, CPU, 5, 20, 0.0, None, 1, None)

    def train(evaluate_at):
        agent = MPC(
            env.spec, CPU, Oracle(env.spec, CPU, torch.Generator()), planner,
            torch.Generator().manual_seed(0), 10, 1.0, "epsilon", 0.0, 0.3, 0.0,
        )  # fmt: skip
        policy = agent.policy([env], True, torch.Generator().manual_seed(1))
        before = copy.deepcopy(agent.state_dict())
        obs, actions, results = env.reset(0), [], []
        policy.reset()
        for step in range(10):
            if step in evaluate_at:
                results.append(evaluate(agent, eval_envs, seed=2))
            actions.append(policy.act(obs[None]).action[0])
            obs = env.step(actions[-1])[0]
        after = agent.state_dict()
        assert torch.equal(after.pop("generator"), before.pop("generator"))
        assert after == before
        return np.stack(actions), results

    undisturbed, _ = train(evaluate_at=())
    disturbed, (first, second) = train(evaluate_at=(3, 6))
    assert np.array_equal(undisturbed, disturbed)
    assert first.returns.tolist() == second.returns.tolist()


@pytest.mark.parametrize("agent", ["mpc", "sac"])
@pytest.mark.parametrize("eval_envs", ["auto", "0"])
def test_more_evaluations_change_only_their_own_rows(mbrl, tiny_run, tmp_path, agent, eval_envs):
    small = [word for word in tiny_run if not word.startswith(("agent", "eval_every"))]
    if agent == "sac":
        small = [w for w in small if not w.startswith(("model", "planner"))] + [
            "agent.batch_size=8", "agent.hidden=[8]", "agent.log_every=5", "env=pendulum"
        ]  # fmt: skip
    rows = []
    for folder, every in (("few", 0), ("many", 7)):
        words = [f"agent={agent}", *small, f"eval_every={every}", f"eval_envs={eval_envs}"]
        done = mbrl("train", *words, f"hydra.run.dir={folder}")
        assert done.code == 0, done.err
        lines = (tmp_path / folder / "metrics.csv").read_text().splitlines()
        rows.append([line for line in lines if ",eval/" not in line and ",time/" not in line])
        evaluations = [line for line in lines if ",eval/return," in line]
        # Without environments of its own an evaluation waits for the end of an episode.
        assert len(evaluations) >= 6 if every else len(evaluations) == 1
    assert rows[0] == rows[1]
    assert len(rows[0]) > 10
