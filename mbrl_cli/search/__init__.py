"""Hyperparameter search: trials of several seeds, pruned and promoted, in one shared journal."""
