"""Tests t5x_lite/data/sources/parquet.py"""

import pyarrow
import pyarrow.parquet
import pytest

from t5x_lite.data.sources.base import BadRecord
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
    assert ParquetRows(path, source.copy)[3]["text"] == "text 3"
    assert source.copy.stat().st_mtime_ns == made


def test_a_row_with_a_value_that_python_cannot_hold_is_named(tmp_path):
    texts = pyarrow.array([b"\xff", b"fine"]).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "a.parquet")
    source = ParquetRows(tmp_path / "a.parquet", tmp_path / "copy.arrow")
    assert source[1] == {"text": "fine"}
    with pytest.raises(BadRecord, match=r"a.parquet row 1 has a value that cannot be read \(.*0xff.*\): fix the file"):
        source[0]


def test_duplicate_column_names_are_refused(tmp_path):
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a.parquet has duplicate column names \(text, text\): give each a different"):
        ParquetRows(tmp_path / "a.parquet", tmp_path / "copy.arrow")


def test_a_table_too_deep_for_the_library_is_an_error(tmp_path):
    kind = pyarrow.string()
    for _ in range(60):
        kind = pyarrow.list_(kind)
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array([None], kind)}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a.parquet is not a complete Parquet file \(.*too deeply nested"):
        ParquetRows(tmp_path / "a.parquet", tmp_path / "copy.arrow")


def test_a_missing_parquet_file_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.parquet"):
        ParquetRows(tmp_path / "absent.parquet", tmp_path / "copy.arrow")


@pytest.mark.parametrize("content", [b"", b"no table", None])
def test_a_damaged_file_is_named_and_leaves_no_copy(path, tmp_path, content):
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(ValueError, match=r"table.parquet is not a complete Parquet file \(.*\): fetch or write it"):
        ParquetRows(path, tmp_path / "cache" / "copy.arrow")
    assert not list((tmp_path / "cache").glob("*") if (tmp_path / "cache").exists() else [])
