"""Tests t5x_lite/data/corpus/open.py; test_prepare.py tests whole corpora."""

import pathlib
import shutil

from t5x_lite.config import TaskConfig, TokenizerConfig
from t5x_lite.data.corpus.open import corpus_directory, is_prepared
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.task_specs import resolve_tasks

BYTES = TaskConfig(packages=("json",), min_characters=50, eval_percent=20.0, tokenizer=TokenizerConfig(kind="bytes"))


def test_a_run_is_prepared_once_all_of_its_text_is_there(tmp_path):
    assert not is_prepared(resolve_tasks(BYTES), tmp_path)
    prepare_corpora(resolve_tasks(BYTES), tmp_path)
    assert is_prepared(resolve_tasks(BYTES), tmp_path)
    shutil.rmtree(tmp_path / "corpus")
    assert not is_prepared(resolve_tasks(BYTES), tmp_path)


def test_a_corpus_knows_its_task_as_the_run_has_it(tmp_path):
    prepare_corpora(resolve_tasks(BYTES), tmp_path)
    task = TaskConfig(prepared=str(tmp_path / "corpus"), objective="causal_lm")
    shutil.copy(tmp_path / "vocabulary.json", tmp_path / "corpus")
    assert prepare_corpora(resolve_tasks(task), tmp_path / "run")[""].task == task


def test_shards_are_where_the_task_was_prepared_or_below_the_root():
    root = pathlib.Path("run/corpus")
    assert corpus_directory(root, "a/b", TaskConfig()) == root / "a" / "b"
    assert corpus_directory(root, "a", TaskConfig(prepared="made/a")) == pathlib.Path("made/a")
