"""What is wanted of the pod: the operator's document, and the two places that it comes from."""
