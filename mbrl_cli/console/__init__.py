"""What a run prints: progress, remaining time and summary."""
