"""Tests t5x_lite/inference/few_shot.py"""

import collections
import json

import pytest

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config.commands import InferConfig
from t5x_lite.data.records.inputs import input_maker
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference.few_shot import Prompt, PromptMaker, draw_shots, make_prompter, read_shots, template_task
from tests import tiny

SHOTS = [("a", "1"), ("bb", "22"), ("ccc", "3")]
PAIRS = [(f"text {number}", "rare" if number % 10 == 0 else "often") for number in range(50)]


def test_examples_come_before_the_input():
    assert PromptMaker(SHOTS[:2], ByteTokenizer())("dd").text == "a\n1\n\nbb\n22\n\ndd"


def test_without_examples_a_prompt_is_the_input():
    assert PromptMaker([], ByteTokenizer())("d d ") == Prompt("d d ", 0, 5)


def test_the_layout_is_a_template():
    maker = PromptMaker(SHOTS[:1], ByteTokenizer(), layout="Q: {inputs}\nA: {targets}", separator="\n")
    assert maker("why").text == "Q: a\nA: 1\nQ: why\nA:"


def test_a_prompt_that_is_too_long_loses_whole_examples_from_the_first_on():
    whole = PromptMaker(SHOTS, ByteTokenizer())("d")
    assert (whole.num_shots, whole.num_tokens) == (3, len(whole.text) + 1)
    for max_tokens, text in (
        (whole.num_tokens, whole.text),
        (whole.num_tokens - 1, "bb\n22\n\nccc\n3\n\nd"),
        (9, "ccc\n3\n\nd"),
        (8, "d"),
    ):
        prompt = PromptMaker(SHOTS, ByteTokenizer(), max_tokens)("d")
        assert prompt.text == text
        assert prompt.num_tokens == len(text) + 1 <= max_tokens


def test_inputs_are_never_truncated():
    assert PromptMaker(SHOTS, ByteTokenizer(), 4)("0123456789") == Prompt("0123456789", 0, 11)


def test_a_seed_draws_the_same_examples_each_once():
    drawn = draw_shots(PAIRS, 20, seed=3)
    assert drawn == draw_shots(PAIRS, 20, seed=3)
    assert drawn != draw_shots(PAIRS, 20, seed=4)
    assert len(set(drawn)) == 20
    assert set(drawn) <= set(PAIRS)


def test_balanced_examples_have_equally_frequent_targets():
    for num_shots, counts in ((4, [2, 2]), (7, [3, 4]), (10, [5, 5]), (13, [5, 8])):  # there are five rare ones
        drawn = draw_shots(PAIRS, num_shots, seed=1, balanced=True)
        assert sorted(collections.Counter(targets for _, targets in drawn).values()) == counts
        assert len(set(drawn)) == num_shots


def test_more_examples_than_there_are_cannot_be_drawn():
    with pytest.raises(ValueError, match="shots is 4, and there are 3 examples: use fewer, or give more"):
        draw_shots(SHOTS, 4, seed=0)


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
    return make_prompter(options(**fields), shots, Pretrained(None, ByteTokenizer(), cfg, 0))


def test_examples_are_drawn_by_seed_and_filled_into_the_templates(examples):
    asked = options(examples=examples, shots=4, balanced=True)
    shots = read_shots(asked, seed=3)
    assert shots == read_shots(asked, seed=3) != read_shots(asked, seed=4)
    assert sorted(targets for _, targets in shots) == ["A: no", "A: no", "A: yes", "A: yes"]
    assert all(inputs.startswith("Q: q") for inputs, _ in shots)
    assert read_shots(options(), seed=3) == []


def test_a_python_task_provides_the_templates():
    task = template_task(options(template=None, targets_template=None, task="t5x_lite.tasks.glue:COLA"))
    assert input_maker(task)({"sentence": "It rains.", "label": 1, "idx": 0}, "line 1") == ["cola sentence: It rains."]
    assert template_task(options(template=None, targets_template=None)).inputs == "{inputs}"
    with pytest.raises(ValueError, match=r"task t5x_lite\.tasks\.c4:C4 has no inputs"):
        template_task(options(task="t5x_lite.tasks.c4:C4", template=None))


def test_examples_that_are_missing_or_too_few_are_named(examples, tmp_path):
    with pytest.raises(ValueError, match="shots is 21, and there are 20 examples"):
        read_shots(options(examples=examples, shots=21), seed=0)
    with pytest.raises(ValueError, match=r"examples .*nowhere\.jsonl"):
        read_shots(options(examples=str(tmp_path / "nowhere.jsonl"), shots=1), seed=0)
    with pytest.raises(ValueError, match="shots is 2 and --examples is None: give both, or neither"):
        options(shots=2)


def test_a_prompt_that_is_too_long_is_reported_once(capsys):
    make = maker([("a", "1"), ("b", "2")], inputs_length=9)
    assert make("c") == "b\n2\n\nc"
    assert make("d") == "b\n2\n\nd"
    assert make("0123456789") == make("0123456789")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "1 of 2 examples fit into 9 tokens before 'c' (reported once)",
        "'0123456789' has 11 tokens; the model was trained with up to 9 (reported once)",
    ]


def test_prompts_are_unlimited_if_the_trained_length_is_unknown(capsys):
    assert maker([("a", "1")] * 50)("x").count("\n\n") == 50
    assert capsys.readouterr().err == ""
