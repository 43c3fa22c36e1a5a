"""A local Kubernetes cluster for developing and testing Graft.

Only the standard library is used, so that the program runs with the system's
Python before any virtual environment exists.
"""
