"""Tests t5x_lite/data/corpus/beam_runner.py"""

import importlib.util
import json
import sys

import pytest

from t5x_lite.config import TaskConfig, TokenizerConfig
from t5x_lite.data.corpus.tokenize import Preparation, tokenize_portions
from t5x_lite.data.tokenizers.bytes import ByteTokenizer

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
needs_beam = pytest.mark.skipif(not HAS_BEAM, reason="Apache Beam is not installed (extra beam)")


def preparation(tmp_path, name):
    source, directory = tmp_path / "a.jsonl", tmp_path / name
    source.write_text("".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(60)))
    directory.mkdir()
    ByteTokenizer().save(directory)
    task = TaskConfig(source=str(source), min_characters=5, eval_percent=20.0, tokenizer=TokenizerConfig(kind="bytes"))
    return Preparation(task, directory, directory)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@needs_beam
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Beam's own
def test_any_number_of_beam_workers_writes_the_same_bytes(tmp_path):
    from t5x_lite.data.corpus.beam_runner import tokenize_portions_with_beam

    local = preparation(tmp_path, "local")
    parts = tokenize_portions(local, local.portions(7))
    for num_workers in (1, 3):
        here = preparation(tmp_path, f"beam{num_workers}")
        options = [f"--direct_num_workers={num_workers}", "--direct_running_mode=multi_processing"]
        assert tokenize_portions_with_beam(here, here.portions(7), options if num_workers > 1 else []) == parts
        assert contents(here.directory) == contents(local.directory)


def test_without_beam_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "t5x_lite.data.corpus.beam_runner", raising=False)
    with pytest.raises(ValueError, match=r"--runner beam needs Apache Beam: pip install 't5x-lite\[beam\]'"):
        importlib.import_module("t5x_lite.data.corpus.beam_runner")
