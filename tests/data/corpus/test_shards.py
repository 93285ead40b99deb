"""Tests t5x_lite/data/corpus/shards.py"""

import json
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5x_lite.data.corpus.shards import BLOCK_LENGTH, ShardWriter, TokenStream, damaged_file, read_ends

UINT16 = np.dtype(np.uint16)


def write(directory, name, documents, *, dtype=UINT16, **options):
    """Writes documents, each a list of sides, and returns the writer's counts."""
    with ShardWriter(directory, name, dtype, **options) as writer:
        for number, sides in enumerate(documents):
            writer.add([np.asarray(side, np.int32) for side in sides], {"targets": f"t{number}"})
    return writer.counts


def ids(count, start=3):
    return (np.arange(count) + start).tolist()


# Around the edges of a block, and across several of them.
SIZES = (1, BLOCK_LENGTH - 1, 2 * BLOCK_LENGTH + 5, BLOCK_LENGTH, 7)


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """Three shards, one of them empty, whose ids count up."""
    directory, begin, paths, counts = tmp_path_factory.mktemp("shards"), 3, [], []
    for name, sizes in (("a", SIZES[:3]), ("empty", ()), ("b", SIZES[3:])):
        documents = []
        for size in sizes:
            documents.append([ids(size, begin)])
            begin += size
        counts.append(write(directory, name, documents).num_tokens)
        paths.append(directory / f"{name}.array_record")
    return TokenStream(paths, counts, UINT16)


def test_a_stream_is_all_documents_one_after_the_other(stream):
    assert len(stream) == sum(SIZES)
    (whole,) = stream.read(np.array([0]), np.array([len(stream)]))
    assert whole.tolist() == ids(sum(SIZES))
    assert whole.dtype == UINT16


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, sum(SIZES)), st.integers(0, sum(SIZES))), min_size=1, max_size=6))
def test_any_slices_are_read_whatever_the_others_are(stream, edges):
    begin_B, end_B = np.sort(np.array(edges), axis=1).T
    for begin, end, found in zip(begin_B, end_B, stream.read(begin_B, end_B), strict=True):
        assert found.tolist() == ids(end - begin, begin + 3)


def test_a_stream_is_pickled_without_its_contents(stream):
    pickled = pickle.dumps(stream)
    assert len(pickled) < 1_000
    assert pickle.loads(pickled).read(np.array([5]), np.array([9]))[0].tolist() == ids(4, 8)


def test_ids_above_16_bits_are_kept(tmp_path):
    counts = write(tmp_path, "a", [[[250_099, 3]]], dtype=np.dtype(np.int32))
    stream = TokenStream([tmp_path / "a.array_record"], [counts.num_tokens], np.dtype(np.int32))
    assert stream.read(np.array([0]), np.array([2]))[0].tolist() == [250_099, 3]


def test_the_ends_of_both_sides_count_from_the_first_shard_on(tmp_path):
    counts = [write(tmp_path, "a", [[ids(3), ids(2)], [ids(0), ids(4)]]), write(tmp_path, "none", [])]
    counts.append(write(tmp_path, "b", [[ids(1), ids(5)]]))
    ends = read_ends(tmp_path, ("a", "none", "b"), [count.num_tokens for count in counts])
    assert ends.tolist() == [[3, 5], [5, 9], [10, 15]]
    assert [count.num_documents for count in counts] == [2, 0, 1]


def test_references_are_lines_of_json_where_asked_for(tmp_path):
    write(tmp_path, "eval", [[ids(2), ids(1)]] * 3, has_references=True)
    lines = (tmp_path / "eval.references.jsonl").read_text().splitlines()
    assert [json.loads(line)["targets"] for line in lines] == ["t0", "t1", "t2"]
    write(tmp_path, "train", [[ids(2), ids(1)]])
    assert not (tmp_path / "train.references.jsonl").exists()


def test_the_same_documents_make_the_same_bytes(tmp_path):
    documents = [[ids(size)] for size in SIZES]
    first, second = (write(tmp_path / name, "a", documents) for name in ("first", "second"))
    assert first == second


def test_a_shard_that_fails_halfway_leaves_nothing(tmp_path):
    def fail():
        with ShardWriter(tmp_path, "a", UINT16) as writer:
            writer.add([np.arange(BLOCK_LENGTH + 1)], {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_whole_files_are_not_damaged(tmp_path):
    assert damaged_file(tmp_path, write(tmp_path, "a", [[ids(9)]]).files) is None


@pytest.mark.parametrize("name", ["a.array_record", "a.ends.npy"])
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda content: None, "is missing"),
        (lambda content: content[:-1], r"has [\d,]+ bytes instead of [\d,]+"),
        (
            lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
            "was altered: its checksum differs",
        ),
    ],
    ids=["missing", "cut off", "one bit"],
)
def test_a_damaged_file_is_named(tmp_path, name, harm, message):
    files = write(tmp_path, "a", [[ids(99)]]).files
    content = harm((tmp_path / name).read_bytes())
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert re.fullmatch(f".*/{name} {message}", damaged_file(tmp_path, files))
