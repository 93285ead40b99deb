"""Tests t5x_lite/commands/infer/prompting.py"""

import json

import pytest

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config import InferConfig
from t5x_lite.data.records.rows import input_maker
from t5x_lite.data.tokenizers import ByteTokenizer
from t5x_lite.inference.prompts import prompt_maker, read_shots, templates
from tests import tiny


@pytest.fixture
def examples(tmp_path):
    path = tmp_path / "examples.jsonl"
    records = [{"q": f"q{number}", "a": "yes" if number % 5 else "no"} for number in range(20)]
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def options(**fields):
    given = {"checkpoint": "run", "template": "Q: {q}", "targets_template": "A: {a}"}
    return InferConfig(**given | fields)


def maker(shots, **fields):
    cfg = tiny.T5_1_1
    return prompt_maker(options(**fields), shots, Pretrained(None, ByteTokenizer(), cfg, 0))


def test_examples_are_drawn_by_seed_and_filled_into_the_templates(examples):
    asked = options(examples=examples, shots=4, balanced=True)
    shots = read_shots(asked, seed=3)
    assert shots == read_shots(asked, seed=3) != read_shots(asked, seed=4)
    assert sorted(targets for _, targets in shots) == ["A: no", "A: no", "A: yes", "A: yes"]
    assert all(inputs.startswith("Q: q") for inputs, _ in shots)
    assert read_shots(options(), seed=3) == []


def test_a_task_in_python_gives_the_templates():
    task = templates(options(template=None, targets_template=None, task="t5x_lite.tasks.glue:COLA"))
    assert input_maker(task)({"sentence": "It rains.", "label": 1, "idx": 0}, "line 1") == ["cola sentence: It rains."]
    assert templates(options(template=None, targets_template=None)).inputs == "{inputs}"
    with pytest.raises(ValueError, match=r"task t5x_lite\.tasks\.c4:C4 has no inputs"):
        templates(options(task="t5x_lite.tasks.c4:C4", template=None))


def test_examples_that_are_missing_or_too_few_are_named(examples, tmp_path):
    with pytest.raises(ValueError, match="shots is 21, and there are 20 examples"):
        read_shots(options(examples=examples, shots=21), seed=0)
    with pytest.raises(ValueError, match=r"examples .*nowhere\.jsonl"):
        read_shots(options(examples=str(tmp_path / "nowhere.jsonl"), shots=1), seed=0)
    with pytest.raises(ValueError, match="shots is 2 and --examples is None: give both, or neither"):
        options(shots=2)


def test_a_prompt_that_is_too_long_is_told_once(capsys):
    make = maker([("a", "1"), ("b", "2")], inputs_length=9)
    assert make("c") == "b\n2\n\nc"
    assert make("d") == "b\n2\n\nd"
    assert make("0123456789") == make("0123456789")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "1 of 2 examples fit into 9 tokens before 'c' (said once)",
        "'0123456789' has 11 tokens, and the model is used to 9 (said once)",
    ]


def test_a_model_that_does_not_say_its_length_takes_any(capsys):
    assert maker([("a", "1")] * 50)("x").count("\n\n") == 50
    assert capsys.readouterr().err == ""
