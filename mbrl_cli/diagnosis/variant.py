"""The saved agent with one or several parts replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mbrl_cli.agents.base import Agent


@dataclass(frozen=True)
class Variant:
    """One way to evaluate the agent.

    Attributes:
        name: short, unique in a diagnosis; a row of its table.
        parts: what is replaced: "dynamics", "reward", "termination", "planner", "horizon",
            "terminal_value", "policy", "learning" (all that a latent agent has learned).
        change: what was changed, for a sentence: "with the true dynamics".
        make: returns the agent.
        override: words of `mbrl eval` that make the same change; empty: there are none.
    """

    name: str
    parts: frozenset[str]
    change: str
    make: Callable[[], Agent]
    override: str = ""
