"""From a version that may be served to one that answers everywhere, and back where it does worse.

``steps`` moves the alias, ``canary`` says when a step is over and which limits hold, ``coverage`` whether the pods
really answer, ``modes`` how one way of serving takes over from another, and ``requeue`` when is looked again.
"""
