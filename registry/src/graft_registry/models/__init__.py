"""What a directory with a model is, by its files alone and without torch: its identity (``fingerprint``, from
``model_config``, ``layer_paths`` and ``safetensors_header``), how far another is from it (``weight_change``,
``drift``), and the memory that a training on it takes.
"""
