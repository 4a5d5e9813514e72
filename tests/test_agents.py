"""MPC: fits, plans, exploration, state of its policies."""

import numpy as np
import pytest
import torch

from mbrl_cli.agents.mpc import MPC
from mbrl_cli.errors import UserError
from mbrl_cli.planners.base import Plan, Planner
from mbrl_cli.planners.random_shooting import RandomShooting
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import ActionSpec

CPU = torch.device("cpu")


class ConstantPlanner(Planner):
    """Planner that always returns the same action and records the arguments of its calls.

    Its memory holds the number of each environment and counts its steps.
    """

    is_static = uses_disagreement = True

    def __init__(self, action, replan_every=1):
        super().__init__(ActionSpec("continuous", len(action)), CPU, 3, replan_every)
        self.fixed_action = torch.tensor([action], dtype=torch.float32)  # [1, A]
        self.bonuses, self.memories, self.states = [], [], []

    def initial_memory(self, num_envs):
        return {"env": torch.arange(num_envs), "step": torch.zeros(num_envs)}

    def plan(self, world, state, memory, generator, disagreement_bonus=0.0):
        self.bonuses.append(disagreement_bonus)
        self.memories.append({key: value.tolist() for key, value in memory.items()})
        self.states.append(state)
        num_envs = len(memory["env"])
        action = self.fixed_action.expand(num_envs, -1)
        factors = 1.0 + torch.arange(self.replan_every)[:, None]  # step k: k times the action
        return Plan(
            actions=factors * action[:, None],  # [B, H, A]
            predicted_return=10.0 * memory["env"],
            memory={"env": memory["env"], "step": memory["step"] + 1},
            nonfinite=torch.tensor(2),
        )


@pytest.fixture
def make_model(make_hand_made):
    """Return a class of models of a constant state that record fits and observations.

    Their reward is the sum of the action.
    """

    class RecordingModel(make_hand_made):
        def __init__(self, spec, **options):
            super().__init__(
                spec,
                lambda obs, action: (obs, action.sum(-1, keepdim=True), torch.ones(len(obs), 1)),
                **options,
            )
            self.is_fitted = False
            self.fits, self.observed = 0, []

        def observe(self, state, action, obs, envs=None):
            self.observed.append((action.tolist(), obs.tolist(), list(envs)))
            return super().observe(state, action, obs)

        def fit(self, replay, generator):
            self.fits += 1
            self.is_fitted = True
            return {"train_loss": float(self.fits)}

    return RecordingModel


def make_mpc(spec, model, planner, explore="none", **changes):
    settings = {"fit_every": 10, "epsilon": 0.25, "disagreement_bonus": 3.0}
    generator = torch.Generator().manual_seed(0)
    return MPC(spec, CPU, model, planner, generator, explore=explore, **settings | changes)


def act_many(policy, num_envs, steps):
    """Return the actions [steps, B, A] of a policy for observations of zeros."""
    obs = np.zeros((num_envs, 1), np.float32)
    return np.stack([policy.act(obs).action for _ in range(steps)])


# --- arguments --------------------------------------------------------------------------------


def test_sizes_model_and_planner_are_the_only_arguments_without_a_default(
    make_spec, make_model, generator
):
    spec = make_spec()
    agent = MPC(spec, CPU, make_model(spec), ConstantPlanner([0]), generator, terminal_value=True)
    assert agent.planning.discount == 0.99  # SAC's, not MPC's 1.0
    assert agent.sac.schedule.updates_per_step == 4  # SAC's own default is 1


def test_mpc_refuses_to_assess_copies_of_an_actor_that_does_not_act(
    make_spec, make_model, generator
):
    spec = make_spec()
    planner, sac = ConstantPlanner([0]), {"assess_rounds": 3}
    with pytest.raises(UserError, match=r"agent\.sac\.assess_rounds=3: the planner acts"):
        MPC(spec, CPU, make_model(spec), planner, generator, terminal_value=True, sac=sac)


def test_mpc_refuses_gaussian_noise_on_discrete_actions(make_spec, make_model):
    spec = make_spec(1, (3,))
    with pytest.raises(UserError, match=r"agent\.explore=noise: needs continuous actions"):
        make_mpc(spec, make_model(spec), ConstantPlanner([1, 0, 0]), "noise")


def test_mpc_refuses_disagreement_of_a_model_with_one_member(make_spec, make_model, make_ensemble):
    spec = make_spec()
    for model in (make_model(spec), make_ensemble(spec, num_members=3, num_elites=1)):
        with pytest.raises(UserError, match=r"agent\.explore=disagreement: needs .* members"):
            make_mpc(spec, model, ConstantPlanner([0]), "disagreement")
    two_members = make_ensemble(spec, num_members=3, num_elites=2)
    make_mpc(spec, two_members, ConstantPlanner([0]), "disagreement")


# --- learning ---------------------------------------------------------------------------------


def test_mpc_fits_at_once_and_then_every_fit_every_steps(make_spec, make_model):
    spec = make_spec()
    model = make_model(spec)
    agent = make_mpc(spec, model, ConstantPlanner([0]))
    replay = ReplayBuffer(1, 1, 1)
    fitted = {step: agent.update(replay, step) for step in range(7, 40)}
    assert [step for step, metrics in fitted.items() if metrics] == [7, 17, 27, 37]
    assert fitted[17] == {"model/train_loss": 2.0}
    assert model.fits == 4


def test_a_restored_mpc_fits_at_the_same_steps(make_spec, make_model):
    spec = make_spec()
    saved, restored = (make_mpc(spec, make_model(spec), ConstantPlanner([0])) for _ in range(2))
    replay = ReplayBuffer(1, 1, 1)
    saved.update(replay, 7)
    restored.load_state_dict(saved.state_dict())
    restored.model.is_fitted = True  # a real model restores it itself
    assert [step for step in range(8, 30) if restored.update(replay, step)] == [17, 27]


# --- acting -----------------------------------------------------------------------------------


def test_a_decision_has_the_plan_s_action_and_predicted_return(make_spec, make_model):
    spec = make_spec()
    agent = make_mpc(spec, make_model(spec), ConstantPlanner([0.5]), discount=0.9)
    policy = agent.policy([None, None], explore=False, generator=torch.Generator())
    decision = policy.act(np.zeros((2, 1), np.float32))
    assert decision.action.tolist() == [[0.5], [0.5]]
    assert decision.predicted_return.tolist() == [0.0, 10.0]
    assert (policy.prediction_horizon, policy.discount) == (3, 0.9)


def test_a_plan_is_executed_for_replan_every_steps(make_spec, make_model, generator):
    spec = make_spec()
    planner = ConstantPlanner([0.1], replan_every=3)
    policy = make_mpc(spec, make_model(spec), planner).policy([None] * 2, False, generator)
    obs = np.zeros((2, 1), np.float32)
    decisions = [policy.act(obs) for _ in range(4)]
    policy.retain(np.array([1]))
    decisions += [policy.act(obs[:1]) for _ in range(3)]
    actions = [float(decision.action[-1, 0]) for decision in decisions]
    assert actions == pytest.approx([0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 0.1])
    predicted = [float(decision.predicted_return[-1]) for decision in decisions]
    assert predicted == pytest.approx([10, np.nan, np.nan, 10, np.nan, np.nan, 10], nan_ok=True)
    assert len(planner.states) == 3


def test_a_time_budget_shorter_than_one_iteration_is_refused(
    make_spec, make_model, generator, monkeypatch
):
    spec = make_spec()
    ticks = iter(range(1000))
    monkeypatch.setattr("mbrl_cli.planners.deadline.time.perf_counter", lambda: next(ticks))
    planner = RandomShooting(spec.action, CPU, 5, 20, 0.0, None, 1, max_plan_ms=3.0)
    policy = make_mpc(spec, make_model(spec), planner).policy([None], False, generator)
    with pytest.raises(UserError, match=r"planner\.max_plan_ms=3: one iteration takes 1000\.0 ms"):
        policy.act(np.zeros((1, 1), np.float32))


def test_the_planner_gets_the_functions_of_the_model(make_spec, make_model, generator):
    spec = make_spec()
    shooting = RandomShooting(spec.action, CPU, 4, 500, 0.0, None, 1, None)
    agent = make_mpc(spec, make_model(spec), shooting, discount=0.5)
    policy = agent.policy([None], explore=False, generator=generator)
    decision = policy.act(np.zeros((1, 1), np.float32))
    plan = agent.planning.planner.plan(policy.world, policy.state, policy.memory, generator)
    total = plan.actions[0, :, 0] @ torch.tensor([1.0, 0.5, 0.25, 0.125])  # reward = action
    assert plan.predicted_return.tolist() == pytest.approx([total.item()], rel=1e-5)
    assert decision.predicted_return[0] > 0.9  # the best of 500 plans; the optimum is 1.875


def test_the_model_observes_the_executed_action_not_the_planned_one(make_spec, make_model):
    spec = make_spec()
    model = make_model(spec)
    agent = make_mpc(spec, model, ConstantPlanner([0.5]), "noise")
    policy = agent.policy(["env"], explore=True, generator=torch.Generator().manual_seed(1))
    executed = policy.act(np.array([[7.0]], np.float32)).action.tolist()
    policy.act(np.array([[8.0]], np.float32))
    assert executed != [[0.5]]
    assert model.observed == [([[0.0]], [[7.0]], ["env"]), (executed, [[8.0]], ["env"])]


def test_retain_keeps_the_state_of_the_remaining_environments(make_spec, make_model):
    spec = make_spec()
    model, planner = make_model(spec), ConstantPlanner([0.5])
    agent = make_mpc(spec, model, planner, "noise")  # so that actions differ
    policy = agent.policy(list("abcd"), True, torch.Generator())
    actions = policy.act(np.zeros((4, 1), np.float32)).action
    policy.retain(np.array([0, 2, 3]))
    policy.act(np.array([[1.0], [2.0], [3.0]], np.float32))
    assert model.observed[1][0] == actions[[0, 2, 3]].tolist()
    policy.retain(np.array([1]))  # of the remaining a, c, d: c
    decision = policy.act(np.array([[4.0]], np.float32))
    assert planner.memories[1:] == [
        {"env": [0, 2, 3], "step": [1, 1, 1]},
        {"env": [2], "step": [2]},
    ]
    assert [envs for _, _, envs in model.observed] == [list("abcd"), list("acd"), ["c"]]
    assert decision.predicted_return.tolist() == [20.0]


def test_a_reset_clears_plan_memory_and_last_action(make_spec, make_model):
    spec = make_spec()
    model, planner = make_model(spec), ConstantPlanner([0.5])
    policy = make_mpc(spec, model, planner).policy(["a"], False, torch.Generator())
    for _ in range(2):
        policy.act(np.ones((1, 1), np.float32))
    policy.reset()
    policy.act(np.ones((1, 1), np.float32))
    assert [memory["step"] for memory in planner.memories] == [[0], [1], [0]]
    assert [action for action, _, _ in model.observed] == [[[0.0]], [[0.5]], [[0.0]]]


def test_two_policies_of_one_agent_have_separate_memories(make_spec, make_model):
    spec = make_spec()
    planner = ConstantPlanner([0.5])
    agent = make_mpc(spec, make_model(spec), planner)
    training, evaluation = (agent.policy(["a"], False, torch.Generator()) for _ in range(2))
    for policy in (training, training, evaluation, training):
        policy.act(np.zeros((1, 1), np.float32))
    assert [memory["step"] for memory in planner.memories] == [[0], [1], [0], [2]]


def test_plans_without_a_finite_return_are_counted_since_the_last_call(make_spec, make_model):
    spec = make_spec()
    agent = make_mpc(spec, make_model(spec), ConstantPlanner([0]))
    policy = agent.policy(["a"], True, torch.Generator())
    for _ in range(3):
        policy.act(np.zeros((1, 1), np.float32))
    assert policy.metrics() == {"planner/nonfinite": 6.0}  # two at each step
    assert policy.metrics() == {"planner/nonfinite": 0.0}


# --- exploration ------------------------------------------------------------------------------


def test_noise_is_added_in_training_only_and_clipped(make_spec, make_model, generator):
    spec = make_spec()
    agent = make_mpc(spec, make_model(spec), ConstantPlanner([0.2]), "noise")
    exact = act_many(agent.policy([None], False, generator), 1, 20)
    assert set(exact.flatten().tolist()) == {np.float32(0.2).item()}
    noisy = act_many(agent.policy([None] * 100, True, generator), 100, 20)
    assert noisy.mean() == pytest.approx(0.2, abs=0.01)  # 2000 draws: +- 0.002
    assert noisy.std() == pytest.approx(0.1, abs=0.008)  # +- 0.0016
    edge = make_mpc(spec, make_model(spec), ConstantPlanner([0.95]), "noise")
    at_edge = act_many(edge.policy([None] * 100, True, generator), 100, 20)
    assert at_edge.max() == 1.0


@pytest.mark.parametrize(
    ("actions", "planned", "ratio"), [((4,), [0, 1, 0, 0], 0.8125), (2, [0.5, -0.5], 0.75)]
)
def test_epsilon_is_the_ratio_of_random_actions_in_training_only(
    make_spec, make_model, generator, actions, planned, ratio
):
    spec = make_spec(1, actions)
    agent = make_mpc(spec, make_model(spec), ConstantPlanner(planned), "epsilon", epsilon=0.25)
    same = np.array(planned, np.float32)
    assert (act_many(agent.policy([None], False, generator), 1, 50) == same).all()
    explored = act_many(agent.policy([None] * 100, True, generator), 100, 40)
    # 3/4, plus the quarter of the random actions that equals the planned one: 1/4 * 1/4
    assert (explored == same).all(-1).mean() == pytest.approx(ratio, abs=0.03)  # +- 0.007
    if spec.action.kind == "discrete":
        assert (explored.sum(-1) == 1).all()


def test_disagreement_is_rewarded_in_training_only(make_spec, make_model, generator):
    spec = make_spec()
    planner = ConstantPlanner([0.0])
    model = make_model(spec, disagreement=lambda obs: obs[:, 0, 0])
    agent = make_mpc(spec, model, planner, "disagreement")
    for explore in (True, False):
        act_many(agent.policy([None], explore, generator), 1, 1)
    assert planner.bonuses == [3.0, 0.0]


def test_without_exploration_training_actions_equal_evaluation_actions(
    make_spec, make_model, generator
):
    spec = make_spec()
    planner = ConstantPlanner([0.3])
    agent = make_mpc(spec, make_model(spec), planner, "none")
    assert (act_many(agent.policy([None], True, generator), 1, 9) == np.float32(0.3)).all()
    assert set(planner.bonuses) == {0.0}
