"""How accurate a model is on held-out episodes and on the states that the agent visits now."""
