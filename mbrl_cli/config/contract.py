"""The members that every model, planner, agent and policy has, and the check for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mbrl_cli.agents.base import Agent, Policy
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.planners.base import Planner

CONTRACTS: dict[str, type] = {"model": Model, "planner": Planner, "agent": Agent, "policy": Policy}
DOCUMENTATION = "docs/plugins.md"


def members(role: str) -> list[str]:
    """Return the names of all public methods and attributes of a contract."""
    base = CONTRACTS[role]
    names = dict.fromkeys([*base.__annotations__, *vars(base)])
    return [name for name in names if not name.startswith("_")]


def check_class(role: str, target: Callable[..., Any]) -> None:
    """Raise UserError if a class lacks methods that its base class leaves abstract."""
    missing = sorted(getattr(target, "__abstractmethods__", ()))
    if missing:
        raise UserError(_missing(role, target.__name__, missing))


def check_members(role: str, part: Any) -> None:
    """Raise UserError if an object lacks members of its contract; the message lists them all."""
    missing = [name for name in members(role) if not hasattr(part, name)]
    if missing:
        raise UserError(_missing(role, type(part).__name__, missing))


def _missing(role: str, name: str, missing: list[str]) -> str:
    base = CONTRACTS[role]
    return (
        f"{role}={name}: lacks {', '.join(missing)}; define what is missing, or derive the class "
        f"from {base.__module__}.{base.__name__} and call super().__init__(); see {DOCUMENTATION}"
    )
