"""Planners: choose actions by the returns that a model predicts for them."""
