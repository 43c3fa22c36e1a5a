"""Which adapters the pods of a revision load.

``places`` allocates the engines' places when there are fewer than adapters. ``demand`` orders the adapters that are
loaded on demand by when they were last asked for, and ``pods`` chooses the pods of an adapter that is not on all of
them. ``wanted_set`` makes the document that the agents read, and says what did not fit into its ConfigMap.
"""
