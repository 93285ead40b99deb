"""Tests t5x_lite/data/corpus/workers.py"""

from tests.data.corpus.test_tokenize import contents, prepared, task  # noqa: F401


def test_worker_processes_write_the_same_bytes(task, tmp_path):  # noqa: F811
    _, _, here = prepared(task, tmp_path / "here")
    _, _, there = prepared(task, tmp_path / "there", num_workers=2)
    assert here == there
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
