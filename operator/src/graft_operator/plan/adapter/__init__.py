"""One adapter: what is done next, which conditions are true, and how it is deleted. ``plan.py`` is the way in."""
