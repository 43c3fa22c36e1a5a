"""What is told of an engine that has ended: the cause, of all that its log says."""

from __future__ import annotations

from tests.families.engine import last_words

CORE = "(EngineCore pid=18) ERROR 01-31 12:00:00 [core.py:1512]"
SETTINGS_ARE_REFUSED = """\
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1)   File "/usr/lib/vllm/config/model.py", line 1, in create_model_config
(APIServer pid=1) pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
(APIServer pid=1)   Value error, Model architecture MptForCausalLM was supported in vLLM until v0.28.0, and is not \
supported anymore. [type=value_error, input_value=ArgsKwargs((), {'model': ... None}), input_type=ArgsKwargs]
(APIServer pid=1)     For further information visit https://errors.pydantic.dev/2.12/v/value_error
"""
CORE_ENDS = f"""\
{CORE} Traceback (most recent call last):
{CORE}     key = key.view(-1, self.num_kv_heads, self.head_size)
{CORE} RuntimeError: shape '[-1, 2, 32]' is invalid for input of size 32
(APIServer pid=1) ERROR 01-31 12:00:00 [async_llm.py:906] vllm.exceptions.EngineDeadError: See stack trace (above).
"""


def test_where_settings_are_refused_it_is_the_reason_and_not_the_number_of_errors() -> None:
    assert last_words(SETTINGS_ARE_REFUSED) == (
        "Value error, Model architecture MptForCausalLM was supported in vLLM until v0.28.0, and is not supported "
        "anymore."
    )


def test_of_errors_that_follow_from_one_another_it_is_the_first() -> None:
    assert last_words(CORE_ENDS) == "RuntimeError: shape '[-1, 2, 32]' is invalid for input of size 32"


def test_a_missing_module_is_the_cause_of_what_came_before() -> None:
    assert last_words(f"{CORE_ENDS}ModuleNotFoundError: No module named 'torchvision'\n") == (
        "ModuleNotFoundError: No module named 'torchvision'"
    )


def test_what_was_said_of_triton_before_its_error_stands_before_it() -> None:
    log = f"{CORE} triton-cpu is expected on x86 CPUs.\n{CORE} AttributeError: no triton.language.float32\n"
    assert last_words(log) == "triton-cpu is expected on x86 CPUs.; AttributeError: no triton.language.float32"


def test_without_an_error_it_is_the_end_of_the_log() -> None:
    assert last_words("1\n2\n3\n4\n") == "2 3 4"
