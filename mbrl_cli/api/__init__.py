"""Python interface: load saved runs, act with their agents and use their models."""
