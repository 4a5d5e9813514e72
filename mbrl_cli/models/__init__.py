"""Models of the environment: what they predict, how they are fitted and judged."""
