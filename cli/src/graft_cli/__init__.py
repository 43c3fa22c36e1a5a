"""``kubectl graft``: shows how every adapter is and what it waits for, and promotes, aborts, pins and rolls back.

``decisions`` is pure: what is shown and what is patched follows from the objects alone. ``client`` is a small read-only
library for programs of your own, ``cluster`` everything else that is asked of the API server, ``rendering`` what
people see, and ``commands`` a module for each group of verbs.

Nothing is ever written but what the person who runs it may write, and never a status.
"""
