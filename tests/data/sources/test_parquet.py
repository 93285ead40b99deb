"""Tests t5x_lite/data/sources/parquet.py."""

import pickle

import pyarrow
import pyarrow.parquet
import pytest

from t5x_lite.data.sources.parquet import ParquetRows


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "table.parquet"
    table = pyarrow.table({"text": [f"text {i}" for i in range(2_500)], "parts": [[i, i + 1] for i in range(2_500)]})
    pyarrow.parquet.write_table(table, path, row_group_size=700, compression="zstd")
    return path


def test_rows_are_read_in_any_order(path, tmp_path):
    source = ParquetRows(path, tmp_path / "cache" / "copy.arrow")
    assert len(source) == 2_500
    assert [source[i] for i in (2_499, 0, 1_024)] == [
        {"text": f"text {i}", "parts": [i, i + 1]} for i in (2_499, 0, 1_024)
    ]
    assert source.where(6) == f"{path} row 7"


def test_the_copy_is_made_once_and_found_by_workers(path, tmp_path):
    source = ParquetRows(path, tmp_path / "copy.arrow")
    made = source.copy.stat().st_mtime_ns
    path.unlink()
    assert pickle.loads(pickle.dumps(source))[3]["text"] == "text 3"
    assert source.copy.stat().st_mtime_ns == made


@pytest.mark.parametrize("content", [b"", b"no table", None])
def test_a_damaged_file_is_named_and_leaves_no_copy(path, tmp_path, content):
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(ValueError, match=r"table.parquet is not a whole Parquet file \(.*\): fetch or write it again"):
        ParquetRows(path, tmp_path / "cache" / "copy.arrow")
    assert not list((tmp_path / "cache").glob("*") if (tmp_path / "cache").exists() else [])
