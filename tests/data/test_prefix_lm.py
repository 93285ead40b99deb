"""Tests t5x_lite/data/prefix_lm.py with the arrays of SeqIO's `feature_converters_test.py`."""

import numpy as np
import pytest

from t5x_lite.config import MixtureConfig, TaskConfig
from t5x_lite.data.packing import PackedPairs
from t5x_lite.data.pairs import Pairs
from t5x_lite.data.prefix_lm import continuation, join, prefix_lm
from tests.data.test_converters import PAIRS, ROWS, TWO, check, converter, filled
from tests.tokens import ArrayTokens


def prefixed(examples, packed, **lengths):
    """Rows for `prefix_lm`, whose one feature has the places of inputs and targets together; SeqIO keeps every EOS."""
    return join(filled(examples, packed, **lengths), eos_id=None)


PREFIX_NAMES = ("decoder_target_tokens", "decoder_input_tokens", "decoder_loss_weights", "decoder_causal_attention")


@pytest.mark.parametrize(
    ("targets", "inputs_length", "expected"),
    [
        (
            [3, 9, 1],
            5,
            (
                [9, 4, 6, 1, 3, 9, 1, 0, 0],
                [0, 9, 4, 6, 1, 3, 9, 1, 0],
                [0, 0, 0, 0, 1, 1, 1, 0, 0],
                [1, 1, 1, 1, 1, 0, 0, 0, 0],
            ),
        ),
        ([], 5, ([9, 4, 6, 1, 0, 0, 0, 0, 0], [0, 9, 4, 6, 1, 0, 0, 0, 0], [0] * 9, [1, 1, 1, 1, 1, 0, 0, 0, 0])),
        (
            [3, 9, 1],
            10,
            (
                [9, 4, 6, 1, 3, 9, 1, 0, 0, 0, 0, 0, 0, 0],
                [0, 9, 4, 6, 1, 3, 9, 1, 0, 0, 0, 0, 0, 0],
                [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
                [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
        ),
    ],
    ids=["inputs and targets", "no targets", "longer rows"],
)
def test_a_prefix_language_model_sees_the_inputs_at_once(targets, inputs_length, expected):
    rows = prefixed([{"inputs": [9, 4, 6, 1], "targets": targets}], False, inputs=inputs_length, targets=4)
    check(prefix_lm(rows), dict(zip(PREFIX_NAMES, expected, strict=True)))


def test_a_prefix_language_model_may_predict_the_inputs_too():
    rows = prefixed([{"inputs": [9, 4, 6, 1], "targets": [3, 9, 1]}], False, inputs=5, targets=4)
    weights = prefix_lm(rows, loss_on_targets_only=False)["decoder_loss_weights"]
    assert weights.tolist() == [[1, 1, 1, 1, 1, 1, 1, 0, 0]]


PREFIX_PACKED = {
    "decoder_target_tokens": [7, 8, 5, 1, 3, 9, 1, 8, 4, 9, 3, 1, 4, 1, 0],
    "decoder_input_tokens": [0, 7, 8, 5, 1, 3, 9, 0, 8, 4, 9, 3, 1, 4, 0],
    "decoder_loss_weights": [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0],
    "decoder_positions": [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0],
    "decoder_segment_ids": [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 0],
    "decoder_causal_attention": [1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0],
}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, {}),
        ({"loss_on_targets_only": False}, {"decoder_loss_weights": [1] * 14 + [0]}),
        ({"bos_id": 10}, {"decoder_input_tokens": [10, 7, 8, 5, 1, 3, 9, 10, 8, 4, 9, 3, 1, 4, 10]}),
    ],
    ids=["targets predicted", "inputs predicted too", "another bos"],
)
def test_a_prefix_language_model_gets_several_examples_a_row(options, changed):
    check(prefix_lm(prefixed(TWO, True, inputs=9, targets=6), **options), PREFIX_PACKED | changed)


def test_a_prefix_language_models_long_examples_have_rows_of_their_own():
    examples = [{"inputs": [7, 8, 5, 1], "targets": [3, 9, 1]}, {"inputs": [8, 4, 1], "targets": [5, 1]}]
    first = ([7, 8, 5, 1, 3, 9, 1], [0, 7, 8, 5, 1, 3, 9], [0, 0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0])
    second = ([8, 4, 1, 5, 1, 0, 0], [0, 8, 4, 1, 5, 0, 0], [0, 0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0])
    first, second = (dict(zip(PREFIX_NAMES, row, strict=True)) for row in (first, second))
    first |= {"decoder_positions": [0, 1, 2, 3, 4, 5, 6], "decoder_segment_ids": [1] * 7}
    second |= {"decoder_positions": [0, 1, 2, 3, 4, 0, 0], "decoder_segment_ids": [1, 1, 1, 1, 1, 0, 0]}
    check(prefix_lm(prefixed(examples, True, inputs=4, targets=3)), first, second)


def test_a_prefix_may_be_empty():
    examples = [{"inputs": i, "targets": t} for i, t in (([1], [1, 2]), ([], [3, 4]), ([2, 3, 4, 5, 6], [5, 6]))]
    check(
        prefix_lm(prefixed(examples, True, inputs=7, targets=7)),
        {
            "decoder_target_tokens": [1, 1, 2, 3, 4, 2, 3, 4, 5, 6, 5, 6, 0, 0],
            "decoder_input_tokens": [0, 1, 1, 0, 3, 0, 2, 3, 4, 5, 6, 5, 0, 0],
            "decoder_loss_weights": [0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0],
            "decoder_segment_ids": [1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 0, 0],
            "decoder_positions": [0, 1, 2, 0, 1, 0, 1, 2, 3, 4, 5, 6, 0, 0],
            "decoder_causal_attention": [1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        },
    )


@pytest.mark.parametrize("packed", [False, True])
def test_joining_leaves_out_the_eos_of_the_inputs_and_keeps_that_of_the_targets(packed):
    rows = filled(TWO, packed, inputs=9, targets=6)
    joined = join(rows | {"loss_weights": (rows["targets"] > 4).astype(np.int32)}, eos_id=1)
    if packed:
        expected = {
            "targets": [[7, 8, 5, 3, 9, 1, 8, 4, 9, 3, 4, 1, 0, 0, 0]],
            "inputs_width": [[3] * 6 + [4] * 6 + [0] * 3],
            "loss_weights": [[0, 0, 0, 0, 1, 0] + [0] * 9],
            "targets_segment_ids": [[1] * 6 + [2] * 6 + [0] * 3],
            "targets_positions": [[*range(6), *range(6), 0, 0, 0]],
        }
    else:
        expected = {
            "targets": [[7, 8, 5, 3, 9, 1] + [0] * 9, [8, 4, 9, 3, 4, 1] + [0] * 9],
            "inputs_width": [[3] * 6 + [0] * 9, [4] * 6 + [0] * 9],
            "loss_weights": [[0, 0, 0, 0, 1, 0] + [0] * 9, [0] * 15],
        }
    assert {name: ids.tolist() for name, ids in joined.items()} == expected


def test_inputs_that_are_eos_alone_join_to_no_prefix():
    joined = join(filled([{"inputs": [1], "targets": [3, 9, 1]}], False, inputs=4, targets=5), eos_id=1)
    assert joined["targets"].tolist() == [[3, 9, 1, 0, 0, 0, 0, 0, 0]]
    assert not joined["inputs_width"].any()


def test_a_text_is_learned_whole_and_the_targets_of_pairs_alone():
    causal = converter("causal_lm", objective="causal_lm")(ROWS)
    assert causal["decoder_target_tokens"].tolist() == ROWS["targets"].tolist()
    joined = converter("causal_lm", **PAIRS)(ROWS)
    assert joined["decoder_target_tokens"][0].tolist() == [7, 8, 124, 104, 118, 1, 0, 0, 0]
    assert joined["decoder_loss_weights"][0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]


def test_a_mixture_of_text_and_pairs_is_joined():
    mixture = MixtureConfig(tasks={"a": TaskConfig(objective="causal_lm"), "b": TaskConfig(**PAIRS)})
    assert converter("causal_lm", mixture=mixture)(ROWS)["decoder_target_tokens"].shape == (2, 9)


def packed(examples, method, inputs_length, targets_length, **options):
    """The rows of `PackedPairs` for examples that end in EOS, converted as SeqIO's converter does."""
    sides = [np.array(example[side][:-1]) for example in examples for side in ("inputs", "targets")]
    ends_E2 = np.cumsum([len(side) for side in sides]).reshape(-1, 2)
    pairs = Pairs(ArrayTokens(np.concatenate(sides)), ends_E2, inputs_length, targets_length)
    rows = PackedPairs(pairs, method, joined=True)
    made = rows(np.arange(len(rows)), np.arange(len(rows)))
    return continuation(made, eos_id=None, sees_prefix=True, row_length=inputs_length + targets_length, **options)


@pytest.mark.parametrize("method", ["first_fit", "best_fit"])
@pytest.mark.parametrize("lengths", [(8, 7), (7, 8), (5, 10)])
def test_examples_are_packed_as_one_sequence_into_the_places_of_inputs_and_targets_together(method, lengths):
    """SeqIO's `test_prefix_lm_packed`: the inputs of the two, 4 and 5 long, would not fit into 8, 7 or 5 places."""
    if method == "first_fit":
        check(packed(TWO, method, *lengths), PREFIX_PACKED)
    features = packed(TWO, method, *lengths)
    assert {name: ids.shape for name, ids in features.items()} == dict.fromkeys(PREFIX_PACKED, (1, 15))


def test_examples_too_long_to_share_the_places_of_both_sides_have_rows_of_their_own():
    """SeqIO's `test_prefix_lm_pack_long_sequences`."""
    examples = [{"inputs": [7, 8, 5, 1], "targets": [3, 9, 1]}, {"inputs": [8, 4, 1], "targets": [5, 1]}]
    features = packed(examples, "first_fit", 4, 3)
    assert features["decoder_target_tokens"].tolist() == [[7, 8, 5, 1, 3, 9, 1], [8, 4, 1, 5, 1, 0, 0]]
    assert features["decoder_causal_attention"].tolist() == [[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0]]
