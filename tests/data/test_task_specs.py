"""Tests t5x_lite/data/task_specs.py"""

from t5x_lite.config import MixtureConfig, TaskConfig, TokenizerConfig
from t5x_lite.data.task_specs import TaskSpecs, resolve_tasks


def test_a_task_without_a_base_is_left_as_it_is():
    task = TaskConfig(source="a.txt")
    assert resolve_tasks(task).whole == task


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
