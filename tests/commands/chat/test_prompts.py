"""Tests t5x_lite/commands/chat/prompts.py"""

import json

import pytest

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.commands.chat.prompts import Prompts
from t5x_lite.config.commands import InferConfig
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference.few_shot import read_shots
from tests import tiny

SEED = 5


@pytest.fixture
def examples(tmp_path):
    path = tmp_path / "examples.jsonl"
    path.write_text("\n".join(json.dumps({"inputs": f"q{n}", "targets": f"a{n}"}) for n in range(20)))
    return str(path)


def make(**fields):
    options = InferConfig(**{"checkpoint": "run"} | fields)
    pretrained = Pretrained(None, ByteTokenizer(), tiny.T5_1_1, 0)
    return Prompts(options, read_shots(options, seed=SEED), pretrained=pretrained, seed=SEED)


def state(prompts):
    return prompts.options, prompts.shots, prompts.examples, prompts.prompt_of("x")


def test_a_line_without_a_template_is_what_the_model_reads():
    prompts = make()
    for line in ("why?", '{"inputs": 1}', "", " {inputs} "):
        assert prompts.inputs_of(line) == [line]
        assert prompts.prompt_of(line) == line


def test_a_line_is_the_only_field_of_a_template_whatever_its_name():
    assert make(template="sum up: {inputs}").inputs_of("a text") == ["sum up: a text"]
    assert make(template="{q?} Q: {q}").inputs_of("why?") == ["why? Q: why?"]


def test_a_json_object_gives_a_template_its_fields():
    prompts = make(template="{q} in {where}?")
    assert prompts.inputs_of('{"q": "rain", "where": "May"}') == ["rain in May?"]
    with pytest.raises(
        ValueError, match=r"^the typed line \(a JSON object sets fields\) has no field 'q', .*; its fields are inputs"
    ):
        prompts.inputs_of("rain")
    with pytest.raises(ValueError, match=r"^the typed line \(a JSON object sets fields\) is not valid JSON"):
        prompts.inputs_of('{"q": ')


def test_a_python_task_reads_its_fields():
    prompts = make(task="t5x_lite.tasks.glue:COLA")
    assert prompts.inputs_of('{"sentence": "It rains.", "label": 1, "idx": 0}') == ["cola sentence: It rains."]
    with pytest.raises(ValueError, match=r"the typed line \(a JSON object sets fields\) .* no field 'sentence'"):
        prompts.inputs_of("It rains.")


def test_examples_are_redrawn_by_seed(examples):
    prompts = make(examples=examples, shots=3)
    draws = [prompts.shots]
    for _ in range(2):
        prompts.draw(3)
        draws.append(prompts.shots)
    assert len({tuple(shots) for shots in draws}) == 3
    assert {len(shots) for shots in draws} == {3}
    again = make(examples=examples, shots=3)
    again.draw(3)
    assert again.shots == draws[1]
    assert again.prompt_of("why?") == "".join(f"{q}\n{a}\n\n" for q, a in draws[1]) + "why?"


def test_examples_can_be_turned_off_and_on(examples):
    prompts = make(examples=examples, shots=2)
    prompts.draw(0)
    assert (prompts.shots, prompts.prompt_of("why?"), prompts.examples) == ([], "why?", examples)
    prompts.draw(4)
    assert len(prompts.shots) == 4


def test_another_file_gives_the_same_number_of_examples(examples, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text('{"inputs": "o1", "targets": "t"}\n{"inputs": "o2", "targets": "t"}\n')
    prompts = make()
    prompts.use_examples(str(other))
    assert (prompts.shots, prompts.prompt_of("why?")) == ([], "why?")
    prompts.draw(2)
    assert sorted(prompts.shots) == [("o1", "t"), ("o2", "t")]
    prompts.use_examples(examples)
    assert all(inputs.startswith("q") for inputs, _ in prompts.shots)
    assert len(prompts.shots) == 2


def test_another_template_also_applies_to_the_examples(examples):
    prompts = make(examples=examples, shots=2)
    before = prompts.shots
    prompts.use_template("Q: {inputs}")
    assert prompts.shots == [(f"Q: {inputs}", targets) for inputs, targets in before]
    assert prompts.inputs_of("why?") == ["Q: why?"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda prompts: prompts.draw(21), "shots is 21, and there are 20 examples"),
        (lambda prompts: prompts.draw(-1), "shots is -1: use 0 or more"),
        (lambda prompts: prompts.use_examples("no/where.jsonl"), r"examples .*no/where\.jsonl"),
        (lambda prompts: prompts.use_template("{inputs"), "is not a valid template"),
        (lambda prompts: prompts.use_template("{other}"), "has no field 'other'"),
    ],
)
def test_an_error_changes_nothing(change, message, examples):
    prompts = make(examples=examples, shots=2)
    before = state(prompts)
    with pytest.raises(ValueError, match=message):
        change(prompts)
    assert state(prompts) == before


def test_drawing_examples_requires_a_file(tmp_path):
    prompts = make()
    with pytest.raises(ValueError, match=r"shots is 3, but there is no file to draw from: name it with /examples FILE"):
        prompts.draw(3)
    with pytest.raises(ValueError, match=r"nowhere\.jsonl"):
        prompts.use_examples(str(tmp_path / "nowhere.jsonl"))
    assert prompts.examples is None
