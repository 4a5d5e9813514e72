"""Which agents, models and planners work with an environment, by the checks before each run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mbrl_cli.config.composed_run import ComposedRun
from mbrl_cli.config.groups import choices
from mbrl_cli.errors import UserError

# The agent with which models and planners are tried that work with no agent that brings them.
GENERAL_AGENT = "mpc"
# With an environment that has no batched simulator, a decision of the oracle steps a copy of it
# population x horizon times.
ORACLE = "oracle"
SMALL_PLANS = ("planner.population=8", "planner.horizon=3")
_PARTS = re.compile(r"\+*(agent|model|planner|experiment|model_from\w*)(\.[\w.]+)?=")


@dataclass(frozen=True)
class Fit:
    """A choice that was tried.

    Attributes:
        group: agent, model or planner.
        name: the choice.
        description: the other parts that it was tried with.
        reason: why it does not work; None if it works.
    """

    group: str
    name: str
    description: str
    reason: str | None


def is_part_word(word: str) -> bool:
    """Return whether a word of the command line selects or changes agent, model or planner."""
    return _PARTS.match(word) is not None


def fitting_choices(
    words: Sequence[str], user_dir: Path | None, show: Callable[[str], None]
) -> Iterator[Fit]:
    """Try every agent with its own model and planner, then the other models and planners.

    Each is built, used once with tiny inputs and not trained.

    Args:
        words: those of the command line; the ones about agent, model and planner are left out.
        user_dir: the folder of `--config-dir`.
        show: is told the name of what is tried next.
    """
    others = [word for word in words if not is_part_word(word)]
    of_agents: dict[tuple[str, str], Fit] = {}
    for name in choices("agent", user_dir):
        show(f"agent={name}")
        reason, chosen = _try([*others, f"agent={name}"], user_dir)
        used = {group: chosen.get(group, "none") for group in ("model", "planner")}
        shown = [f"{group}={used[group]}" for group in used if used[group] != "none"]
        yield Fit("agent", name, " ".join(shown), reason)
        for group, choice in used.items():
            key = group, choice
            if key not in of_agents or of_agents[key].reason is not None:
                of_agents[key] = Fit(group, choice, f"agent={name}", reason)
    for group in ("model", "planner"):
        for name in choices(group, user_dir):
            if name == "none":
                continue
            fit = of_agents.get((group, name))
            if fit is None or fit.reason is not None:  # another agent may use it
                show(f"{group}={name}")
                agent = f"agent={GENERAL_AGENT}"
                small = SMALL_PLANS if name == ORACLE else ()
                reason, _ = _try([*others, agent, f"{group}={name}", *small], user_dir)
                if fit is None or reason is None:
                    fit = Fit(group, name, agent, reason)
            yield fit


def _try(words: Sequence[str], user_dir: Path | None) -> tuple[str | None, dict[str, str]]:
    """Return why a run does not work, None if it works, and its choices by group."""
    chosen: dict[str, str] = {}
    try:
        run = ComposedRun(words, user_dir)
        chosen = run.choices
        run.check()
    except UserError as error:
        return str(error), chosen
    return None, chosen
