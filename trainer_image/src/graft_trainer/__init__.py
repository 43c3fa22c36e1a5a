"""Trains one LoRA adapter on one base model and publishes it as an immutable version."""
