"""Real experience: stored once, read by everybody."""
