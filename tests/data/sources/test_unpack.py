"""Tests t5x_lite/data/sources/unpack.py; test_files.py tests what unpacked files hold."""

import collections
import gzip
import os
import shutil

import pyarrow
import pytest

from t5x_lite.data.sources import unpack as module
from t5x_lite.data.sources.unpack import unpack
from t5x_lite.files.full_disk import FullDisk

TEXT = b"a" * 70_000
Usage = collections.namedtuple("Usage", "free")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "HARMLESS_BYTES", 20_000)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1_000)


@pytest.fixture(params=[".gz", ".zst"])
def packed(request, tmp_path):
    path = tmp_path / f"a.txt{request.param}"
    if request.param == ".gz":
        path.write_bytes(gzip.compress(TEXT))
    else:
        with pyarrow.output_stream(str(path), compression="zstd") as file:
            file.write(TEXT)
    return path


def unpacked(packed, **options):
    target = packed.parent / "cache" / "plain"
    unpack(packed, target, **{"max_ratio": 1e6} | options)
    return target.read_bytes()


def test_content_within_the_ratio_is_written(packed):
    assert unpacked(packed) == TEXT


def test_content_beyond_the_ratio_is_refused_with_the_remedies_and_nothing_is_left(packed):
    tool = {".gz": "gzip -dk", ".zst": "zstd -d"}[packed.suffix]
    pattern = rf"unpacks to over 20 times as much.*raise task.max_unpack_ratio, or unpack it with {tool} and name"
    with pytest.raises(ValueError, match=pattern):
        unpacked(packed, max_ratio=20)
    assert os.listdir(packed.parent / "cache") == []


def test_commands_without_the_option_are_not_told_of_it(packed):
    with pytest.raises(ValueError, match=r"if it is yours, unpack it with") as caught:
        unpacked(packed, max_ratio=20, has_option=False)
    assert "max_unpack_ratio" not in str(caught.value)


def test_short_texts_may_have_any_ratio(packed, monkeypatch):
    monkeypatch.setattr(module, "HARMLESS_BYTES", len(TEXT))
    assert unpacked(packed, max_ratio=1) == TEXT


def test_content_that_does_not_fit_is_refused_once_its_beginning_tells(packed, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free=900))
    with pytest.raises(FullDisk, match=rf"unpacking {packed} needs .*, but {packed.parent}/cache has .* free"):
        unpacked(packed)
    assert not (packed.parent / "cache" / "plain").exists()
