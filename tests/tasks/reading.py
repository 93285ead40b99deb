"""How tests read a task, as a run does; and TFDS data sets made for a test."""

import pytest

from t5x_lite.data.records.rows import LeftOut, read_rows
from t5x_lite.data.sources import open_source
from t5x_lite.data.sources.base import InMemory
from t5x_lite.data.sources.python import import_object
from t5x_lite.evaluation import metrics
from tests.data.sources.reading import read


def examples(task, record):
    """What a task's function makes of a record, always as a list."""
    made = import_object(task.preprocess, "task.preprocess")(record) if task.preprocess else record
    return made if isinstance(made, list) else [made]


def texts(task, record):
    """The (inputs, targets) of each example that a task makes of a record."""
    return [row.texts for row in read_rows(task, InMemory([record], "here"), [0], LeftOut())]


def texts_of(task, names, folder):
    """The texts of all that a source has for a task."""
    source, _ = open_source(task, names, folder)
    return [row.texts for row in read_rows(task, source, range(len(source)), LeftOut())]


def check_names(task):
    """Asserts that what a task names exists, though a metric's package may not be installed."""
    assert task.preprocess is None or callable(import_object(task.preprocess, "task.preprocess"))
    try:
        metrics.check_names(task.metrics)
    except ValueError as error:
        assert "needs the package" in str(error)  # noqa: PT017 - no error is as good


def held_out(task, folder):
    """The held-out records of a task, in the order TFDS gave them."""
    source, _ = open_source(task, task.eval_source, folder)
    return read(source)


def prepare(monkeypatch, folder, data_set, features, splits):
    """Prepares a TFDS data set where `tfds:` sources are looked for.

    Args:
      monkeypatch: the fixture.
      folder: where to.
      data_set: NAME/CONFIG:VERSION.
      features: those of TFDS.
      splits: lists of examples by split.
    """
    tfds = pytest.importorskip("tensorflow_datasets")
    wanted, _, version = data_set.partition(":")
    data_name, _, config = wanted.partition("/")

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        __module__ = "made_for_a_test"  # of no package, where TFDS would look for files beside it
        name = data_name
        VERSION = tfds.core.Version(version)
        BUILDER_CONFIGS = (tfds.core.BuilderConfig(name=config, version=version),) if config else ()

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {split: enumerate(examples) for split, examples in splits.items()}

        def _generate_examples(self):
            raise NotImplementedError

    tfds.disable_progress_bar()
    Builder(config=config or None, data_dir=folder, file_format="array_record").download_and_prepare()
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(folder))
