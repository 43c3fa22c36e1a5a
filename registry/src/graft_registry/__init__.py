"""The registry: immutable, content-addressed, verified bases and adapter versions in an S3 store.

``ObjectStore`` talks S3; ``BaseRegistry``, ``AdapterRegistry`` and ``CheckpointStore`` keep documents and files in
it; ``compatibility`` decides whether an adapter may be loaded onto a base.
"""
