"""Tests t5x_lite/data/corpus/manifest.py; test_prepare.py tests whole corpora."""

import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.corpus.manifest import (
    check_not_empty,
    in_words,
    read_manifest,
    write_manifest,
)

COUNTS = {"num_train_documents": 3, "num_eval_documents": 2, "num_short": 0, "num_skipped": 0, "parts": []}


def test_a_source_is_described_in_words():
    assert in_words(TaskConfig()) == "the docstrings of the installed packages"
    assert in_words(TaskConfig(source=("a.txt", "b.txt"), eval_source="c.txt")) == "a.txt, b.txt and c.txt"


def test_two_splits_with_documents_are_accepted():
    check_not_empty(TaskConfig(), COUNTS)


def test_a_missing_manifest_reads_as_empty(tmp_path):
    assert read_manifest(tmp_path) == {}
    write_manifest(tmp_path / "new", {"format": 1, "task": {}})
    assert read_manifest(tmp_path / "new") == {"format": 1, "task": {}}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"format": 1, "n\xff": 2}'])
def test_a_damaged_manifest_is_named(content, tmp_path):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"manifest.json is damaged: restore it, or delete .* and prepare"):
        read_manifest(tmp_path)


def test_a_manifest_with_another_digit_is_damaged(tmp_path):
    write_manifest(tmp_path, {"format": 1, "task": {"seed": 12}})
    path = tmp_path / "manifest.json"
    assert read_manifest(tmp_path) == {"format": 1, "task": {"seed": 12}}
    path.write_text(path.read_text().replace("12", "13", 1))
    with pytest.raises(ValueError, match=r"manifest.json is damaged"):
        read_manifest(tmp_path)
