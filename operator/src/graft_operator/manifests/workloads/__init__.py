"""What serves: ``serving`` and ``merged_model`` on ``serving_workload``, with ``engine``, ``agent``, ``access``,
``disruption``, ``network_policy`` and ``inference_pool``; ``anchor`` keeps all of a base's for as long as it is needed.
"""
