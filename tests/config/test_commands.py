"""Tests t5x_lite/config/commands.py"""

import subprocess
import sys

import pytest

from t5x_lite.config.commands import AttentionConfig, InferConfig, ServeConfig, TokenizerTrainConfig

RIGHT = {"input": ("a.txt",), "output": "a.model", "vocab_size": 300}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input": ()}, r"--input is \[\]: name files"),
        ({"input": ("a.txt", "")}, r"--input is \['a.txt', ''\]: name files"),
        ({"vocab_size": 0}, r"--vocab_size is 0: use a number above 0"),
        ({"num_sentinels": -1}, r"--num_sentinels is -1: use a number above 0"),
        ({"max_bytes": 0}, r"--max_bytes is 0: use a number above 0"),
        ({"character_coverage": 0.97}, r"--character_coverage is 0.97: use a number from 0.98 to 1"),
        ({"character_coverage": 1.1}, r"--character_coverage is 1.1: "),
        ({"output": ""}, r"--output is empty: name a file such as english.model"),
        ({"output": "a.vocab"}, r"--output is 'a.vocab': name a file"),
        ({"output": "tokenizer.json"}, r"--output is 'tokenizer.json': name a file"),
        ({"output": "here/"}, r"--output is 'here/': name a file"),
    ],
)
def test_a_wrong_value_is_refused_with_its_option_and_a_remedy(wrong, message):
    with pytest.raises(ValueError, match=message):
        TokenizerTrainConfig(**RIGHT | wrong)


def test_the_limits_themselves_are_allowed():
    for coverage in (0.98, 1.0):
        assert TokenizerTrainConfig(**RIGHT, character_coverage=coverage).character_coverage == coverage


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text": " \n"}, r"--text is empty: give the model a text to read"),
        ({"output": ""}, r"--output is empty: name a file such as attention.html"),
        ({"output": "there/"}, r"--output is 'there/': name a file"),
        ({"output": "there/.png"}, r"--output is 'there/.png': name a file"),
        ({"max_new_tokens": 0}, r"--max_new_tokens is 0: use a number above 0"),
        ({"top": -1}, r"--top is -1: use a number above 0"),
        ({"layers": ()}, r"--layers is \[\]: use distinct indices from 0"),
        ({"heads": (0, -1)}, r"--heads is \[0, -1\]: use distinct"),
        ({"heads": (2, 2)}, r"--heads is \[2, 2\]: use distinct"),
    ],
)
def test_a_wrong_value_for_attention_is_refused_with_its_option_and_a_remedy(wrong, message):
    with pytest.raises(ValueError, match=message):
        AttentionConfig(**{"checkpoint": "runs/x", "text": "words"} | wrong)


def test_reading_it_needs_the_standard_library_alone():
    code = "import sys, t5x_lite.config; print([m for m in ('jax', 'numpy', 'yaml') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"checkpoint": ""}, r"--checkpoint is empty: name a run directory"),
        ({"host": ""}, r"--host is empty: use 127.0.0.1"),
        ({"port": -1}, r"--port is -1: use a number from 1 to 65535"),
        ({"port": 65536}, r"--port is 65536: use"),
        ({"chat_template": ""}, r"--chat_template is empty: name a file"),
        ({"model_name": ""}, r"--model_name is empty: give a name"),
        ({"api_key": ""}, r"--api_key is empty: give a secret"),
        ({"batch_size": 0}, r"--batch_size is 0: use a number above 0"),
        ({"max_queue": 0}, r"--max_queue is 0: use a number above 0"),
        ({"max_input_tokens": 0}, r"--max_input_tokens is 0: use"),
        ({"max_new_tokens": -1}, r"--max_new_tokens is -1: use"),
        ({"max_body_bytes": 0}, r"--max_body_bytes is 0: use"),
        ({"max_connections": 0}, r"--max_connections is 0: use a number above 0"),
        ({"max_programs": 0}, r"--max_programs is 0: use a number above 0"),
        ({"receive_seconds": 0}, r"--receive_seconds is 0: use a finite number above 0"),
        ({"allowed_hosts": ("http://a",)}, r"--allowed_hosts is .*: use names without ports"),
        ({"allowed_hosts": ("a:80",)}, r"--allowed_hosts is .*: use names without ports"),
        ({"timeout_seconds": 0}, r"--timeout_seconds is 0: use a finite number above 0"),
        ({"timeout_seconds": float("nan")}, r"--timeout_seconds is nan: use"),
        ({"timeout_seconds": float("inf")}, r"--timeout_seconds is inf: use"),
        ({"shutdown_seconds": -1}, r"--shutdown_seconds is -1: use 0 or a finite"),
        ({"batch_wait_ms": -1}, r"--batch_wait_ms is -1: use 0 or a finite"),
        ({"warm_up_tokens": -1}, r"--warm_up_tokens is -1: use 0 or more"),
        ({"warm_up_tokens": 33, "max_input_tokens": 32}, r"--warm_up_tokens is 33: use at most --max_input_tokens, 32"),
    ],
)
def test_a_wrong_value_of_a_server_is_refused_with_its_option_and_a_remedy(wrong, message):
    with pytest.raises(ValueError, match=message):
        ServeConfig(**{"checkpoint": "run"} | wrong)


def test_a_server_listens_to_this_machine_alone_unless_told_otherwise():
    assert (ServeConfig(checkpoint="run").host, ServeConfig(checkpoint="run").api_key) == ("127.0.0.1", None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input": "q.txt"}, r"but --input is q\.txt: leave out --interactive, or --input$"),
        ({"output": "a.jsonl"}, r"but --output is a\.jsonl: leave out --interactive, or --output$"),
        ({"log_probs": True}, r"but --log_probs is True: leave out --interactive, or --log_probs$"),
        (
            {"input": "q.txt", "output": "a.jsonl"},
            r"--input is q\.txt and --output is a\.jsonl: leave out --interactive, or --input and --output$",
        ),
    ],
)
def test_a_prompt_in_the_terminal_reads_and_writes_no_files(wrong, message):
    with pytest.raises(ValueError, match=message):
        InferConfig(checkpoint="run", interactive=True, **wrong)
    assert InferConfig(checkpoint="run", **wrong)
    assert InferConfig(checkpoint="run", interactive=True, input="-", output="-").interactive
