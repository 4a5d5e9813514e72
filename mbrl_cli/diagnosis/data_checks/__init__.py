"""Checks of the data that a run collected; one check a file."""
