"""Pure builders of the Kubernetes objects that we own. Plain dicts out: no client model ever drops a field.

Jobs: ``import_job``, ``training_job`` (with ``distributed_job``, ``warm_start``, ``dataset`` and
``trainer_resources``) and ``concurrency_job``. Serving: ``serving`` and ``merged_model`` on ``serving_workload``, with
``engine``, ``access``, ``disruption`` and ``inference_pool``. What all share: ``pods``, ``labels``, ``naming`` and
``platform``.
"""
