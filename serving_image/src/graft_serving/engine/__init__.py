"""The engine beside the agent.

`client` speaks its API, and `documents` reads what it answers; `monitor` knows whether it lives, by its answers and by
what clients have of it (`activity`), and what it has loaded (`loaded`).
"""
