"""Agents: the only place where a model and a planner meet."""
