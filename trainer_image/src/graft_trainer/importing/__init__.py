"""Imports an adapter that was trained elsewhere: fetch it, read it, fit it to the base, judge it, publish it.

`pipeline` runs these steps. `tensor_names`, `settings` and `fitting` read what other libraries have written and are
pure. `normalised` writes it as all versions are written.
"""
