"""What is asked of the API server besides bases and adapters: changes, logs, rights and the state of things."""
