"""Tests t5x_lite/data/corpus/first_look.py"""

import pytest

from t5x_lite.config import MixtureConfig, TaskConfig, TokenizerConfig
from t5x_lite.config.commands import PrepareConfig
from t5x_lite.data.corpus.first_look import check_text
from t5x_lite.data.sources import docstrings
from t5x_lite.data.task_specs import resolve_tasks


def check(**fields):
    check_text(resolve_tasks(TaskConfig(**fields)))


def test_docstrings_are_not_read_but_their_packages_have_to_be_installed(monkeypatch):
    monkeypatch.setattr(docstrings, "read_docstrings", None)
    check(packages=("optax", "stdlib"))
    with pytest.raises(ValueError, match=r"task\.packages names 'nosuch', which is not an installed top-level package"):
        check(packages=("nosuch",))


def test_a_template_has_to_suit_docstrings():
    with pytest.raises(ValueError, match=r"has no field 'title', which task\.text '{title}' uses"):
        check(text="{title}")


def test_the_error_of_a_task_in_a_mixture_names_it():
    tasks = {"good": TaskConfig(packages=("optax",)), "bad": TaskConfig(source="none.txt")}
    with pytest.raises(ValueError, match=r"^task\.mixture\.tasks\.bad: task\.source 'none\.txt' matches no file"):
        check(mixture=MixtureConfig(tasks=tasks))


def test_prepared_text_has_to_be_that_of_the_task(tmp_path):
    from t5x_lite.commands import data_prepare

    made, task = tmp_path / "made", TaskConfig(packages=("optax",), tokenizer=TokenizerConfig(kind="bytes"))
    with pytest.raises(ValueError, match=r"prepared"):
        check(prepared=str(made))
    data_prepare.run(task, PrepareConfig(output=str(made), num_workers=0))
    check(prepared=str(made))
    with pytest.raises(ValueError, match=r"task\.packages"):
        check(prepared=str(made), packages=("flax",))
