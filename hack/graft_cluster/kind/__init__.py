"""The kind cluster: its configuration, its nodes' images and network, and the nodes themselves."""
