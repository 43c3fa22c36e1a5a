"""What a training run leaves for the next process: its checkpoints, and its rows as tokens."""
