"""A real Kueue in the local cluster: its own program, built from its Go module, under its own Helm chart.

Installed for the tests that need it, and taken away after them: while it is there, the API server asks it about every
Job that is made.
"""
