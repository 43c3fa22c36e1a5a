"""What a pass decides upon, gathered without a request: ``adapter_snapshot`` and ``base_snapshot``, by the readers of
one kind each (``jobs``, ``containers``, ``deployments``, ``serving_pods``, ``merged_pods``, ``written_sets``,
``dataset_digests``).
"""
