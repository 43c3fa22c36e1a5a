"""What serves: ``serving`` and ``merged_model`` on ``serving_workload``, with ``engine``, ``access``, ``disruption``
and ``inference_pool``.
"""
