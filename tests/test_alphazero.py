"""AlphaZero's targets by hand, MuZero's losses, and that both learn a task of three steps."""

import numpy as np
import pytest
import torch

from mbrl_cli.agents.alphazero import AlphaZero
from mbrl_cli.models.muzero import MuZero
from mbrl_cli.models.search_targets import SearchTargets
from mbrl_cli.planners.mcts import MCTS
from mbrl_cli.replay.buffer import ReplayBuffer

CPU = torch.device("cpu")
HEADS = {
    "hidden": [32], "activation": "silu", "learning_rate": 3e-3, "weight_decay": 0.0,
    "value_weight": 1.0, "target_rate": 0.1,
}  # fmt: skip


def make_muzero(spec, **changes):
    settings = HEADS | {"latent": 16, "unroll_steps": 2, "consistency": 1.0}
    return MuZero(spec, CPU, torch.Generator().manual_seed(0), **settings | changes)


def make_agent(spec, model, **changes):
    planner = MCTS(
        spec.action, CPU, 8, 1, False, "gumbel", 1.25, 16, 0.25, 0.3, 8, 10, 0, 0.0, False, None
    )
    settings = {
        "network": HEADS, "fit_every": 1000, "discount": 0.5, "batch_size": 32,
        "updates_per_step": 1.0, "value_steps": 2, "reanalyse": 1.0, "agreement": 0.25,
        "log_every": 10,
    }  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    return AlphaZero(spec, CPU, generator, model, planner, **settings | changes)


def test_rows_that_follow_stay_in_their_episode():
    replay = ReplayBuffer(6, 1, 1)
    for number in range(8):  # episodes 0-2, 3-6, 7; rows 0 and 1 hold numbers 6 and 7
        replay.add(np.zeros(1), np.zeros(1), number, np.zeros(1), number in (2, 6), False)
    rows, inside = replay.consecutive_rows(np.array([2, 4, 0]), 3)  # numbers 2, 4, 6
    assert replay.batch(rows.ravel()).reward.view(3, 3).tolist()[1] == [4.0, 5.0, 6.0]
    assert inside.tolist() == [[True, False, False], [True, True, True], [True, False, False]]


def test_returns_are_those_counted_by_hand(make_spec):
    """Discount 1/2, two steps; what comes after an observation is worth 8 times it."""
    spec = make_spec(1, (2,))
    agent = make_agent(spec, make_muzero(spec, unroll_steps=1))
    agent.guide.target_value = lambda obs: 8.0 * obs[:, 0]
    reward = torch.tensor([[1.0, 2.0, 4.0]] * 4)
    inside = torch.tensor([[1.0, 1, 1], [1, 1, 0], [1, 1, 0], [1, 0, 0]])
    terminated = torch.zeros(4, 3)
    terminated[2, 1] = terminated[3, 0] = 1.0
    next_obs = torch.tensor([1.0, 2.0, 3.0]).expand(4, 3)[..., None]
    found = agent._returns(reward, inside, terminated, next_obs)
    assert found.tolist() == [
        [1 + 2 / 2 + 8 * 2 / 4, 2 + 4 / 2 + 8 * 3 / 4],
        [1 + 2 / 2 + 8 * 2 / 4, 2 + 8 * 2 / 2],  # cut by a time limit after the second step
        [1 + 2 / 2, 2.0],  # the task ended there
        [1.0, found[3, 1].item()],  # no state of the episode: nobody looks at it
    ]


def test_a_return_ends_before_what_the_search_would_not_do_now(make_spec):
    """Discount 1/2, three steps paid 1, 2, 4; what comes after place p is worth 8 p."""
    spec = make_spec(1, (2,))
    replay = ReplayBuffer(3, 1, 2, 0.0)
    for place in range(3):  # always choice 0
        obs, next_obs = np.array([place]), np.array([place + 1])
        replay.add(obs, np.array([1, 0]), 2.0**place, next_obs, False, place == 2)
    policies = {0: [0.0, 1.0], 1: [0.2, 0.8], 2: [0.1, 0.9]}  # 0.2 is a quarter of 0.8
    expected = {
        0.25: [1 + 2 / 2 + 16 / 4, 2 + 16 / 2, 4 + 24 / 2],
        0.1: [1 + 2 / 2 + 4 / 4 + 24 / 8, 2 + 4 / 2 + 24 / 4, 4 + 24 / 2],
    }
    for agreement, returns in expected.items():
        agent = make_agent(
            spec, make_muzero(spec), reanalyse=0.0, value_steps=3, agreement=agreement
        )
        agent.guide.target_value = lambda obs: 8.0 * obs[:, 0]
        for agent.next_row, policy in policies.items():
            agent.remember(np.array(policy))
        (wanted,) = agent.targets(replay)
        assert wanted.policy[0, 0].tolist() == pytest.approx(policies[int(wanted.obs[0, 0, 0])])
        for obs, value in zip(wanted.obs[:, 0, 0], wanted.value[:, 0], strict=True):
            assert value == returns[int(obs)]


def test_what_is_searched_anew_is_kept(make_spec):
    spec = make_spec(1, (2,))
    agent = make_agent(spec, make_muzero(spec), reanalyse=0.5)
    batches = agent.targets(chain(20), num_batches=3)
    assert [len(wanted.obs) for wanted in batches] == [32, 32, 32]
    for wanted in batches:  # half of each is known for certain, the rest where it was met again
        assert (wanted.policy[:16, 0].sum(-1) > 0.99).all()
    found = np.nan_to_num(agent.policies).sum(-1)
    assert set(np.round(found, 6)) == {0.0, 1.0}
    assert found.sum() > 20


def test_losses_of_a_new_muzero_are_those_of_equal_bins(make_spec):
    """Of two sequences one is over after a step; imagined states count as one seen state does."""
    spec = make_spec(1, (2,))
    inside = torch.tensor([[1.0, 1, 1], [1, 0, 0]])
    wanted = SearchTargets(
        obs=torch.randn(2, 3, 1, generator=torch.Generator().manual_seed(0)),
        action=torch.eye(2).expand(2, 2, 2),
        reward=torch.ones(2, 2),
        terminated=torch.zeros(2, 2),
        policy=torch.zeros(2, 3, 2),
        value=torch.ones(2, 3),
        inside=inside,
    )
    model = make_muzero(spec)
    losses = dict(zip(model.losses, model.learn(wanted).tolist(), strict=True))
    bins = np.log(len(model.two_hot.bins))
    assert losses["value"] == pytest.approx((1 + (1 / 2 + 1 / 2) / 2) * bins)
    assert losses["reward"] == pytest.approx((1 + 1 / 2) / 2 * bins)
    assert losses["policy"] == 0.0


def chain(num_episodes, seed=0):
    """Return random episodes on places 0 to 3: choice 1 moves on, choice 0 ends with 0.2.

    Reaching place 3 pays 1 and ends. With discount 0.9 moving on is worth 0.81, 0.9 and 1.
    """
    rng = np.random.default_rng(seed)
    replay = ReplayBuffer(num_episodes * 3, 1, 2, 0.0)
    for _ in range(num_episodes):
        for place in range(3):
            k = int(rng.random() < 0.7)
            ended = k == 0 or place == 2
            reward = 0.2 if k == 0 else float(place == 2)
            obs, next_obs = np.array([place]), np.array([place + k])
            replay.add(obs, np.eye(2)[k], reward, next_obs, ended, False)
            if ended:
                break
    return replay


@pytest.mark.parametrize("kind", ["muzero", "markov"])
def test_policy_and_value_learn_a_chain_of_three_steps(make_spec, make_hand_made, kind):
    spec = make_spec(1, (2,))

    def transition(obs, action):
        k = action[:, None, 1]
        reward = torch.where(k > 0, (obs[..., 0] == 2).float(), 0.2)
        return obs + k[..., None], reward, k * (obs[..., 0] < 2)

    model = make_muzero(spec) if kind == "muzero" else make_hand_made(spec, transition)
    agent = make_agent(spec, model, discount=0.9)
    replay = chain(100)
    for env_step in range(300):
        agent.update(replay, env_step)
    places = torch.tensor([[0.0], [1.0], [2.0]])
    with torch.no_grad():
        state = model.branch(model.observe(model.initial(3), torch.zeros(3, 2), places), 1)
        policy, value = agent.guide.prior(state), agent.guide.value(state)[:, 0]
    # At first 0.5; giving up is worth 0.2.
    assert (policy[:, 1] > 0.9).all()
    # Behaviour gives up three times of ten: 0.40 and 0.67 are its own values of places 0 and 1.
    assert value[2] == pytest.approx(0.76, abs=0.12)
    if kind == "muzero":  # the imagined next places are judged as the real ones are
        move = torch.tensor([[0.0, 1.0]] * 2)
        step = model.step({key: rows[:2] for key, rows in state.items()}, move, None)
        assert model.prior(step.state)[:, 1].min() > 0.9
        assert step.continues.min() > 0.9
        last = model.step({key: rows[2:] for key, rows in state.items()}, move[:1], None)
        assert last.reward.item() == pytest.approx(1.0, abs=0.15)
        assert last.continues.item() < 0.1
