"""Monte-Carlo tree search over a world's steps, for B environments at once.

Sources: PUCT, Schrittwieser et al. 2020 (MuZero, appendix B), without the slow logarithmic growth
of its exploration; sequential halving, Danihelka et al. 2022 ("Policy improvement by planning with
Gumbel"); sampled actions where they cannot be listed, Hubert et al. 2021 (Sampled MuZero).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.planners.base import Plan
from mbrl_cli.planners.deadline import Deadline
from mbrl_cli.planners.lines import lines_of_play
from mbrl_cli.planners.random_shooting import RandomShooting
from mbrl_cli.planners.rollouts import Rollouts
from mbrl_cli.planners.tree import (
    SAME,
    Floats,
    Ints,
    Tree,
    all_improved_scores,
    descend,
    halving,
    new_tree,
    new_walks,
    record,
)
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


class Found(NamedTuple):
    """What a search came to."""

    tree: Tree
    choices: Tensor  # [B, K, A] the root's choices
    chosen: Ints  # [B] the one to take
    policy: Floats  # [B, K] what the search recommends
    visits: Ints  # [B, K]
    value: Floats  # [B] mean over all simulations
    nonfinite: int  # steps that diverged
    memory: State  # for the next decision


class MCTS:
    """Grow a tree of imagined steps from each environment's state and take the best first step.

    All trees grow by one node at a time, so a simulation costs one `world.step` of B rows. Each of
    a model's particles goes its own way along the tree's actions; a node's reward and value are
    means over the particles that are still there, and its weight is the share of them that goes on.

    What a new node is worth says the world's `value`; without one the best of some random plans
    does, followed from the node's own step to the horizon, and without these it is worth nothing
    at first. All nodes of a decision are judged by the same plans, as they are by the same network;
    one of them is the best that the decision before has come across, path and plan together.

    Axes: B environments, S nodes, K choices, P particles, A action dim, R rollouts, H horizon.

    Args:
        action: how actions are encoded.
        device: where states live; the trees are on the CPU.
        num_simulations: nodes that are tried for a decision.
        select: `puct`, or `gumbel` for sequential halving at the root.
        exploration: weight of the prior in PUCT.
        considered: gumbel: choices of the root that sequential halving starts with.
        root_noise: where an agent explores: share of Dirichlet noise in the root's prior (puct), or
            scale of the Gumbel numbers, 1 in the paper (gumbel).
        concentration: puct: of the Dirichlet noise.
        sampled_actions: choices at each node where actions are continuous or several at once.
        horizon: steps from the root that count, where the world has no value.
        rollouts: random plans that judge a new node, where the world has no value.
        noise_beta: exponent of their random numbers' power spectrum, as for other planners.
        show_tree: print the most visited lines of play at the first decision of an episode.
        max_plan_ms: milliseconds that a decision may take for each environment; None: no limit.
    """

    replan_every = 1
    is_static = False
    uses_disagreement = False

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        num_simulations: Count,
        select: Literal["puct", "gumbel"],
        exploration: PositiveFloat,
        considered: Count,
        root_noise: Fraction,
        concentration: PositiveFloat,
        sampled_actions: Count,
        horizon: Count,
        rollouts: CountOrZero,
        noise_beta: NonNegativeFloat,
        show_tree: bool,
        max_plan_ms: PositiveFloat | None,
    ) -> None:
        self.action = action
        self.device = device
        self.num_simulations = num_simulations
        self.select = select
        self.exploration = exploration
        self.root_noise = root_noise
        self.concentration = concentration
        self.horizon = horizon
        self.rollouts = rollouts
        self.show_tree = show_tree
        self._to_show = False  # the next decision is an episode's first
        self.deadline = Deadline(max_plan_ms, device)
        # The choices that every node has [K, A]; None where they are sampled.
        listed = len(action.sizes) == 1
        self.listed = torch.eye(action.dim, device=device) if listed else None
        self.num_choices = action.dim if listed else sampled_actions
        self.turns = np.full(num_simulations, -1)
        if select == "gumbel":
            self.turns = halving(min(considered, self.num_choices), num_simulations)
        self.shooting = RandomShooting(
            action, device, horizon, max(rollouts, 1), noise_beta, None, 1, None
        )

    def initial_memory(self, num_envs: int) -> State:
        """Return any plan that may judge nodes; every decision grows its tree anew."""
        self._to_show = self.show_tree
        return self.shooting.initial_memory(num_envs) if self.rollouts else {}

    def plan(
        self,
        world: World,
        state: State,
        memory: State,
        generator: torch.Generator,
        disagreement_bonus: float = 0.0,
    ) -> Plan:
        """Decide for B environments without root noise; see `Planner.plan`."""
        found = self.search(world, state, memory, generator)
        trees = np.arange(len(found.chosen))
        chosen = torch.from_numpy(found.chosen).to(self.device)
        actions = found.choices[torch.from_numpy(trees).to(self.device), chosen]  # [B, A]
        predicted = root_values(found.tree)[trees, found.chosen]
        return Plan(
            actions=actions[:, None],
            predicted_return=torch.from_numpy(predicted).float(),
            memory=found.memory,
            nonfinite=torch.tensor(found.nonfinite),
        )

    def search(
        self,
        world: World,
        state: State,
        memory: State,
        generator: torch.Generator,
        noise: bool = False,
    ) -> Found:
        """Search from B observed states; `noise` disturbs the root, for exploration."""
        num_trees = len(next(iter(state.values())))
        growth = _Growth(self, world, world.branch(state, 1), num_trees, memory, generator)
        tree = growth.tree
        gumbel = np.zeros((num_trees, self.num_choices))
        if noise:
            self._disturb(tree, gumbel, generator)
        walks, turns = growth.walks, self.turns.tolist()
        # A value says what comes after: then no step is the last one that counts.
        horizon = self.horizon if world.value is None else self.num_simulations + 1
        nonfinite = 0
        for simulation in self.deadline.rounds(self.num_simulations, num_trees):
            if descend(tree, walks, self.exploration, gumbel, turns[simulation]):
                growth.expand(1 + simulation)
            nonfinite += record(tree, walks, 1 + simulation, world.discount, horizon)
        if self._to_show:
            self._to_show = False
            print(lines_of_play(tree, growth.choices, self.listed is not None))
        return self._decided(growth, gumbel, nonfinite)

    def _disturb(self, tree: Tree, gumbel: Floats, generator: torch.Generator) -> None:
        """Mix noise into the roots' priors, or draw their Gumbel numbers."""
        drawn = torch.randint(2**31, (1,), generator=generator, device=generator.device)
        rng = np.random.default_rng(int(drawn))
        if self.select == "gumbel":
            gumbel[:] = self.root_noise * rng.gumbel(size=gumbel.shape)
            return
        concentration = np.full(self.num_choices, self.concentration)
        noise = rng.dirichlet(concentration, size=len(gumbel))
        tree.prior[:, 0] += self.root_noise * (noise - tree.prior[:, 0])

    def _decided(self, growth: _Growth, gumbel: Floats, nonfinite: int) -> Found:
        """Choose by visits (PUCT), or among the most visited by score (Gumbel)."""
        tree = growth.tree
        child = tree.child[:, 0]  # [B, K]
        visits = np.where(child < 0, 0, np.take_along_axis(tree.visits, child, axis=1))
        if self.select == "gumbel":
            policy = np.zeros(child.shape)
            all_improved_scores(tree, policy)
            best = np.where(visits == visits.max(1, keepdims=True), policy + gumbel, -np.inf)
            policy = np.exp(policy - policy.max(1, keepdims=True))
            policy /= policy.sum(1, keepdims=True)
        else:
            total = visits.sum(1, keepdims=True)
            policy = np.where(total > 0, visits / np.maximum(total, 1), tree.prior[:, 0])
            q = root_values(tree)
            spread = np.maximum(tree.high - tree.low, 1e-12)[:, None]
            # Of choices that tie the one of the largest value.
            best = np.where(visits > 0, visits + 0.5 * (q - tree.low[:, None]) / spread, policy)
        chosen = best.argmax(1)
        if growth.rollouts is not None and self.listed is not None:
            # Where nothing is known to be better than anything else, go new ways. Values deeper in
            # the tree differ anyway: fewer steps are left there.
            q = np.where(visits > 0, root_values(tree), tree.value[:, :1])
            same = np.ptp(q, axis=1) <= SAME * np.abs(q).max(1)
            fresh = growth.rollouts.plans[:, 0, 0].argmax(-1).cpu().numpy()
            chosen = np.where(same, fresh, chosen)
        return Found(
            tree, growth.choices[0], chosen, policy, visits, tree.value[:, 0], nonfinite,
            growth.memory(),
        )  # fmt: skip


def root_values(tree: Tree) -> Floats:
    """Return Q [B, K] of the roots' choices; NaN where one was not tried."""
    child = tree.child[:, 0]  # [B, K]
    reward, weight, value = (
        np.take_along_axis(field, child, axis=1) for field in (tree.reward, tree.weight, tree.value)
    )
    return np.where(child < 0, np.nan, reward + weight * value)


class _Growth:
    """The states that belong to the nodes of the trees, and how a new one is found."""

    def __init__(
        self,
        planner: MCTS,
        world: World,
        root: State,
        num_trees: int,
        memory: State,
        generator: torch.Generator,
    ) -> None:
        self.planner = planner
        self.world = world
        self.trees = np.arange(num_trees)
        size, device = 1 + planner.num_simulations, planner.device
        self.walks = new_walks(num_trees, planner.num_choices)
        # Tensors that share the walks' memory.
        self.row, self.taken = (torch.from_numpy(x) for x in (self.walks.row, self.walks.taken))
        self.reward, self.chance, self.value, self.prior = (
            torch.from_numpy(x) for x in self.walks[4:]
        )
        if planner.listed is not None:
            self.choices = planner.listed.expand(1, num_trees, -1, -1)  # [1, B, K, A]
        else:
            self.choices = self._sampled(size, num_trees, generator)  # [S, B, K, A]
        # Every node's state, tree after tree in rows [S * B, P, ...], and the same by node.
        self.rows: State = {}
        self.by_node: dict[str, tuple[Tensor, ...]] = {}
        for key, value in root.items():
            nodes = value.new_empty(size, *value.shape)
            self.rows[key], self.by_node[key] = nodes.flatten(0, 1), nodes.unbind(0)
            self.by_node[key][0].copy_(value)
        first = next(iter(root.values()))
        self.num_particles = first.shape[1]
        # Chance that a particle is still there [S, B, P].
        self.there = torch.ones(size, num_trees, self.num_particles, device=device)
        self.rollouts: Rollouts | None = None
        if planner.rollouts and world.value is None and world.rollout is not None:
            self.rollouts = Rollouts(planner.shooting, world.rollout, memory["best"], generator)
        self.unused = memory
        self.prior.fill_(1.0 / planner.num_choices)
        self._judge(root, self.there[0], np.zeros(num_trees, np.int64))
        self.tree = new_tree(self.walks.prior, self.walks.value, planner.num_simulations)

    def expand(self, new: int) -> None:
        """Take the steps that the walks have chosen, to node `new`; write down what they find.

        A tree whose walk came to an end takes a step that nobody looks at.
        """
        planner, walks = self.planner, self.walks
        row = self.row.to(planner.device)
        state = {key: rows.index_select(0, row) for key, rows in self.rows.items()}
        state, reward, chance = self.world.step(state, self._actions(row))
        there = chance
        if self.num_particles > 1:
            before = self.there.flatten(0, 1).index_select(0, row)  # [B, P]
            there = before * chance
            self.there[new] = there
            total = before.sum(1, keepdim=True)
            # What a particle that is gone would be paid may be no number.
            reward = torch.where(before > 0.0, before * reward, 0.0).sum(1, keepdim=True) / total
            chance = there.sum(1, keepdim=True) / total
        self.reward.copy_(reward[:, 0])
        self.chance.copy_(chance[:, 0])
        for key, nodes in self.by_node.items():
            nodes[new].copy_(state[key])
        depth = self.tree.depth[self.trees, walks.leaf] + 1 if self.rollouts else walks.leaf
        self._judge(state, there, depth)
        if self.rollouts is not None:
            self.rollouts.remember(self.tree, walks, new, self.world.discount)

    def _actions(self, row: Tensor) -> Tensor:
        """Return the chosen actions [B, A]."""
        taken = self.taken.to(self.planner.device)
        if self.planner.listed is not None:
            return self.planner.listed.index_select(0, taken)
        return self.choices.flatten(0, 1)[row, taken]

    def _judge(self, state: State, there: Tensor, depth: Ints) -> None:
        """Write down prior and value of states that particles reach with chance `there` [B, P]."""
        world = self.world
        if world.prior is not None and self.planner.listed is not None:
            self.prior.copy_(world.prior(state))
        if world.value is not None:
            value = world.value(state)  # [B, P]
        elif self.rollouts is not None:
            value = self.rollouts(state, there, depth)
        else:
            return
        if self.num_particles > 1:
            total = there.sum(1, keepdim=True)
            value = torch.where(there > 0.0, there * value, 0.0).sum(1, keepdim=True) / total
        self.value.copy_(value[:, 0])

    def memory(self) -> State:
        """Return the best plan, moved on to the next decision."""
        if self.rollouts is None:
            return self.unused
        plan = self.rollouts.best_plan(self.tree, self.choices)
        return {"best": self.planner.shooting.shifted(plan)}

    def _sampled(self, size: int, num_trees: int, generator: torch.Generator) -> Tensor:
        """Draw every node's choices [S, B, K, A]: uniform over the legal actions."""
        planner, num_choices = self.planner, self.planner.num_choices
        shape = (size, num_trees, num_choices, planner.action.dim)
        uniform = torch.rand(shape, generator=generator, device=generator.device)
        uniform = uniform.to(planner.device)
        if planner.action.kind == "continuous":
            return 2.0 * uniform - 1.0
        return planner.shooting.choose_discrete(planner.shooting.neutral, uniform)
