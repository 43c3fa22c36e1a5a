"""The engine beside the agent: `client` speaks its API, `monitor` knows whether it lives and what it has loaded."""
