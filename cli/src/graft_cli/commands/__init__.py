"""The verbs: each reads its arguments, asks the cluster or a file, lets ``decisions`` decide, and shows the result."""
