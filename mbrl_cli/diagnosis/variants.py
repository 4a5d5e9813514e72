"""The variants of a saved agent that a diagnosis evaluates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from itertools import chain, combinations

from mbrl_cli.agents.alphazero import AlphaZero
from mbrl_cli.agents.base import Agent
from mbrl_cli.agents.mbpo import MBPO
from mbrl_cli.agents.planning import Planning
from mbrl_cli.agents.sac import SAC
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.latent_variants import latent_variants
from mbrl_cli.diagnosis.mixed_model import PARTS, MixedModel
from mbrl_cli.diagnosis.planning_agent import PlanningAgent
from mbrl_cli.diagnosis.truth import Truth
from mbrl_cli.diagnosis.variant import Variant
from mbrl_cli.models.base import Model
from mbrl_cli.models.markov import MarkovModel
from mbrl_cli.models.oracle import Oracle
from mbrl_cli.planners.base import Planner
from mbrl_cli.planners.cem import CEM
from mbrl_cli.planners.mcts import MCTS
from mbrl_cli.planners.trajectory import TrajectoryPlanner

AS_IS = "as saved"
BUDGET_FACTOR = 10
HORIZON_FACTORS = (2, 5)  # twice a much too short horizon is still too short
PROPOSALS = 4  # plans from the policy, among the candidates of the planner that improves it
CEM_ITERATIONS = 3  # of the planner that improves it
NAMES = {"dynamics": "true dynamics", "reward": "true reward", "termination": "true termination"}


def first_variants(run: DiagnosedRun, truth: Truth | None, parts: Sequence[str]) -> list[Variant]:
    """Return the variants that every diagnosis evaluates, the most telling first.

    Args:
        run: the saved run.
        truth: of its environment; None: not known.
        parts: the parts of the model that may differ from the truth, see `model_parts`.
    """
    found = [Variant(AS_IS, frozenset(), "as it was saved", lambda: run.agent)]
    if truth is not None and parts:
        subsets: list[Sequence[str]] = [[part] for part in parts]
        if len(parts) > 1:
            subsets.insert(0, parts)
        found += [model_variant(run, truth, subset) for subset in subsets]
    found += latent_variants(run, truth)
    budget = more_plans(run.objects.planner)
    if budget:
        found.append(
            Variant(
                f"{BUDGET_FACTOR} times the plans",
                frozenset({"planner"}),
                f"with {BUDGET_FACTOR} times the plans ({budget})",
                partial(_with_override, run, budget),
                budget,
            )
        )
    found += _longer_horizons(run)
    planning = planning_of(run.agent)
    if planning is not None and planning.sac is not None:
        found.append(
            Variant(
                "no terminal value",
                frozenset({"terminal_value"}),
                "without the terminal value",
                partial(_without_terminal_value, run),
            )
        )
    return found + _policy_variants(run, truth)


def model_parts(run: DiagnosedRun, truth: Truth | None) -> list[str]:
    """Return the parts of the run's model that can be replaced one at a time."""
    model = run.model
    if truth is None or not isinstance(model, MarkovModel) or isinstance(model, Oracle):
        return []
    if planning_of(run.agent) is None and not isinstance(run.agent, AlphaZero):
        return []
    return list(PARTS)


def model_variant(
    run: DiagnosedRun, truth: Truth, parts: Collection[str], more: bool = False
) -> Variant:
    """Return the variant whose model has these true parts; with `more` it plans ten times more."""
    ordered = [part for part in PARTS if part in parts]
    name = " + ".join(NAMES[part] for part in ordered)
    if len(ordered) == len(PARTS):
        name = "true model"
    change = f"with the {name}"
    overrides: list[str] = []
    if more:
        overrides = [more_plans(run.objects.planner)]
        extra = f"{BUDGET_FACTOR} times the plans"
        name, change = f"{name} + {extra}", f"{change} and {extra}"
    all_parts = frozenset(parts) | ({"planner"} if more else set())

    def make() -> Agent:
        objects, _ = run.load(overrides)
        assert isinstance(objects.model, MarkovModel)
        mixed = MixedModel(objects.model, truth, parts)
        return _with_model(objects.agent, mixed)

    return Variant(name, all_parts, change, make)


def factorial_variants(run: DiagnosedRun, truth: Truth, parts: Sequence[str]) -> list[Variant]:
    """Return a variant for each non-empty subset of model parts and the planner's budget."""
    budget = [False, True] if more_plans(run.objects.planner) else [False]
    subsets = list(chain.from_iterable(combinations(parts, k) for k in range(len(parts) + 1)))
    return [
        model_variant(run, truth, subset, more)
        for more in budget
        for subset in subsets
        if subset and (more or len(subset) not in (1, len(parts)))
    ]


def planning_of(agent: Agent) -> Planning | None:
    """Return what an agent plans with; None: it does not plan with `Planning`."""
    planning = getattr(agent, "planning", None)
    return planning if isinstance(planning, Planning) else None


def more_plans(planner: Planner | None) -> str:
    """Return the override that multiplies the number of plans; empty: there is none."""
    if isinstance(planner, TrajectoryPlanner):
        return f"planner.population={BUDGET_FACTOR * planner.population}"
    if isinstance(planner, MCTS):
        return f"planner.num_simulations={BUDGET_FACTOR * planner.num_simulations}"
    return ""


def _longer_horizons(run: DiagnosedRun) -> list[Variant]:
    planner = run.objects.planner
    if not isinstance(planner, TrajectoryPlanner):
        return []
    found = []
    for factor in HORIZON_FACTORS:
        horizon = f"planner.horizon={factor * planner.horizon}"
        name = f"{factor} times the horizon"
        make = partial(_with_override, run, horizon)
        found.append(
            Variant(name, frozenset({"horizon"}), f"with {name} ({horizon})", make, horizon)
        )
    return found


def _with_override(run: DiagnosedRun, override: str) -> Agent:
    return run.load([override])[0].agent


def _with_model(agent: Agent, model: Model) -> Agent:
    """Let a new agent decide with another model."""
    planning = planning_of(agent)
    if planning is not None:
        planning.model = model
    else:
        assert isinstance(agent, AlphaZero)
        agent.model = model
    return agent


def _without_terminal_value(run: DiagnosedRun) -> Agent:
    agent = run.load([])[0].agent
    planning = planning_of(agent)
    assert planning is not None
    planning.sac, planning.proposals = None, 0
    return agent


def _policy_variants(run: DiagnosedRun, truth: Truth | None) -> list[Variant]:
    """Return the agent's policy alone, and its policy improved by planning."""
    agent, spec = run.agent, run.objects.env.spec
    planning = planning_of(agent)
    sac = agent if isinstance(agent, SAC) else getattr(agent, "sac", None)
    found = []
    if planning is not None and isinstance(sac, SAC):
        override = "agent.act=policy planner=none" if isinstance(agent, MBPO) else ""
        found.append(
            Variant(
                "policy alone",
                frozenset({"policy"}),
                "with its policy alone",
                lambda: sac,
                override,
            )
        )
    if planning is not None or truth is None or model_parts(run, truth):
        return found
    part = "policy" if isinstance(sac, SAC) else "learning"
    planner = CEM(spec.action, run.objects.device, iterations=CEM_ITERATIONS)

    def improved(model: Model) -> Agent:
        if not isinstance(sac, SAC):
            return PlanningAgent(Planning(spec, model, planner, discount=1.0))
        return PlanningAgent(
            Planning(spec, model, planner, sac.discount, sac=sac, proposals=PROPOSALS)
        )

    base = "its policy improved by planning" if isinstance(sac, SAC) else "planning (CEM)"
    if isinstance(run.model, MarkovModel) and not isinstance(run.model, Oracle):
        model = run.model
        override = (
            f"agent.act=plan planner=cem planner.horizon={planner.horizon} "
            f"planner.population={planner.population} planner.iterations={CEM_ITERATIONS}"
        )
        found.append(
            Variant(
                "planning in the learned model",
                frozenset({part}),
                f"with {base} in the learned model",
                lambda: improved(model),
                override if isinstance(agent, MBPO) else "",
            )
        )
    found.append(
        Variant(
            "planning in the true model",
            frozenset({part, *PARTS}),
            f"with {base} in the true model",
            lambda: improved(truth.oracle),
        )
    )
    return found
