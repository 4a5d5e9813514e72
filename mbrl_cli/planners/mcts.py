"""Monte-Carlo tree search over a world's steps, for B environments at once.

Sources: PUCT, Schrittwieser et al. 2020 (MuZero, appendix B), with a constant exploration weight
instead of the slowly growing one; sequential halving, Danihelka et al. 2022 ("Policy improvement by
planning with Gumbel"); sampled actions where they cannot be enumerated, Hubert et al. 2021 (Sampled
MuZero).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from mbrl_cli.planners.base import Plan, Planner
from mbrl_cli.planners.random_shooting import RandomShooting
from mbrl_cli.planners.tree_search.leaf_plans import LeafPlans
from mbrl_cli.planners.tree_search.node_actions import NodeActions
from mbrl_cli.planners.tree_search.node_states import NodeStates
from mbrl_cli.planners.tree_search.outcome_predictor import OutcomePredictor
from mbrl_cli.planners.tree_search.outcomes import new_outcomes
from mbrl_cli.planners.tree_search.principal_variations import principal_variations
from mbrl_cli.planners.tree_search.recommendation import recommend_by_gumbel, recommend_by_visits
from mbrl_cli.planners.tree_search.search_result import SearchResult
from mbrl_cli.planners.tree_search.sequential_halving import considered_visits
from mbrl_cli.planners.tree_search.simulation import Q_TOLERANCE, simulate
from mbrl_cli.planners.tree_search.simulation_path import new_path
from mbrl_cli.planners.tree_search.transposition_table import TranspositionTable
from mbrl_cli.planners.tree_search.tree import Floats, Ints, Tree, new_tree, root_q
from mbrl_cli.planners.world import World
from mbrl_cli.types import (
    ActionSpec,
    Count,
    CountOrZero,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    State,
)


class MCTS(Planner):
    """Search a tree of imagined steps from each environment's state; take the best first action.

    All trees expand one action at a time, so a simulation costs one `world.step` of B rows. The
    particles of the model follow the same actions; reward and value of a node are means over the
    particles that are alive there.

    By default all particles of an action share one node (open-loop search: actions do not depend on
    the outcome). With `outcomes` > 1 they are divided into several nodes, so later actions depend
    on the outcome. A node continues with as many particles as the model has, copies of its own.

    The value of a new node is the world's `value`; without one it is the return of the best of some
    random plans (see `LeafPlans`), and without these it is 0.

    Axes: B environments and trees, S nodes, K actions of a node, P particles, C outcomes, A action
    dim, H horizon.

    Args:
        action: how actions are encoded.
        device: where states live; the trees are on the CPU.
        num_simulations: simulations per decision; each expands at most one action.
        outcomes: maximum number of outcomes C of an action. C is the largest divisor of P up to it.
        transpositions: make equal states at the same depth one node; for states that recur exactly.
        select: `puct`, or `gumbel`: sequential halving at the root, the improved policy below it.
        exploration: puct: weight of the prior.
        max_considered_actions: gumbel: root actions that sequential halving starts with.
        root_noise: where an agent explores: fraction of Dirichlet noise in the root's prior (puct),
            or scale of the Gumbel noise, 1 in the paper (gumbel).
        dirichlet_alpha: puct: concentration of the Dirichlet noise.
        sampled_actions: K where actions are continuous or have several discrete components.
        horizon: depth from which on nodes are terminal, where the world has no value.
        leaf_plans: random plans that evaluate a new node, where the world has no value.
        noise_beta: exponent of the plans' noise spectrum, see `TrajectoryPlanner`.
        show_tree: print the most visited action sequences at the first decision of an episode.
        max_plan_ms: time budget of a decision in milliseconds per environment; None: no limit.
    """

    is_tree_search = True

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        num_simulations: Count = 50,
        outcomes: Count = 1,
        transpositions: bool = False,
        select: Literal["puct", "gumbel"] = "puct",
        exploration: PositiveFloat = 1.25,
        max_considered_actions: Count = 16,
        root_noise: Fraction = 0.25,
        dirichlet_alpha: PositiveFloat = 0.3,
        sampled_actions: Count = 8,
        horizon: Count = 25,
        leaf_plans: CountOrZero = 8,
        noise_beta: NonNegativeFloat = 1.0,
        show_tree: bool = False,
        max_plan_ms: PositiveFloat | None = None,
    ) -> None:
        super().__init__(action, device, horizon, max_plan_ms=max_plan_ms)
        self.num_simulations = num_simulations
        self.outcomes = outcomes
        self.transpositions = transpositions
        self.select = select
        self.exploration = exploration
        self.root_noise = root_noise
        self.dirichlet_alpha = dirichlet_alpha
        self.leaf_plans = leaf_plans
        self.show_tree = show_tree
        self._at_episode_start = False
        self.enumerates_actions = len(action.sizes) == 1  # else they are sampled
        self.num_actions = action.dim if self.enumerates_actions else sampled_actions
        self.considered_visits = np.full(num_simulations, -1)
        if select == "gumbel":
            num_considered = min(max_considered_actions, self.num_actions)
            self.considered_visits = considered_visits(num_considered, num_simulations)
        self.shooting = RandomShooting(
            action, device, horizon=horizon, population=max(leaf_plans, 1), noise_beta=noise_beta
        )

    def initial_memory(self, num_envs: int) -> State:
        """Return an initial plan for `LeafPlans`, if they are used; trees are not carried over."""
        self._at_episode_start = True
        return self.shooting.initial_memory(num_envs) if self.leaf_plans else {}

    def plan(
        self,
        world: World,
        state: State,
        memory: State,
        generator: torch.Generator,
        disagreement_bonus: float = 0.0,
    ) -> Plan:
        """Decide for B environments without root noise; see `Planner.plan`."""
        result = self.search(world, state, memory, generator)
        trees = np.arange(len(result.action))
        action = torch.from_numpy(result.action).to(self.device)
        actions = result.root_actions[torch.from_numpy(trees).to(self.device), action]  # [B, A]
        predicted = root_q(result.tree)[trees, result.action]  # [B]
        return Plan(
            actions=actions[:, None],  # [B, 1, A]
            predicted_return=torch.from_numpy(predicted).float(),
            memory=result.memory,
            nonfinite=torch.tensor(result.nonfinite),
        )

    def search(
        self,
        world: World,
        state: State,
        memory: State,
        generator: torch.Generator,
        noise: bool = False,
    ) -> SearchResult:
        """Search from B observed states.

        Args:
            world: functions of the model.
            state: observed states, leading axis B.
            memory: `SearchResult.memory` of the decision before, or `initial_memory`.
            generator: source of all random numbers.
            noise: whether to add noise at the roots, for exploration.
        """
        predictor = self._predictor(world, state, memory, generator)
        path, outcomes, leaf_plans = predictor.path, predictor.outcomes, predictor.leaf_plans
        num_trees, num_outcomes = outcomes.probability.shape
        tree = new_tree(
            prior=outcomes.prior[:, 0],
            value=outcomes.value.mean(1),
            num_outcomes=num_outcomes,
            transpositions=self.transpositions,
            num_simulations=self.num_simulations,
        )
        gumbel = np.zeros((num_trees, self.num_actions))
        if noise:
            self._add_root_noise(tree, gumbel, generator)
        # A learned value covers everything after a node, so there is no last step.
        horizon = self.horizon if world.value is None else self.num_simulations + 1
        nonfinite, first_node = 0, 1
        # One call finishes a simulation and starts the next one, see `simulate`.
        fixed = (world.discount, horizon, self.exploration, gumbel)
        schedule = [*self.considered_visits.tolist(), -1]
        num_unexpanded, _ = simulate(tree, path, outcomes, first_node, *fixed, schedule[0])
        for simulation in self.deadline.iterations(self.num_simulations, num_trees):
            if num_unexpanded:
                predictor.predict(1 + simulation, first_node, path.new_depth)
            num_unexpanded, diverged = simulate(
                tree, path, outcomes, first_node, *fixed, schedule[simulation + 1]
            )
            nonfinite += diverged
            first_node += num_outcomes
        if self.show_tree and self._at_episode_start:
            print(principal_variations(tree, predictor.actions))
        self._at_episode_start = False
        policy, action = self._recommend(tree, gumbel, leaf_plans)
        if leaf_plans is not None:
            best_plan = leaf_plans.best_plan(tree, predictor.actions)  # [B, H, A]
            memory = {"best": self.shooting.shifted(best_plan)}
        return SearchResult(
            tree=tree,
            root_actions=predictor.actions.root,
            action=action,
            policy=policy,
            visit_count=tree.visit_count[:, 0],
            value=tree.value[:, 0],
            nonfinite=nonfinite,
            memory=memory,
        )

    def _predictor(
        self, world: World, state: State, memory: State, generator: torch.Generator
    ) -> OutcomePredictor:
        """Return the model side of a search, with the predictions for the roots."""
        root = world.branch(state, 1)  # [B, P, ...]
        num_trees, num_particles = next(iter(root.values())).shape[:2]
        num_outcomes = _largest_divisor(num_particles, self.outcomes)
        num_nodes = 1 + self.num_simulations * num_outcomes
        actions = self._node_actions(num_nodes, num_trees, generator)
        leaf_plans = None
        if self.leaf_plans and world.value is None and world.rollout_returns is not None:
            leaf_plans = LeafPlans(
                self.shooting, world.rollout_returns, memory["best"], num_nodes, generator
            )
        predictor = OutcomePredictor(
            world=world,
            states=NodeStates(root, num_outcomes, self.num_simulations, self.device),
            actions=actions,
            path=new_path(num_trees, self.num_simulations, self.num_actions),
            outcomes=new_outcomes(num_trees, num_outcomes, self.num_actions),
            leaf_plans=leaf_plans,
            transpositions=TranspositionTable(num_trees) if self.transpositions else None,
        )
        predictor.predict_root(root)
        return predictor

    def _recommend(
        self, tree: Tree, gumbel: Floats, leaf_plans: LeafPlans | None
    ) -> tuple[Floats, Ints]:
        """Return the search policy [B, K] and the recommended actions [B] of the roots."""
        if self.select == "gumbel":
            policy, action = recommend_by_gumbel(tree, gumbel)
        else:
            policy, action = recommend_by_visits(tree)
        if leaf_plans is not None and self.enumerates_actions:
            action = self._break_ties(tree, action, leaf_plans)
        return policy, action

    def _node_actions(
        self, num_nodes: int, num_trees: int, generator: torch.Generator
    ) -> NodeActions:
        """Return every discrete action, or draw K legal actions uniformly for each node."""
        if self.enumerates_actions:
            one_hot = torch.eye(self.action.dim, device=self.device)  # [K, A]
            return NodeActions(one_hot.expand(1, num_trees, -1, -1))
        shape = (num_nodes, num_trees, self.num_actions, self.action.dim)  # [S, B, K, A]
        uniform = torch.rand(shape, generator=generator, device=generator.device)
        uniform = uniform.to(self.device)
        if self.action.kind == "continuous":
            return NodeActions(2.0 * uniform - 1.0)
        return NodeActions(self.shooting.choose_discrete(self.shooting.neutral, uniform))

    def _add_root_noise(self, tree: Tree, gumbel: Floats, generator: torch.Generator) -> None:
        """Mix Dirichlet noise into the roots' priors, or draw their Gumbel noise [B, K]."""
        seed = torch.randint(2**31, (1,), generator=generator, device=generator.device)
        rng = np.random.default_rng(int(seed))
        if self.select == "gumbel":
            gumbel[:] = self.root_noise * rng.gumbel(size=gumbel.shape)
            return
        alpha = np.full(self.num_actions, self.dirichlet_alpha)
        noise = rng.dirichlet(alpha, size=len(gumbel))  # [B, K]
        tree.prior[:, 0] += self.root_noise * (noise - tree.prior[:, 0])

    def _break_ties(self, tree: Tree, action: Ints, leaf_plans: LeafPlans) -> Ints:
        """Replace the recommended actions [B] by random ones where all root actions are equal.

        Otherwise an agent that has not found any reward yet would repeat the same action. Deeper
        nodes are not compared: fewer steps are left there, so their values differ in any case.
        """
        visited = tree.visit_count[:, 0] > 0  # [B, K]
        q = np.where(visited, root_q(tree), tree.value[:, :1])
        all_equal = np.ptp(q, axis=1) <= Q_TOLERANCE * np.abs(q).max(1)
        random_action = leaf_plans.plans[:, 0, 0].argmax(-1).cpu().numpy()
        return np.where(all_equal, random_action, action)


def _largest_divisor(number: int, limit: int) -> int:
    """Return the largest divisor of `number` that is at most `limit`."""
    return next(n for n in range(min(number, limit), 0, -1) if number % n == 0)
