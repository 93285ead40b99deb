"""Tests t5x_lite/tasks/c4.py"""

import pytest

from t5x_lite.tasks import c4
from tests.tasks.reading import prepare, texts_of


@pytest.mark.parametrize(
    ("task", "config"),
    [
        (c4.C4, "en"),
        (c4.C4_NOCLEAN, "en.noclean"),
        (c4.C4_REALNEWSLIKE, "realnewslike"),
        (c4.C4_WEBTEXTLIKE, "webtextlike"),
    ],
)
def test_a_variant_is_text_to_corrupt_as_t5_does(task, config):
    assert (task.source, task.eval_source) == (f"tfds:c4/{config}:2.2.0@train", f"tfds:c4/{config}:2.2.0@validation")
    assert (task.inputs, task.targets, task.preprocess, task.metrics) == (None, None, None, ())
    assert (task.noise_density, task.mean_noise_span_length) == (0.15, 3.0)


def test_c4_is_read_from_its_data_set_short_documents_too(monkeypatch, tmp_path):
    import tensorflow_datasets as tfds

    fields = ("text", "url", "content-type", "content-length", "timestamp")
    record = {**dict.fromkeys(fields, "none"), "text": "Zwei\nZeilen."}
    features = {name: tfds.features.Text() for name in fields}
    prepare(monkeypatch, tmp_path, "c4/en:2.2.0", features, {"train": [record]})
    assert texts_of(c4.C4, c4.C4.source, tmp_path) == [("Zwei\nZeilen.",)]
