"""AlphaZero: value targets and losses by hand; both networks learn a task of three steps."""

import numpy as np
import pytest
import torch

from mbrl_cli.agents.alphazero import AlphaZero
from mbrl_cli.agents.policy_store import PolicyStore
from mbrl_cli.models.muzero import MuZero
from mbrl_cli.models.n_step_returns import n_step_returns
from mbrl_cli.models.search_targets import SearchTargets
from mbrl_cli.planners.mcts import MCTS
from mbrl_cli.replay.buffer import ReplayBuffer

CPU = torch.device("cpu")
NETWORK = {
    "hidden": [32], "learning_rate": 3e-3, "weight_decay": 0.0, "value_weight": 1.0,
    "target_rate": 0.1,
}  # fmt: skip


def make_muzero(spec, **changes):
    settings = NETWORK | {"latent_dim": 16, "unroll_steps": 2}
    return MuZero(spec, CPU, torch.Generator().manual_seed(0), **settings | changes)


def make_agent(spec, model, **changes):
    planner = MCTS(spec.action, CPU, num_simulations=8, select="gumbel", leaf_plans=0)
    settings = {
        "network": NETWORK, "fit_every": 1000, "discount": 0.5, "batch_size": 32,
        "updates_per_step": 1.0, "td_steps": 2, "reanalyse": 1.0, "log_every": 10,
    }  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    return AlphaZero(spec, CPU, generator, model, planner, **settings | changes)


def test_consecutive_rows_are_marked_up_to_the_end_of_the_episode():
    replay = ReplayBuffer(6, 1, 1)
    for number in range(8):  # episodes 0-2, 3-6, 7; rows 0 and 1 hold numbers 6 and 7
        replay.add(np.zeros(1), np.zeros(1), number, np.zeros(1), number in (2, 6), False)
    rows, inside = replay.consecutive_rows(np.array([2, 4, 0]), 3)  # numbers 2, 4, 6
    assert replay.batch(rows.ravel()).reward.view(3, 3).tolist()[1] == [4.0, 5.0, 6.0]
    assert inside.tolist() == [[True, False, False], [True, True, True], [True, False, False]]


def test_n_step_returns_by_hand():
    """Discount 1/2, two steps; the value of an observation is 8 times the observation."""
    reward = torch.tensor([[1.0, 2.0, 4.0]] * 4)
    included = torch.tensor([[1.0, 1, 1], [1, 1, 0], [1, 1, 0], [1, 0, 0]])
    terminated = torch.zeros(4, 3)
    terminated[2, 1] = terminated[3, 0] = 1.0
    next_obs = torch.tensor([1.0, 2.0, 3.0]).expand(4, 3)[..., None]
    returns = n_step_returns(
        reward, terminated, next_obs, included,
        value=lambda obs: 8.0 * obs[:, 0], num_steps=2, discount=0.5,
    )  # fmt: skip
    assert returns.tolist() == [
        [1 + 2 / 2 + 8 * 2 / 4, 2 + 4 / 2 + 8 * 3 / 4],
        [1 + 2 / 2 + 8 * 2 / 4, 2 + 8 * 2 / 2],  # truncated after the second step
        [1 + 2 / 2, 2.0],  # terminated after the second step
        [1.0, returns[3, 1].item()],  # the second state is of another episode and masked
    ]


def test_a_return_ends_before_an_action_that_the_search_would_hardly_take(make_spec):
    """Discount 1/2, three steps with rewards 1, 2, 4; the value of place p is 8 p."""
    spec = make_spec(1, (2,))
    replay = ReplayBuffer(3, 1, 2, 0.0)
    for place in range(3):  # always action 0
        obs, next_obs = np.array([place]), np.array([place + 1])
        replay.add(obs, np.array([1, 0]), 2.0**place, next_obs, False, place == 2)
    policies = {0: [0.0, 1.0], 1: [0.2, 0.8], 2: [0.1, 0.9]}  # 0.2 is a quarter of 0.8
    expected = {
        0.25: [1 + 2 / 2 + 16 / 4, 2 + 16 / 2, 4 + 24 / 2],
        0.1: [1 + 2 / 2 + 4 / 4 + 24 / 8, 2 + 4 / 2 + 24 / 4, 4 + 24 / 2],
    }
    for ratio, returns in expected.items():
        agent = make_agent(
            spec, make_muzero(spec), reanalyse=0.0, td_steps=3, min_policy_ratio=ratio
        )
        agent.network.target_value = lambda obs: 8.0 * obs[:, 0]
        for agent.next_row, policy in policies.items():
            agent.store_policies(np.array([policy]))
        (targets,) = agent.targets(replay)
        assert targets.policy[0, 0].tolist() == pytest.approx(policies[int(targets.obs[0, 0, 0])])
        wanted = {0.25: [0, 1, 0], 0.1: [0, 1, 1]}[ratio]  # the search never takes action 0 at 0
        for obs, value, counts in zip(
            targets.obs[:, 0, 0], targets.value[:, 0], targets.value_mask[:, 0], strict=True
        ):
            assert value == returns[int(obs)]
            assert counts == wanted[int(obs)]


@pytest.mark.parametrize("ratio", [0.25, 0.0])
def test_random_steps_whose_states_were_never_searched_are_no_value_targets(make_spec, ratio):
    """Discount 1/2, rewards 1, 2, 4; the value of place p is 8 p; only place 0 was searched."""
    spec = make_spec(1, (2,))
    replay = ReplayBuffer(3, 1, 2, 0.0)
    for place in range(3):
        obs, next_obs = np.array([place]), np.array([place + 1])
        replay.add(obs, np.array([1, 0]), 2.0**place, next_obs, False, place == 2)
    agent = make_agent(spec, make_muzero(spec), reanalyse=0.0, td_steps=3, min_policy_ratio=ratio)
    agent.network.target_value = lambda obs: 8.0 * obs[:, 0]
    agent.store_policies(np.array([[0.7, 0.3]]))
    (targets,) = agent.targets(replay)
    # With ratio 0 all actions count: three rewards from place 0.
    first = {0.25: 1 + 8 / 2, 0.0: 1 + 2 / 2 + 4 / 4 + 24 / 8}[ratio]
    counts = {0.25: [1, 0, 0], 0.0: [1, 1, 1]}[ratio]
    for sequence, place in enumerate(targets.obs[:, 0, 0].int().tolist()):
        assert targets.value_mask[sequence, 0] == counts[place]
        if place == 0:
            assert targets.value[sequence, 0] == first


def test_policies_of_reanalysed_states_are_stored(make_spec):
    spec = make_spec(1, (2,))
    agent = make_agent(spec, make_muzero(spec), reanalyse=0.5)
    batches = agent.targets(chain(20), num_batches=3)
    assert [len(targets.obs) for targets in batches] == [32, 32, 32]
    for targets in batches:  # the first half of each batch is reanalysed
        assert (targets.policy[:16, 0].sum(-1) > 0.99).all()
    total = np.nan_to_num(agent.policies.policies).sum(-1)  # of each stored policy
    assert set(np.round(total, 6)) == {0.0, 1.0}
    assert total.sum() > 20  # number of stored policies


def test_stored_policies_are_returned_by_row():
    store = PolicyStore(2)
    store.put(np.array([3, 1]), np.array([[0.25, 0.75], [1.0, 0.0]]))
    store.put(np.array([1]), np.array([0.5, 0.5]))
    assert store.get(np.array([[1, 3], [0, 5000]])).tolist() == [
        [[0.5, 0.5], [0.25, 0.75]],
        [[0.0, 0.0], [0.0, 0.0]],  # not searched, and never allocated
    ]
    restored = PolicyStore(2)
    restored.load_state_dict(store.state_dict())
    assert restored.get(np.array([[3]])).tolist() == [[[0.25, 0.75]]]


def test_initial_losses_of_muzero_are_those_of_uniform_bins(make_spec):
    """The second of two sequences has one state; K unrolled states weigh as much as the first."""
    spec = make_spec(1, (2,))
    mask = torch.tensor([[1.0, 1, 1], [1, 0, 0]])
    targets = SearchTargets(
        obs=torch.randn(2, 3, 1, generator=torch.Generator().manual_seed(0)),
        action=torch.eye(2).expand(2, 2, 2),
        reward=torch.ones(2, 2),
        terminated=torch.zeros(2, 2),
        policy=torch.zeros(2, 3, 2),
        value=torch.ones(2, 3),
        value_mask=mask,
        mask=mask,
    )
    model = make_muzero(spec)
    losses = dict(zip(model.losses, model.learn(targets).tolist(), strict=True))
    bins = np.log(len(model.two_hot.bins))
    assert losses["value"] == pytest.approx((1 + (1 / 2 + 1 / 2) / 2) * bins)
    assert losses["reward"] == pytest.approx((1 + 1 / 2) / 2 * bins)
    assert losses["policy"] == 0.0


def chain(num_episodes, seed=0):
    """Return random episodes on places 0 to 3: action 1 moves on, action 0 pays 0.2 and terminates.

    Reaching place 3 pays 1 and terminates. With discount 0.9 the Q of moving on is 0.81, 0.9 and 1.
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
        policy, value = agent.network.prior(state), agent.network.value(state)[:, 0]
    # The initial policy is 0.5; the Q of terminating is 0.2.
    assert (policy[:, 1] > 0.9).all()
    # The data terminate with probability 0.3: the values of that behaviour are 0.40, 0.54 and 0.76.
    assert value.tolist() == pytest.approx([0.81, 0.9, 1.0], abs=0.1)
    if kind == "muzero":  # imagined states have the same policy and values as real ones
        move = torch.tensor([[0.0, 1.0]] * 2)
        step = model.step({key: rows[:2] for key, rows in state.items()}, move, None)
        assert model.prior(step.state)[:, 1].min() > 0.9
        assert step.continues.min() > 0.9
        last = model.step({key: rows[2:] for key, rows in state.items()}, move[:1], None)
        assert last.reward.item() == pytest.approx(1.0, abs=0.15)
        assert last.continues.item() < 0.1
