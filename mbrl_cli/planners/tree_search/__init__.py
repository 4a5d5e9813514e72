"""Parts of Monte-Carlo tree search; `planners/mcts.py` puts them together."""
