"""Rows that are prepared by a Job of their own, before a training asks for a GPU: a training's first step.

``wanted`` says whether that is asked for, and whether it has been done; ``due`` makes the Job. How far the Job is, and
what becomes of one that fails, is decided as for a training (``training.progress``, ``training.retry_policy``). The
exception is in ``giving_up``: where nobody asked for the Job by name, the training goes on without it.
"""
