"""Packages that only some exports need."""

import importlib
from typing import Any


def needed(module: str, package: str) -> Any:
    """Import a module of a package.

    Raises:
        ValueError: it is not installed; the message says how it is.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"this export needs {package}, which is not installed here: pip install {package}, "
            "or make an image with it (docs/export.md)"
        ) from error
