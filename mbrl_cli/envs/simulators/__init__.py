"""Batched true dynamics of known environments, see `mbrl_cli.types.Simulator`."""
