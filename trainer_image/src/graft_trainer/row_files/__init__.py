"""Rows on disk, so that memory does not grow with their number.

`examples` holds what was read, `tokens` what was rendered of it; both are written one after the other and read one by
one, from whatever place is asked for. `processes` renders with several processes, and `kept` is what of it stays in the
registry for the next run.
"""
