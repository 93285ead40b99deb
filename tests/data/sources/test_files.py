"""Tests t5x_lite/data/sources/files.py."""

import gzip
import pathlib

import pyarrow
import pyarrow.parquet
import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources.files import find_files, open_file

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


def test_a_folder_stands_for_its_files_of_known_kinds_in_order(folder):
    assert names(find_files([str(folder)]), folder) == ["a.jsonl", "b.txt", "sub/c.CSV"]


def test_patterns_and_files_keep_their_order_and_each_file_comes_once(folder):
    found = find_files([str(folder / "b.txt"), str(folder / "**" / "*.[jt]*"), str(folder / "sub")])
    assert names(found, folder) == ["b.txt", "a.jsonl", "sub/c.CSV"]


@pytest.mark.parametrize("name", ["absent.txt", "*.tsv"])
def test_a_name_of_nothing_is_refused(folder, name):
    with pytest.raises(ValueError, match=r"task.source '.*' names no file: name a file, a folder or a pattern"):
        find_files([str(folder / name)])


def test_a_folder_without_a_file_of_a_known_kind_is_refused(tmp_path):
    (tmp_path / "image.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"has no file that ends in .txt, .text, .md, .jsonl, .csv, .tsv, .parquet"):
        find_files([str(tmp_path)])


def test_a_file_of_another_kind_is_refused(folder):
    with pytest.raises(ValueError, match=r"notes.pdf, whose kind is not known: use .txt"):
        find_files([str(folder / "notes.pdf")])


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
    assert [source[i]["text"] for i in range(len(source))] == ["one", "two"]
    assert source.where(1) == f"{path} line 2"


def test_a_copy_is_made_again_once_the_file_has_changed(tmp_path):
    path, cache = tmp_path / "a.txt.gz", tmp_path / "cache"
    for content in ("before", "afterwards"):
        path.write_bytes(gzip.compress(content.encode()))
        assert open_file(path, TaskConfig(), cache)[0] == {"text": content}


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
        ValueError, match=rf"a.txt{suffix} is not a whole {suffix} file \(.*\): fetch or write it again"
    ):
        open_file(path, TaskConfig(), cache)
    assert not list(cache.glob("*"))


@pytest.mark.parametrize(
    ("name", "content", "task", "expected"),
    [
        ("a.txt", "x\n\ny", TaskConfig(text_unit="paragraph"), [{"text": "x"}, {"text": "y"}]),
        ("a.md", "x\n\ny", TaskConfig(), [{"text": "x\n\ny"}]),
        ("a.csv", "c\nx\n", TaskConfig(), [{"c": "x"}]),
        ("a.tsv", "x\ty\n", TaskConfig(columns=("c", "d")), [{"c": "x", "d": "y"}]),
    ],
)
def test_the_name_of_a_file_says_how_it_is_read(tmp_path, name, content, task, expected):
    path = pathlib.Path(tmp_path / name)
    path.write_text(content)
    source = open_file(path, task, tmp_path / "cache")
    assert [source[i] for i in range(len(source))] == expected
    assert not (tmp_path / "cache").exists()


def test_parquet_is_read_through_the_cache(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"c": ["x"]}), tmp_path / "a.parquet")
    assert open_file(tmp_path / "a.parquet", TaskConfig(), tmp_path / "cache")[0] == {"c": "x"}
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".arrow"]
