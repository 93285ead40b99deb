"""Tests t5x_lite/data/task_bases.py; test_task_specs.py has the tasks of mixtures"""

import pytest

from t5x_lite.config import TaskConfig, TokenizerConfig
from t5x_lite.data.task_specs import resolve_tasks
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
