"""The Docker daemon that all runs in: its client, what it builds from, and an own engine where none is running."""
