"""Pure builders of the Kubernetes objects that we own. Plain dicts out: no client model ever drops a field."""
