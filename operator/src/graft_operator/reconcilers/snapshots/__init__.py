"""What a pass decides upon, gathered from memory, without a request to anybody.

``adapter_snapshot`` and ``base_snapshot`` put it together. What they read has a module for each kind: ``jobs``,
``workloads`` (Kueue's), ``containers``, ``pod_events``, ``evictions``, ``deployments``, ``serving_pods``,
``merged_pods``, ``written_sets`` and ``dataset_digests``.
"""
