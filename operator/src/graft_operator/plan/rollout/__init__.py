"""From a version that may be served to one that answers everywhere, and back where it does worse.

``plan`` moves the alias, step by step, and decides when it goes back. ``canary`` says when a step is over and which
limits hold, from what pods have ``measured`` and from their ``probe_scores``; ``coverage`` whether the pods really
answer; ``modes`` how one way of serving takes over from another, and ``merged`` what the other way does; ``requeue``
when is looked again; ``messages`` says all that in words.
"""
