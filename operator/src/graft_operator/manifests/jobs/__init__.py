"""Jobs: ``import_job``, ``training_job`` (with ``distributed_job``, ``warm_start``, ``dataset`` and
``trainer_resources``), ``concurrency_job``, and the ``exit_codes`` by which they are judged.
"""
