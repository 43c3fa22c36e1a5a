"""Flux, Argo CD and a Git server for the local cluster, built from their Go modules and Debian's packages.

Nothing is installed here: programs are built, their images pushed, and their makers' own manifests rendered into the
cache, where tests take them from.
"""
