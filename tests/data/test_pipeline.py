"""Tests t5x_lite/data/pipeline.py"""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5x_lite.config import DataConfig
from t5x_lite.data.examples import Chunks
from t5x_lite.data.mixing import Mixed
from t5x_lite.data.objectives.span_corruption import SpanCorruption, span_corruption_lengths
from t5x_lite.data.packing import PackedPairs
from t5x_lite.data.pairs import Pairs
from t5x_lite.data.pipeline import eval_batches, train_batches, unigram_entropy
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests.paths import ROOT
from tests.tokens import ArrayTokens

S, B = 32, 8
L, T = span_corruption_lengths(S, 0.15, 3.0)
NUM_CHUNKS = 22  # of which the last has a few tokens
IN_PROCESS = DataConfig()
FIRST_SENTINEL = 9_999

WORKER_SCRIPT = """
import multiprocessing, sys
import numpy as np
from t5x_lite.config import DataConfig
from t5x_lite.data.examples import Chunks
from t5x_lite.data.pipeline import train_batches
from t5x_lite.data.objectives.span_corruption import SpanCorruption, span_corruption_lengths
from tests.tokens import ArrayTokens

if __name__ == "__main__":
    L, T = span_corruption_lengths(32, 0.15, 3.0)
    objective = SpanCorruption(inputs_length=32, targets_length=T, chunk_length=L, noise_density=0.15,
                               mean_span_length=3.0, first_sentinel=9_999, seed=13)
    tokens = ArrayTokens(np.load(sys.argv[1]))
    make = lambda workers: train_batches(Chunks(tokens, objective), batch_size=8, data=DataConfig(num_workers=workers),
                                         start_example=16)
    here, there = make(0), make(2)
    for _ in range(7):
        a, b = next(here), next(there)
        print("same" if all(np.array_equal(a[name], b[name]) for name in a) else "differs")
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    # Both iterators are abandoned here, the workers in the middle of their work.
"""


def make_objective(seed=13):
    return SpanCorruption(
        inputs_length=S, targets_length=T, chunk_length=L, noise_density=0.15, mean_span_length=3.0,
        first_sentinel=FIRST_SENTINEL, seed=seed,
    )  # fmt: skip


def make_tokens(num_chunks=NUM_CHUNKS, extra=5):
    """Every token is its own place in the stream, plus 3, so that a batch shows what it was made of."""
    return ArrayTokens((np.arange((num_chunks - 1) * L + extra) + 3).astype(np.uint16))


HELD_OUT = Chunks(make_tokens(), make_objective())


def take(count, seed=13, **options):
    options = {"batch_size": B, "data": IN_PROCESS} | options
    return list(itertools.islice(train_batches(Chunks(make_tokens(), make_objective(seed)), **options), count))


def chunks_of(batch):
    """The number of the chunk that each row was made of."""
    return [(row[0] - 3) // L for row in batch["encoder_input_tokens"]]


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        for name in batch.keys() | other.keys():
            np.testing.assert_array_equal(batch[name], other[name])


def test_batches_have_the_shapes_and_types_of_the_objective():
    (batch,) = take(1)
    assert {name: (ids.shape, ids.dtype) for name, ids in batch.items()} == {
        "encoder_input_tokens": ((B, S), np.int32),
        "decoder_input_tokens": ((B, T), np.int32),
        "decoder_target_tokens": ((B, T), np.int32),
        "decoder_loss_weights": ((B, T), np.int32),
    }


def test_rows_are_the_consecutive_chunks_of_the_stream_and_what_is_left():
    batches, lengths = take(NUM_CHUNKS, batch_size=1), {}
    for batch in batches:
        tokens = np.concatenate([batch["encoder_input_tokens"][0], batch["decoder_target_tokens"][0]])
        tokens = np.sort(tokens[(tokens > 1) & (tokens <= NUM_CHUNKS * L + 3)])
        np.testing.assert_array_equal(tokens, tokens[0] + np.arange(len(tokens)))
        lengths[(tokens[0] - 3) / L] = len(tokens)
    assert lengths == dict.fromkeys(range(NUM_CHUNKS - 1), L) | {NUM_CHUNKS - 1: 5}


def test_every_chunk_is_seen_once_an_epoch_in_another_order_and_with_other_spans():
    batches = take(2 * NUM_CHUNKS, batch_size=1)
    order = [chunks_of(batch)[0] for batch in batches]
    first, second = order[:NUM_CHUNKS], order[NUM_CHUNKS:]
    assert sorted(first) == sorted(second) == list(range(NUM_CHUNKS))
    assert first != second
    assert first != sorted(first)
    targets = [batch["decoder_target_tokens"] for batch in batches]
    again = dict(zip(second, targets[NUM_CHUNKS:], strict=True))
    differing = [(again[c] != ids).any() for c, ids in zip(first, targets[:NUM_CHUNKS], strict=True)]
    assert np.mean(differing) > 0.9


def test_another_seed_gives_another_order():
    assert [chunks_of(batch) for batch in take(2)] != [chunks_of(batch) for batch in take(2, seed=14)]


@pytest.mark.parametrize("num_hosts", [2, 4])
def test_the_global_batch_is_the_same_for_any_number_of_hosts(num_hosts):
    share = B // num_hosts
    hosts = [take(5, rows=slice(h * share, (h + 1) * share)) for h in range(num_hosts)]
    joined = [
        {name: np.concatenate([p[name] for p in parts]) for name in parts[0]} for parts in zip(*hosts, strict=True)
    ]
    assert hosts[0][0]["encoder_input_tokens"].shape == (share, S)
    assert_same(joined, take(5))


def test_a_resumed_run_goes_on_exactly_across_epochs():
    assert_same(take(9)[4:], take(5, start_example=4 * B))


def test_a_resumed_run_may_change_its_batch_size():
    rows = np.concatenate([batch["encoder_input_tokens"] for batch in take(6)])
    resumed = np.concatenate([batch["encoder_input_tokens"] for batch in take(2, batch_size=12, start_example=3 * B)])
    np.testing.assert_array_equal(resumed, rows[3 * B :])


@pytest.mark.parametrize("make", ["chunks", "a mixture of packed rows and chunks"])
@given(cut=st.integers(1, 8), before=st.sampled_from([1, 2, 4]), after=st.sampled_from([1, 2, 8]))
@settings(max_examples=4)
def test_a_run_cut_anywhere_goes_on_on_any_number_of_hosts_with_nothing_lost_or_repeated(make, cut, before, after):
    examples = Chunks(make_tokens(), make_objective())
    if make != "chunks":
        ends_E2 = np.cumsum(np.random.default_rng(0).integers(1, 6, (40, 2)).ravel()).reshape(-1, 2)
        pairs = PackedPairs(Pairs(make_tokens(), ends_E2, S, T, seed=13), "best_fit")
        examples = Mixed([pairs, examples], [1, 2], seed=13)

    def steps(start, count, num_hosts):
        share = B // num_hosts
        hosts = []
        for host in range(num_hosts):
            rows = slice(host * share, (host + 1) * share)
            batches = train_batches(examples, batch_size=B, data=IN_PROCESS, start_example=start * B, rows=rows)
            hosts.append(list(itertools.islice(batches, count)))
            batches.close()
        return [
            {name: np.concatenate([p[name] for p in parts]) for name in parts[0]} for parts in zip(*hosts, strict=True)
        ]

    assert_same(steps(0, cut, before) + steps(cut, 9 - cut, after), steps(0, 9, 1))


@pytest.fixture(scope="module")
def workers_run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("workers")
    np.save(directory / "tokens.npy", make_tokens().ids)
    (directory / "script.py").write_text(WORKER_SCRIPT)
    return subprocess.run(
        [sys.executable, "-W", "error", str(directory / "script.py"), str(directory / "tokens.npy")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_worker_processes_make_the_same_batches(workers_run):
    assert workers_run.stdout.splitlines()[:-1] == ["same"] * 7, workers_run.stderr


@pytest.mark.slow
def test_an_abandoned_iterator_neither_hangs_nor_warns_nor_leaves_processes(workers_run):
    assert (workers_run.returncode, workers_run.stderr) == (0, "")
    pids = [int(pid) for pid in workers_run.stdout.splitlines()[-1].split()]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_chunk_is_enough_for_any_batch():
    batches = train_batches(Chunks(make_tokens(1), make_objective()), batch_size=3, data=IN_PROCESS)
    assert chunks_of(next(batches)) == [0, 0, 0]


def test_evaluation_reads_every_chunk_once_and_pads_the_last_batch_with_zeros():
    batches = list(eval_batches(HELD_OUT, batch_size=B, num_batches=20))
    assert [batch["encoder_input_tokens"].shape for batch in batches] == [(B, S)] * 3
    chunks = [chunk for batch in batches for chunk in chunks_of(batch)][:NUM_CHUNKS]
    assert sorted(chunks) == list(range(NUM_CHUNKS))
    left = NUM_CHUNKS - 2 * B
    assert (batches[-1]["decoder_target_tokens"][:left] != 0).all()
    for ids in batches[-1].values():
        assert not ids[left:].any()


def test_a_short_evaluation_is_spread_over_all_that_is_held_out():
    (batch,) = eval_batches(HELD_OUT, batch_size=B, num_batches=1)
    assert np.diff(sorted(chunks_of(batch))).max() <= 5
    assert len(set(chunks_of(batch))) == B


def test_evaluation_reads_num_batches_at_most():
    assert len(list(eval_batches(HELD_OUT, batch_size=B, num_batches=2))) == 2


def test_an_evaluation_batch_larger_than_the_text_is_padded():
    (batch,) = eval_batches(HELD_OUT, batch_size=50, num_batches=3)
    assert (batch["decoder_target_tokens"].any(axis=1) == (np.arange(50) < NUM_CHUNKS)).all()


def test_evaluation_is_the_same_for_any_number_of_hosts():
    def evaluate(rows):
        return list(eval_batches(HELD_OUT, batch_size=B, num_batches=20, rows=rows))

    whole = evaluate(slice(None))
    halves = zip(evaluate(slice(0, 4)), evaluate(slice(4, 8)), strict=True)
    assert_same(whole, [{name: np.concatenate([a[name], b[name]]) for name in a} for a, b in halves])


def test_unigram_entropy_is_that_of_the_text_tokens_alone():
    tokenizer = ByteTokenizer(num_sentinels=10)
    targets = [np.array([[258, 5, 5, 257, 7, 1, 0, 0]]), np.array([[256, 5, 1, 0]])]
    batches = ({"decoder_target_tokens": ids, "decoder_loss_weights": ids > 0} for ids in targets)
    expected = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    np.testing.assert_allclose(unigram_entropy(batches, tokenizer), expected, rtol=1e-12)


def test_unigram_entropy_of_a_single_kind_of_target_is_0():
    assert str(unigram_entropy([{"target_labels": np.array([2, 2]), "label_weights": np.ones(2, int)}])) == "0.0"


def test_unigram_entropy_of_labels_counts_those_that_weigh_something():
    labels = {"target_labels": np.array([[0, 2, 1], [2, 2, 0]]), "label_weights": np.array([[1, 1, 0], [1, 1, 0]])}
    expected = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    np.testing.assert_allclose(unigram_entropy([labels]), expected, rtol=1e-12)
