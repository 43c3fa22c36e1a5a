"""What the cluster has besides Kubernetes: S3, NetworkPolicies that count; for some tests, Kueue and GitOps tools."""
