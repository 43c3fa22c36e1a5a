"""What the pods of a revision hold: ``places`` gives the places away when there are fewer than adapters, ``demand``
says whose turn it is among those that are loaded on demand, ``pods`` on which pods one is loaded, and
``wanted_set`` writes it down for the agents, and says what a full ConfigMap leaves out.
"""
