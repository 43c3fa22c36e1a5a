"""observe → plan → apply, once per kind. The only place where plans meet the world."""

from graft_operator.reconcilers.composition import build

__all__ = ["build"]
