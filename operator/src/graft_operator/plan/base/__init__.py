"""One base: its source is imported, its revisions are served, and what its adapters share is granted.

``plan`` is the way in. ``importing`` resolves the source, ``revisions`` says which bases are served side by side and
when an old one goes, ``readaptation`` whose turn it is to be trained anew, ``concurrency`` when all adapters are asked
at once, and ``gateway`` what stands beside the Service. ``conditions`` says what is true. Places on pods are given
away in ``plan/placement``.
"""
