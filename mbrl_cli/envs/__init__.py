"""Real environments: the adapter for gymnasium, this package's environments, their simulators."""
