"""Tests t5x_lite/data/sources/files.py"""

import gzip
import os
import pathlib
import tempfile

import pyarrow
import pyarrow.parquet
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from hypothesis import given
from hypothesis import strategies as st

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources.base import BadRecord
from t5x_lite.data.sources.files import find_files, open_file
from tests.data.sources.reading import read, where

LINES = '{"text": "one"}\n{"text": "two"}\n'


def zstd(path, content):
    with pyarrow.output_stream(str(path), compression="zstd") as file:
        file.write(content)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("b.txt", "a.jsonl", "sub/c.CSV", "notes.pdf", ".hidden/d.txt", ".e.txt"):
        (folder / name).write_text(LINES)
    return folder


def names(files, folder):
    return [str(file.relative_to(folder)) for file in files]


def test_a_folder_means_its_files_of_known_types_in_order(folder):
    assert names(find_files([str(folder)]), folder) == ["a.jsonl", "b.txt", "sub/c.CSV"]


def test_patterns_and_files_keep_their_order_and_each_file_comes_once(folder):
    found = find_files([str(folder / "b.txt"), str(folder / "**" / "*.[jt]*"), str(folder / "sub")])
    assert names(found, folder) == ["b.txt", "a.jsonl", "sub/c.CSV"]


@pytest.mark.parametrize("name", ["absent.txt", "*.tsv"])
def test_a_name_that_matches_nothing_is_refused(folder, name):
    with pytest.raises(ValueError, match=r"task.source '.*' matches no file: name a file, a folder or a pattern"):
        find_files([str(folder / name)])


def test_a_folder_without_files_of_known_types_is_refused(tmp_path):
    (tmp_path / "image.png").write_bytes(b"")
    with pytest.raises(
        ValueError,
        match=r"has no file that ends in .txt, .text, .md, .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .arr",
    ):
        find_files([str(tmp_path)])


@pytest.mark.parametrize("name", ["notes.pdf", "a.parquet.gz", "a.array_record.zst", "a.gz", "a"])
def test_a_file_of_an_unknown_type_is_refused(folder, name):
    (folder / name).write_text("")
    with pytest.raises(
        ValueError, match=rf"{name}, whose type is unknown: use .txt, .* or one of the first 8 with .gz"
    ):
        find_files([str(folder / name)])


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_compressed_file_has_the_records_of_a_plain_one(tmp_path, suffix):
    path, cache = tmp_path / f"a.jsonl{suffix}", tmp_path / "cache"
    match suffix:
        case ".gz":  # two members, as `cat a.gz b.gz` makes them
            path.write_bytes(gzip.compress(LINES[:16].encode()) + gzip.compress(LINES[16:].encode()))
        case ".zst":
            zstd(path, LINES.encode())
        case _:
            path.write_text(LINES)
    source = open_file(path, TaskConfig(), cache)
    assert [record["text"] for record in read(source)] == ["one", "two"]
    assert where(source, 1) == [f"{path} line 2"]


def test_a_copy_is_made_again_once_the_file_has_changed(tmp_path):
    path, cache = tmp_path / "a.txt.gz", tmp_path / "cache"
    for content in ("before", "afterwards"):
        path.write_bytes(gzip.compress(content.encode()))
        assert read(open_file(path, TaskConfig(), cache))[0]["text"] == content


@pytest.mark.parametrize(
    ("suffix", "damage"),
    # A .zst file need not hold a checksum, and pyarrow writes none: there an altered byte may go unnoticed.
    [(".gz", "cut"), (".gz", "altered"), (".gz", "another kind"), (".zst", "cut"), (".zst", "another kind")],
)
def test_a_damaged_compressed_file_is_named_and_leaves_nothing(tmp_path, suffix, damage):
    path, cache = tmp_path / f"a.txt{suffix}", tmp_path / "cache"
    content = bytes(range(256)) * 4_000
    if suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    else:
        zstd(path, content)
    whole = path.read_bytes()
    middle = len(whole) // 2
    altered = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    path.write_bytes({"cut": whole[:-5], "altered": altered, "another kind": b"plain text"}[damage])
    with pytest.raises(
        ValueError, match=rf"a.txt{suffix} is not a complete {suffix} file \(.*\): fetch or write it again"
    ):
        open_file(path, TaskConfig(), cache)
    assert not list(cache.glob("*"))


FILE = {"file": "a.txt", "folder": "reviews"}


@pytest.mark.parametrize(
    ("name", "content", "task", "expected"),
    [
        ("a.txt", "x\n\ny", TaskConfig(text_unit="paragraph"), [{"text": "x"} | FILE, {"text": "y"} | FILE]),
        ("a.md", "x\n\ny", TaskConfig(), [{"text": "x\n\ny"} | FILE | {"file": "a.md"}]),
        ("a.csv", "c\nx\n", TaskConfig(), [{"c": "x"}]),
        ("a.tsv", "x\ty\n", TaskConfig(columns=("c", "d")), [{"c": "x", "d": "y"}]),
    ],
)
def test_the_suffix_of_a_file_decides_how_it_is_read(tmp_path, name, content, task, expected):
    path = tmp_path / "reviews" / name
    path.parent.mkdir()
    path.write_text(content)
    source = open_file(path, task, tmp_path / "cache")
    assert read(source) == expected
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["A.JSONL.GZ", "a.jsonl.gz-00000-of-00002"])
def test_capitals_and_shard_numbers_do_not_hide_the_type(tmp_path, name):
    if name.endswith("GZ"):
        (tmp_path / name).write_bytes(gzip.compress(LINES.encode()))
    else:
        name = name.replace(".gz", "")
        (tmp_path / name).write_text(LINES)
    (path,) = find_files([str(tmp_path)])
    assert read(open_file(path, TaskConfig(), tmp_path / "cache"))[1] == {"text": "two"}


def test_shards_of_array_records_are_one_after_the_other(tmp_path):
    for i, name in enumerate(["a-00000-of-00003.array_record", "a.array_record-00001-of-00003", "a.arrayrecord"]):
        writer = ArrayRecordWriter(str(tmp_path / name), "")
        writer.write(f"record {i}".encode())
        writer.close()
    files = find_files([str(tmp_path)])
    assert [read(open_file(path, TaskConfig(), tmp_path / "cache"))[0]["text"] for path in files] == [
        "record 0",
        "record 1",
        "record 2",
    ]
    assert len(find_files([str(tmp_path / "a-*-of-*.array_record")])) == 1
    assert not (tmp_path / "cache").exists()


def test_cyclic_links_are_not_followed(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("a")
    (tmp_path / "in" / "deep" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "self.txt").symlink_to("self.txt")
    for pattern in ("in", "in/**/*.txt", "**/*.txt"):
        assert find_files([str(tmp_path / pattern)]) == [tmp_path / "in" / "a.txt"]


def test_a_pattern_leaves_hidden_files_out_unless_it_names_them(folder):
    (folder / ".hidden.txt").write_text("x")
    assert names(find_files([str(folder / "*.txt"), str(folder / "**" / "*.txt")]), folder) == ["b.txt"]
    with pytest.raises(ValueError, match="matches no file"):
        find_files([str(folder / "*" / "*.txt")])
    assert names(find_files([str(folder / ".h*.txt")]), folder) == [".hidden.txt"]
    assert names(find_files([str(folder / ".hidden" / "*.txt")]), folder) == [".hidden/d.txt"]


@pytest.mark.parametrize("name", ["a b.txt", "a:b.txt", "a@b.txt", "[ab].txt", "line\nend.txt", "-o.txt", "a*.txt"])
def test_a_file_may_have_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("x")
    assert find_files([name]) == [pathlib.Path(name)]


def test_a_folder_may_have_the_name_of_a_file(tmp_path):
    (tmp_path / "a.jsonl").mkdir()
    (tmp_path / "a.jsonl" / "b.jsonl").write_text(LINES)
    assert find_files([str(tmp_path / "a.jsonl")]) == find_files([str(tmp_path)]) == [tmp_path / "a.jsonl" / "b.jsonl"]


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_endless_files_are_refused_without_reading_them(tmp_path, kind):
    path = tmp_path / "a.txt"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=r"task.eval_source names .*a.txt, a pipe or a device: write its contents"):
        find_files([str(path)], "task.eval_source")
    with pytest.raises(ValueError, match=r"matches no file|has no file"):
        find_files([str(tmp_path / "*.txt")])
    with pytest.raises(ValueError, match=r"matches no file|has no file"):
        find_files([str(tmp_path)])


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("~no_such_user/a.txt", r"'~no_such_user/a.txt' begins with an unknown user: write the full path"),
        ("a\0b.txt", "matches no file: name a file"),
        ("a\0*.txt", "matches no file: name a file"),
        ("", "has no file|matches no file"),
    ],
)
def test_a_pattern_that_is_not_a_path_is_refused(tmp_path, monkeypatch, pattern, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        find_files([pattern])


def test_a_pattern_with_two_stars_in_a_name_is_read_or_refused(folder):
    try:
        assert find_files([str(folder / "b**.txt")]) == [folder / "b.txt"]
    except ValueError as error:  # Python before 3.13
        assert "is not a valid pattern (" in str(error)  # noqa: PT017
        assert "write ** between slashes" in str(error)  # noqa: PT017


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv", ".txt.gz", ".csv.zst", ".parquet", ".array_record"])
def test_a_file_without_read_permission_is_the_systems_error(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text("x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(PermissionError, match=rf"a{suffix}"):
        open_file(path, TaskConfig(), tmp_path / "cache")


# Content that is none of the kind at all, or begins like it.
STARTS = [b"", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"PAR1", b'{"text": ', b'text\n"', b"\xef\xbb\xbf", b"\xff\xfe"]


@pytest.mark.parametrize(
    "suffix", [".txt", ".jsonl", ".csv", ".tsv", ".parquet", ".array_record", ".txt.gz", ".jsonl.zst"]
)
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=200), unit=st.sampled_from(["file", "line", "paragraph"]))
def test_any_bytes_are_records_or_one_error_that_names_the_file(suffix, start, rest, unit):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"a{suffix}"
        path.write_bytes(start + rest)
        try:
            source = open_file(path, TaskConfig(text_unit=unit), pathlib.Path(folder) / "cache")
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
            return
        for location, record in source.read(range(len(source))):
            assert location in str(record) if isinstance(record, BadRecord) else isinstance(record, dict)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.tsv", "a.txt.gz"])
@pytest.mark.parametrize("unit", ["file", "line", "paragraph"])
def test_a_large_file_of_any_kind_gets_an_index_in_the_cache(tmp_path, monkeypatch, name, unit):
    monkeypatch.setattr("t5x_lite.data.sources.text_files.MIN_INDEXED_BYTES", 0)
    (tmp_path / name).write_bytes(gzip.compress(LINES.encode()) if name.endswith(".gz") else LINES.encode())
    open_file(tmp_path / name, TaskConfig(text_unit=unit), tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_parquet_is_read_through_the_cache(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"c": ["x"]}), tmp_path / "a.parquet")
    assert read(open_file(tmp_path / "a.parquet", TaskConfig(), tmp_path / "cache")) == [{"c": "x"}]
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".arrow"]
