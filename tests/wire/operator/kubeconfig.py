"""A kubeconfig for a fake API server."""

from pathlib import Path

import yaml


def write_kubeconfig(directory: Path, url: str) -> Path:
    """Write a kubeconfig with one context for the server at `url`, and return its path."""
    path = directory / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "fake",
                "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
                "clusters": [{"name": "fake", "cluster": {"server": url}}],
                "users": [{"name": "fake", "user": {"token": "secret"}}],
            }
        )
    )
    return path
