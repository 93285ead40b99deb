"""Tests t5x_lite/data/sources/tfds.py"""

import subprocess
import sys

import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources import open_source
from t5x_lite.data.sources.base import BadRecord
from tests.data.sources.reading import where

BUILDER = """
import numpy as np
import tensorflow_datasets as tfds


class Reviews(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.2.0")

    def _info(self):
        features = {
            "review": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=["bad", "good"]),
            "answers": tfds.features.Sequence({"text": tfds.features.Text(), "start": np.int32}),
            "vector": tfds.features.Tensor(shape=(2,), dtype=np.float32),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(30), "validation": self._generate_examples(10)}

    def _generate_examples(self, count):
        for i in range(count):
            answers = [{"text": f"á {i}", "start": i}, {"text": "b", "start": 2}]
            review = b"\\xff" if i == 29 else f"réview {i}"
            yield i, {"review": review, "label": i % 2, "answers": answers, "vector": [0.5, i]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a module of a builder and, once it was opened, with the data; TFDS reads its name when imported."""
    folder = tmp_path_factory.mktemp("tfds")
    (folder / "own_builder.py").write_text(BUILDER)
    return folder


@pytest.fixture
def source(folder, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(folder / "data"))

    def source(name, **task):
        return open_source(TaskConfig(source=name, **task), name, folder / "cache")[0]

    source("own_builder:Reviews")  # prepares it
    return source


def test_a_users_builder_is_prepared_and_read(source):
    reviews = source("own_builder:Reviews")
    assert len(reviews) == 30
    by_number = {record["vector"][1]: record for _, record in reviews.read(range(30)) if isinstance(record, dict)}
    assert by_number[4.0] == {
        "review": "réview 4",
        "label": 0,
        "answers": {"text": ["á 4", "b"], "start": [4, 2]},
        "vector": [0.5, 4.0],
    }
    assert type(by_number[4.0]["answers"]["start"][0]) is int


def test_a_split_is_named_after_the_at_sign(source):
    assert len(source("own_builder:Reviews@validation")) == 10
    assert len(source("own_builder:Reviews@train[:20%]")) == 6


def test_a_prepared_dataset_is_opened_by_name(source):
    reviews = source("tfds:reviews:1.2.0@validation")
    assert len(reviews) == 10
    assert where(reviews, 3) == ["tfds:reviews:1.2.0@validation example 3"]
    assert len(source("tfds:reviews")) == 30


def test_text_that_is_not_utf8_is_an_error(source):
    reviews = source("own_builder:Reviews")
    bad = [str(record) for _, record in reviews.read(range(30)) if isinstance(record, BadRecord)]
    assert len(bad) == 1
    assert "has text that is not UTF-8" in bad[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfds:no_such_set", r"task.source 'tfds:no_such_set' cannot be opened \(.*\): write tfds:NAME/CONFIG:VERSION"),
        ("tfds:reviews@test", r"asks for the split 'test', but its splits are train, validation: write @SPLIT"),
        ("tfds:mnist", r"task.source 'tfds:mnist' (is not prepared in|cannot be opened)"),
    ],
)
def test_a_missing_dataset_is_one_error(source, name, message):
    with pytest.raises(ValueError, match=message):
        source(name)


def test_tensorflow_is_not_imported(folder):
    code = (
        "import pathlib, sys; from t5x_lite.config import TaskConfig; from t5x_lite.data.sources import open_source; "
        "assert 'tensorflow_datasets' not in sys.modules; "
        "open_source(TaskConfig(source='x'), 'own_builder:Reviews', pathlib.Path('cache')); "
        "assert 'tensorflow' not in sys.modules"
    )
    env = {
        "PYTHONPATH": ":".join([str(folder), *sys.path]),
        "TFDS_DATA_DIR": str(folder / "other"),
        "HOME": str(folder),
    }
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
