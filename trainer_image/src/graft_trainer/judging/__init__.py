"""Asks the finished adapter, on the base that it will be served on: loss, answers, and prompts that prove it."""
