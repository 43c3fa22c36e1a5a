"""Judges the finished adapter on the base that it will be served on: losses, answers, golden prompts and probes."""
