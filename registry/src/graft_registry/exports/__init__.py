"""Versions, brought to where others look for models: OCI registries, Hugging Face hubs, directories, MLflow, W&B.

An export changes nothing in the registry, and is made from a version that has been verified. Each place has a module.
"""
