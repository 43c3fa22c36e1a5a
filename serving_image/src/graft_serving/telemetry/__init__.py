"""What is counted: answers, for the operator's judgement of a version and for Prometheus."""
