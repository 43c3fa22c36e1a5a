"""One base: its source is imported, its revisions are served, and what its adapters share is granted.

``plan.py`` is the way in.
"""
