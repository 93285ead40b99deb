"""Tests t5x_lite/data/task_specs.py"""

import pytest

from t5x_lite.config import MixtureConfig, TaskConfig, TokenizerConfig
from t5x_lite.data.task_specs import TaskSpecs, resolve_tasks
from t5x_lite.tasks import glue

OWN = """
from t5x_lite.config import MixtureConfig, TaskConfig
QUESTIONS = TaskConfig(source="a.csv", inputs="{q}", targets="{a}", metrics=("squad",))
BOTH = MixtureConfig(tasks={"own": QUESTIONS, "cola": TaskConfig(base="t5x_lite.tasks.glue:COLA")}, cap=100)
NUMBER = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_tasks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_task_without_a_base_is_left_as_it_is():
    task = TaskConfig(source="a.txt")
    assert resolve_tasks(task).whole == task


def test_a_base_is_a_python_task_whose_fields_can_be_overridden():
    tokenizer = TokenizerConfig(kind="bytes")
    task = resolve_tasks(TaskConfig(base="t5x_lite.tasks.glue:COLA", metrics=("accuracy",), tokenizer=tokenizer)).whole
    assert (task.base, task.metrics, task.tokenizer) == (None, ("accuracy",), tokenizer)
    assert (task.source, task.preprocess) == (glue.COLA.source, glue.COLA.preprocess)


def test_fields_of_a_users_base_can_be_overridden(own):
    task = resolve_tasks(TaskConfig(base="own_tasks:QUESTIONS", source="b.csv", choices={"0": "no"})).whole
    assert (task.source, task.inputs, task.choices) == ("b.csv", "{q}", {"0": "no"})


def test_a_base_may_be_a_mixture_whose_tasks_have_bases(own):
    tasks = resolve_tasks(TaskConfig(base="own_tasks:BOTH", tokenizer=TokenizerConfig(kind="bytes")))
    assert tasks.whole.mixture is not None
    assert tasks.whole.mixture.cap == 100
    assert tasks.whole.mixture.tasks["cola"] == glue.COLA
    assert tasks.each["cola"].tokenizer.kind == "bytes"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("own_tasks:NUMBER", r"task.base own_tasks:NUMBER is a int: name a t5x_lite.Task or t5x_lite.Mixture"),
        ("own_tasks:ABSENT", r"task.base 'own_tasks:ABSENT' cannot be imported"),
        ("cola", r"task.base is 'cola': write package.module:NAME"),
    ],
)
def test_anything_but_a_task_is_refused_as_base(own, base, message):
    with pytest.raises(ValueError, match=message):
        resolve_tasks(TaskConfig(base=base))


def test_fields_that_conflict_with_the_base_are_refused():
    with pytest.raises(ValueError, match=r"task.text is '{t}' and task.inputs is given"):
        resolve_tasks(TaskConfig(base="t5x_lite.tasks.glue:COLA", text="{t}"))


def test_a_mixtures_tasks_are_named_by_their_path_and_share_its_tokenizer_and_preparation():
    inner = TaskConfig(mixture=MixtureConfig(tasks={"x": TaskConfig(source="x.txt")}))
    outer = MixtureConfig(tasks={"a": TaskConfig(source="a.txt"), "b": inner})
    tokenizer = TokenizerConfig(vocab_size=77)
    tasks = TaskSpecs(TaskConfig(mixture=outer, tokenizer=tokenizer, prepared="data/made")).each
    assert list(tasks) == ["a", "b/x"]
    assert [task.prepared for task in tasks.values()] == ["data/made/a", "data/made/b/x"]
    assert {task.tokenizer for task in tasks.values()} == {tokenizer}
    assert TaskSpecs(TaskConfig(source="a.txt")).each == {"": TaskConfig(source="a.txt")}


def test_the_tasks_of_a_mixture_share_a_new_tokenizer_too():
    tasks = TaskSpecs(TaskConfig(mixture=MixtureConfig(tasks={"a": TaskConfig(source="a.txt")})))
    assert tasks.tokenizer == tasks.each["a"].tokenizer == TokenizerConfig()
    changed = tasks.with_tokenizer(TokenizerConfig(kind="bytes"))
    assert changed.tokenizer == changed.each["a"].tokenizer == TokenizerConfig(kind="bytes")
