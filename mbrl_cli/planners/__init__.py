"""Planners: they choose actions by asking a world what would come of them."""
