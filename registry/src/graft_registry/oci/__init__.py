"""OCI registries (Docker Hub, Harbor, ECR, GHCR, …): what a reference means, who may read it, what its layers hold.

Built on the distribution and image specifications and on urllib3, which boto3 brings along anyway (docs/adr/0022).
"""
