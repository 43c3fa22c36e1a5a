"""Brings an adapter that was trained elsewhere: fetch, read, fit to the base, judge, publish.

`pipeline` is the way through. `tensor_names`, `settings` and `fitting` read what other libraries have written and are
pure; `normalised` writes what all versions are made of.
"""
