"""What is told about machine and cluster: to people, and to the programs that use the cluster."""
