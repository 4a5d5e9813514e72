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

from mbrl_cli.planners.base import Plan, Planner
from mbrl_cli.planners.lines import lines_of_play
from mbrl_cli.planners.random_shooting import RandomShooting
from mbrl_cli.planners.rollouts import Rollouts
from mbrl_cli.planners.tree import (
    NOBODY,
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


class MCTS(Planner):
    """Grow a tree of imagined steps from each environment's state and take the best first step.

    All trees try one choice at a time, so a simulation costs one `world.step` of B rows. Each of
    a model's particles goes its own way along the tree's actions; a node's reward and value are
    means over the particles that are still there, and its weight is the share of them that goes on.

    By default all particles share a node, and all later actions with it: the search is for the best
    plan, whatever happens. Parted into several outcomes, nodes of their own, they do not: later
    actions answer what has happened. A node starts again with as many particles as the model has,
    copies of those that led to it. With `merge` equal states at the same depth are one node,
    however they were reached: the tree of a small world is then a graph that soon is complete.

    What a new node is worth says the world's `value`; without one the best of some random plans
    does, followed from the node's own step to the horizon, and without these it is worth nothing
    at first. All nodes of a decision are judged by the same plans, as they are by the same network;
    one of them is the best that the decision before has come across, path and plan together.

    Axes: B environments, S nodes, K choices, P particles, C outcomes, A action dim, R rollouts,
    H horizon.

    Args:
        action: how actions are encoded.
        device: where states live; the trees are on the CPU.
        num_simulations: choices that are tried for a decision.
        outcomes: into so many nodes at most the particles of a choice are parted, equally many to
            each; with as many as the model has particles, each is an outcome.
        merge: make equal states at the same depth one node; for states that recur exactly.
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

    is_tree_search = True

    def __init__(
        self,
        action: ActionSpec,
        device: torch.device,
        num_simulations: Count,
        outcomes: Count,
        merge: bool,
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
        super().__init__(action, device, horizon, max_plan_ms=max_plan_ms)
        self.num_simulations = num_simulations
        self.outcomes = outcomes
        self.merge = merge
        self.select = select
        self.exploration = exploration
        self.root_noise = root_noise
        self.concentration = concentration
        self.rollouts = rollouts
        self.show_tree = show_tree
        self._to_show = False  # the next decision is an episode's first
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
            new = 1 + simulation * tree.outcomes
            nonfinite += record(tree, walks, new, world.discount, horizon)
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
        visits = tree.tried[:, 0]  # [B, K]
        if self.select == "gumbel":
            policy = np.zeros(visits.shape)
            all_improved_scores(tree, policy)
            best = np.where(visits == visits.max(1, keepdims=True), policy + gumbel, -np.inf)
            policy = np.exp(policy - policy.max(1, keepdims=True))
            policy /= policy.sum(1, keepdims=True)
        else:
            total = visits.sum(1, keepdims=True)
            policy = np.where(total > 0, visits / np.maximum(total, 1), tree.prior[:, 0])
            q = root_values(tree)
            spread = np.maximum(tree.high - tree.low, 1e-12)[:, None]
            share = (q - tree.low[:, None]) / spread
            # Of choices that tie the one of the largest value; where nodes are worth their best
            # choice, values are what counts.
            count = visits * (1e-6 if self.merge else 1.0)
            best = np.where(visits > 0, count + 0.5 * share, -1.0 if self.merge else policy)
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


def _largest_divisor(number: int, most: int) -> int:
    return next(n for n in range(min(number, most), 0, -1) if number % n == 0)


def root_values(tree: Tree) -> Floats:
    """Return Q [B, K] of the roots' choices; NaN where one was not tried."""
    return np.where(tree.tried[:, 0] == 0, np.nan, tree.q[:, 0])


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
        self.num_particles = next(iter(root.values())).shape[1]
        self.outcomes = _largest_divisor(self.num_particles, planner.outcomes)
        nodes = 1 + planner.num_simulations * self.outcomes
        self.walks = new_walks(
            num_trees, self.outcomes, planner.num_choices, planner.num_simulations
        )
        # Tensors that share the walks' memory.
        walks = self.walks
        self.row, self.taken = torch.from_numpy(walks.row), torch.from_numpy(walks.taken)
        self.share, self.reward, self.chance, self.value, self.prior = (
            torch.from_numpy(x) for x in walks[-5:]
        )
        if planner.listed is not None:
            self.choices = planner.listed.expand(1, num_trees, -1, -1)  # [1, B, K, A]
        else:
            self.choices = self._sampled(nodes, num_trees, generator)  # [S, B, K, A]
        # The states that each step led to [1 + simulations, B, P, ...], the root's first: once as
        # rows of the P / C particles of a node (see `row_of`), and once by step.
        self.rows: State = {}
        self.by_step: dict[str, tuple[Tensor, ...]] = {}
        for key, value in root.items():
            steps = value.new_empty(size, *value.shape)
            self.rows[key], self.by_step[key] = self._parted(steps.flatten(0, 1)), steps.unbind(0)
            self.by_step[key][0].copy_(value)
        # Chance that a particle is still there.
        self.there = torch.ones(size, num_trees, self.num_particles, device=device)
        self.rollouts: Rollouts | None = None
        if planner.rollouts and world.value is None and world.rollout is not None:
            self.rollouts = Rollouts(
                planner.shooting, world.rollout, memory["best"], nodes, generator
            )
        self.unused = memory
        # Of each tree, by depth and state: the node that was there first.
        self.known: list[dict[tuple[int | bytes, ...], int]] = [{} for _ in self.trees]
        self.prior.fill_(1.0 / planner.num_choices)
        self._judge(root, self.there[0], np.zeros(num_trees, np.int64))
        self.tree = new_tree(
            walks.prior[:, 0], walks.value.mean(1), self.outcomes, planner.merge,
            planner.num_simulations,
        )  # fmt: skip

    def expand(self, new: int) -> None:
        """Take step `new`, the one that the walks have chosen; write down what they find.

        A tree whose walk came to an end takes a step that nobody looks at.
        """
        planner, walks = self.planner, self.walks
        row = self.row.to(planner.device)
        state = {key: self._whole(rows.index_select(0, row)) for key, rows in self.rows.items()}
        state, reward, chance = self.world.step(state, self._actions())
        there = chance
        if self.num_particles > 1:
            parts = self._parted(self.there.flatten(0, 1))
            before = self._whole(parts.index_select(0, row))  # [B, P]
            there = before * chance
            self.there[new] = there
            # What a particle that is gone would be paid may be no number.
            paid = torch.where(before > 0.0, before * reward, 0.0)
            total = self._sums(before)  # [B, C]
            reward, chance = self._sums(paid) / total, self._sums(there) / total
            if self.outcomes > 1:
                self.share.copy_(total / total.sum(1, keepdim=True))
        self.reward.copy_(reward)
        self.chance.copy_(chance)
        for key, steps in self.by_step.items():
            steps[new].copy_(state[key])
        depth = self.tree.depth[self.trees, walks.leaf] + 1
        self._judge(state, there, depth)
        first = 1 + (new - 1) * self.outcomes
        if planner.merge:
            self._merge(state, depth, first)
        if self.rollouts is not None:
            self.rollouts.remember(walks, first, self.world.discount)

    def _parted(self, x: Tensor) -> Tensor:
        """Turn rows of all particles [M, P, ...] into rows of an outcome's [M * C, P / C, ...]."""
        return x if self.outcomes == 1 else x.reshape(len(x) * self.outcomes, -1, *x.shape[2:])

    def _whole(self, x: Tensor) -> Tensor:
        """Copy an outcome's particles [M, P / C, ...] until they are all [M, P, ...]."""
        return x if self.outcomes == 1 else x.repeat(1, self.outcomes, *[1] * (x.dim() - 2))

    def _sums(self, x: Tensor) -> Tensor:
        """Sum over the particles [B, P] of each outcome: [B, C]."""
        return x.view(len(x), self.outcomes, -1).sum(-1)

    def _merge(self, state: State, depth: Ints, first: int) -> None:
        """Let outcomes, from node `first` on, lead to where their states [B, P, ...] are known.

        Particles' chances to be there are not compared: they lie in what the step weighs.
        """
        walks = self.walks
        parts = [(self._parted(x) + 0.0).cpu().numpy() for x in state.values()]  # no -0.0
        walks.node[:] = -1
        for b, c in np.argwhere((walks.chance >= NOBODY) & np.isfinite(walks.reward)).tolist():
            if walks.choice[b] >= 0:
                row = b * self.outcomes + c
                key = (int(depth[b]), *(part[row].tobytes() for part in parts))
                walks.node[b, c] = self.known[b].setdefault(key, first + c)

    def _actions(self) -> Tensor:
        """Return the chosen actions [B, A]."""
        taken = self.taken.to(self.planner.device)
        if self.planner.listed is not None:
            return self.planner.listed.index_select(0, taken)
        return self.choices[self.walks.leaf, self.trees, taken]

    def _judge(self, state: State, there: Tensor, depth: Ints) -> None:
        """Write down prior and value of states that particles reach with chance `there` [B, P]."""
        world = self.world
        if world.prior is not None and self.planner.listed is not None:
            outcomes = {key: self._parted(value) for key, value in state.items()}
            self.prior.copy_(world.prior(outcomes).view_as(self.prior))
        if world.value is not None:
            value = world.value(state)  # [B, P]
        elif self.rollouts is not None:
            value = self.rollouts(state, there, depth)
        else:
            return
        if self.num_particles > 1:
            counted = torch.where(there > 0.0, there * value, 0.0)
            value = self._sums(counted) / self._sums(there)
        self.value.copy_(value)

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
