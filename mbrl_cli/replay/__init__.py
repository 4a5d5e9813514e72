"""Storage of real and imagined transitions, and statistics of observations."""
