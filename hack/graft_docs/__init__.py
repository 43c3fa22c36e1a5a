"""The parts of the documentation that are made from the code, and the checks that hold the rest to it.

Each generator is a pure function from what the code says (the CRDs' YAML, the chart's values and their comments, the
plugin's commands, the reasons of conditions) to a page. ``python -m graft_docs`` writes the pages; a test compares.
"""
