"""The serving agent: keeps one inference engine's adapters as the operator wants them, and fronts its API."""
