"""What a directory with an adapter is: what it says of itself (``peft_config``, ``lora_tensors``) and has to bring
(``coverage``), which of its files may be published, and whether it may be loaded onto a base (``compatibility``).
"""
