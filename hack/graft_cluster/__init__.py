"""A local Kubernetes cluster for developing and testing Graft.

Only the standard library is used, so that the program runs with the system's
Python before any virtual environment exists.

`lifecycle` says in which order a cluster comes and goes, and `ways` which kind
of cluster it is. What a cluster is made of has a room each, and none of them
knows those that stand after it here: `docker`, `programs`, `images`, `kind`,
`addons`, `reports`.
"""
