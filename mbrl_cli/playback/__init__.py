"""Show the episodes of a saved run as images: the environment, the plan, the rewards."""
