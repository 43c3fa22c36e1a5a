"""Decisions, and nothing else: observed state in, a plan out.

No clock, no I/O, no randomness, no client: the same input gives the same plan, and tables of cases test it.
"""
