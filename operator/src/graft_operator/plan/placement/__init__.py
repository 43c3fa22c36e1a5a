"""What the pods of a revision hold: ``places`` gives the places away, ``pods`` says on which pods, ``demand`` to whom
of those that are loaded on demand, and ``wanted_set`` writes it down for the agents.
"""
