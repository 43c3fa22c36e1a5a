"""From a spec to a version that has passed its gate.

``candidates`` says by which recipe a spec is fulfilled, ``checks`` what is missing until there is a version of it,
``job`` makes the Job, ``progress`` and ``failures`` read it, and ``gate`` judges what it has published.
"""
