"""Jobs: ``import_job`` of a base, ``training_job`` (with ``distributed_job``, ``warm_start``, ``dataset``,
``adapter_source`` for what is imported instead, and ``trainer_resources``), ``preparation_job`` of the rows before it,
``resolve_job`` that looks at a source, ``concurrency_job``, and the ``exit_codes`` by which they are judged.
"""
