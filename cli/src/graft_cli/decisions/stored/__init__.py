"""Versions as the registry holds them: which one is meant, whether it is whole, what two of them say. Pure."""
