"""What a user adds to a run: metrics, and conditions that end it."""
