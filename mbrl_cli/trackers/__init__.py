"""Experiment trackers beside metrics.csv and TensorBoard."""
