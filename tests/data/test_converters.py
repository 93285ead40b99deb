"""Tests t5x_lite/data/converters.py with the arrays of SeqIO's `feature_converters_test.py`."""

import pickle

import numpy as np
import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.config.architectures import Architecture
from t5x_lite.data.converters import (
    architecture_for,
    autoregressive_inputs,
    decoder_only,
    encoder_decoder,
    make_converter,
    stack_lengths,
    targets_of,
)
from t5x_lite.data.masked_lm import encoder_only
from t5x_lite.data.packing import fill_rows, first_fit
from t5x_lite.data.task_specs import resolve_tasks
from t5x_lite.data.tokenizers.bytes import ByteTokenizer

TWO = [{"inputs": [7, 8, 5, 1], "targets": [3, 9, 1]}, {"inputs": [8, 4, 9, 3, 1], "targets": [4, 1]}]
TWO_LONG = [{"inputs": [7, 8, 5, 6, 9, 4, 1], "targets": [3, 9, 1]}, {"inputs": [8, 4, 9, 3, 5, 1], "targets": [4, 1]}]


def arrays(example):
    return {name: np.array(ids, np.int32) for name, ids in example.items()}


def filled(examples, packed, **lengths):
    """Rows as SeqIO makes them: in order, each example in the first row with room."""
    examples = [arrays(example) for example in examples]
    if not packed:
        rows = fill_rows([[example] for example in examples], lengths)
        return {name: rows[name] for name in lengths}
    sizes = np.array([[len(example[name]) for name in lengths] for example in examples])
    plan = first_fit(sizes, list(lengths.values()))
    rows = [[examples[e] for e in plan.row(r)] for r in range(len(plan.ends_R))]
    return fill_rows(rows, lengths)


def check(features, *expected):
    """Every feature has the expected values, row by row, and no other feature is there."""
    assert {name: ids.tolist() for name, ids in features.items()} == {
        name: [row[name] for row in expected] for name in expected[0]
    }


@pytest.mark.parametrize(
    ("targets", "targets_length", "decoder"),
    [
        ([3, 9, 4, 1], 5, ([3, 9, 4, 1, 0], [0, 3, 9, 4, 1], [1, 1, 1, 1, 0])),
        ([3, 9, 4, 5, 1], 5, ([3, 9, 4, 5, 1], [0, 3, 9, 4, 5], [1, 1, 1, 1, 1])),
    ],
)
def test_an_encoder_decoder_gets_one_example_a_row(targets, targets_length, decoder):
    rows = filled([{"inputs": [9, 4, 3, 8, 1], "targets": targets}], False, inputs=7, targets=targets_length)
    names = ("decoder_target_tokens", "decoder_input_tokens", "decoder_loss_weights")
    check(
        encoder_decoder(rows), {"encoder_input_tokens": [9, 4, 3, 8, 1, 0, 0]} | dict(zip(names, decoder, strict=True))
    )


ENCODER_DECODER_PACKED = {
    "encoder_input_tokens": [7, 8, 5, 1, 8, 4, 9, 3, 1, 0],
    "encoder_segment_ids": [1, 1, 1, 1, 2, 2, 2, 2, 2, 0],
    "encoder_positions": [0, 1, 2, 3, 0, 1, 2, 3, 4, 0],
    "decoder_target_tokens": [3, 9, 1, 4, 1, 0, 0],
    "decoder_input_tokens": [0, 3, 9, 0, 4, 0, 0],
    "decoder_loss_weights": [1, 1, 1, 1, 1, 0, 0],
    "decoder_segment_ids": [1, 1, 1, 2, 2, 0, 0],
    "decoder_positions": [0, 1, 2, 0, 1, 0, 0],
}


@pytest.mark.parametrize(("bos_id", "inputs"), [(0, [0, 3, 9, 0, 4, 0, 0]), (10, [10, 3, 9, 10, 4, 10, 0])])
def test_an_encoder_decoder_gets_several_examples_a_row(bos_id, inputs):
    rows = filled(TWO, True, inputs=10, targets=7)
    check(encoder_decoder(rows, bos_id=bos_id), ENCODER_DECODER_PACKED | {"decoder_input_tokens": inputs})


def test_examples_too_long_to_go_together_are_numbered_all_the_same():
    first, second = {"encoder_input_tokens": [7, 8, 5, 6, 9, 4, 1]}, {"encoder_input_tokens": [8, 4, 9, 3, 5, 1, 0]}
    first |= {"encoder_segment_ids": [1] * 7, "encoder_positions": [0, 1, 2, 3, 4, 5, 6]}
    second |= {"encoder_segment_ids": [1] * 6 + [0], "encoder_positions": [0, 1, 2, 3, 4, 5, 0]}
    first |= {"decoder_target_tokens": [3, 9, 1], "decoder_input_tokens": [0, 3, 9], "decoder_loss_weights": [1] * 3}
    second |= {"decoder_target_tokens": [4, 1, 0], "decoder_input_tokens": [0, 4, 0]}
    second |= {"decoder_loss_weights": [1, 1, 0]}
    first |= {"decoder_segment_ids": [1, 1, 1], "decoder_positions": [0, 1, 2]}
    second |= {"decoder_segment_ids": [1, 1, 0], "decoder_positions": [0, 1, 0]}
    check(encoder_decoder(filled(TWO_LONG, True, inputs=7, targets=3)), first, second)


def test_weights_of_a_rows_own_are_kept():
    rows = filled([{"inputs": [9, 1], "targets": [3, 4, 1]}], False, inputs=3, targets=4)
    weights = np.array([[0, 1, 0, 0]])
    assert encoder_decoder(rows | {"loss_weights": weights})["decoder_loss_weights"].tolist() == weights.tolist()


def test_a_language_model_gets_the_targets_alone():
    check(
        decoder_only(filled([{"targets": [3, 9, 1]}], False, targets=5)),
        {
            "decoder_target_tokens": [3, 9, 1, 0, 0],
            "decoder_input_tokens": [0, 3, 9, 1, 0],
            "decoder_loss_weights": [1, 1, 1, 0, 0],
        },
    )


@pytest.mark.parametrize(("bos_id", "inputs"), [(0, [0, 3, 9, 0, 4, 0]), (10, [10, 3, 9, 10, 4, 10])])
def test_a_language_model_gets_several_examples_a_row(bos_id, inputs):
    rows = filled([{"targets": [3, 9, 1]}, {"targets": [4, 1]}], True, targets=6)
    check(
        decoder_only(rows, bos_id=bos_id),
        {
            "decoder_target_tokens": [3, 9, 1, 4, 1, 0],
            "decoder_input_tokens": inputs,
            "decoder_loss_weights": [1, 1, 1, 1, 1, 0],
            "decoder_positions": [0, 1, 2, 0, 1, 0],
            "decoder_segment_ids": [1, 1, 1, 2, 2, 0],
        },
    )


def test_a_language_models_long_examples_have_rows_of_their_own():
    rows = filled([{"targets": [3, 9, 4, 5, 1]}, {"targets": [4, 3, 2, 1]}], True, targets=5)
    names = ("decoder_target_tokens", "decoder_input_tokens", "decoder_loss_weights")
    names += ("decoder_positions", "decoder_segment_ids")
    first = ([3, 9, 4, 5, 1], [0, 3, 9, 4, 5], [1] * 5, [0, 1, 2, 3, 4], [1] * 5)
    second = ([4, 3, 2, 1, 0], [0, 4, 3, 2, 0], [1, 1, 1, 1, 0], [0, 1, 2, 3, 0], [1, 1, 1, 1, 0])
    check(decoder_only(rows), *(dict(zip(names, row, strict=True)) for row in (first, second)))


def test_what_is_predicted_is_found_in_the_features_of_any_architecture():
    rows = filled([{"inputs": [8, 9, 4, 1], "targets": [8, 7, 4, 1]}], False, inputs=6, targets=6)
    for features in (encoder_decoder(rows), decoder_only(rows), encoder_only(rows, mask_id=9)):
        targets, weights = targets_of(features)
        assert targets.tolist() == rows["targets"].tolist()
        assert weights.sum() in (1, 4)
    labels = {
        "encoder_input_tokens": rows["inputs"],
        "target_labels": np.array([[5]]),
        "label_weights": np.array([[1]]),
    }
    assert [array.tolist() for array in targets_of(labels)] == [[[5]], [[1]]]


def test_autoregressive_inputs_begin_anew_with_each_segment():
    """The arrays of SeqIO's `utils_test.py`."""
    targets = np.array([[3, 8, 1, 0, 0], [9, 1, 5, 4, 1]])
    assert autoregressive_inputs(targets).tolist() == [[0, 3, 8, 1, 0], [0, 9, 1, 5, 4]]
    segments = np.array([[1, 1, 1, 0, 0], [1, 1, 2, 2, 2]])
    assert autoregressive_inputs(targets, segments).tolist() == [[0, 3, 8, 0, 0], [0, 9, 0, 5, 4]]


BYTES = ByteTokenizer(10)
PAIRS = {"inputs": "{q}", "targets": "{a}", "source": "a.jsonl"}
ROWS = {
    "inputs": np.array([[7, 8, 1, 0, 0], [9, 258, 6, 7, 1]], np.int32),
    "targets": np.array([[124, 104, 118, 1], [113, 114, 1, 0]], np.int32),  # yes, no
}
ENCODER = {"encoder_input_tokens"}
DECODER = {"decoder_input_tokens", "decoder_target_tokens", "decoder_loss_weights"}


def converter(architecture, *, packing="none", **task):
    return make_converter(Architecture(architecture), resolve_tasks(TaskConfig(**task)).each, BYTES, packing=packing)


@pytest.mark.parametrize(
    ("architecture", "task", "names"),
    [
        ("encoder_decoder", {}, ENCODER | DECODER),
        ("causal_lm", {"objective": "causal_lm"}, DECODER),
        ("causal_lm", PAIRS, DECODER),
        ("prefix_lm", {"objective": "prefix_lm"}, DECODER | {"decoder_causal_attention"}),
        ("prefix_lm", PAIRS, DECODER | {"decoder_causal_attention"}),
        ("masked_lm", {"objective": "masked_lm"}, ENCODER | {"encoder_target_tokens", "encoder_loss_weights"}),
        ("sequence_classifier", PAIRS | {"labels": ("no", "yes")}, ENCODER | {"target_labels", "label_weights"}),
    ],
)
def test_each_architecture_gets_the_features_that_it_reads(architecture, task, names):
    convert = pickle.loads(pickle.dumps(converter(architecture, **task)))  # as worker processes get it
    rows = ROWS | {"targets": ROWS["inputs"]} if architecture == "masked_lm" else ROWS
    assert convert(rows).keys() == names


@pytest.mark.parametrize("name", ["causal_lm", "prefix_lm", "encoder_decoder", "masked_lm"])
@pytest.mark.parametrize(
    ("tasks", "joins"),
    [
        ({"": {"objective": "causal_lm"}}, False),
        ({"": {"objective": "prefix_lm"}}, True),
        ({"": PAIRS}, True),
        ({"a": {"objective": "causal_lm"}, "b": PAIRS}, True),
    ],
)
def test_decoders_that_read_inputs_before_their_targets_read_the_eos_of_the_inputs_as_in_seqio(name, tasks, joins):
    each = {task: TaskConfig(**fields) for task, fields in tasks.items()}
    assert architecture_for(name, each).keeps_eos == (joins and name in ("causal_lm", "prefix_lm"))
    assert not architecture_for(name, each, follows_t5x=False).keeps_eos


@pytest.mark.parametrize(
    ("architecture", "task", "message"),
    [
        ("sequence_classifier", {}, r"task.inputs None does not suit .* sequence_classifier: give task.inputs"),
        ("token_classifier", PAIRS, r"task.labels is null, but a classifier needs labels"),
        ("sequence_classifier", PAIRS | {"labels": ("a", "b"), "packing": "best_fit"}, r"data.packing 'best_fit'"),
        ("masked_lm", {}, r"task.objective 'span_corruption' .* masked_lm: use masked_lm"),
        ("masked_lm", PAIRS, r"task.inputs '\{q\}'.*to train on plain text"),
        ("causal_lm", {"objective": "masked_lm"}, r"task.objective 'masked_lm'.*: use causal_lm"),
        ("prefix_lm", {"objective": "causal_lm"}, r"task.objective 'causal_lm'.*: use prefix_lm"),
    ],
)
def test_a_task_that_asks_for_something_else_is_refused(architecture, task, message):
    with pytest.raises(ValueError, match=message):
        converter(architecture, **task)


def test_a_stack_that_the_model_lacks_reads_no_tokens():
    assert stack_lengths({"encoder_input_tokens": (40,), "decoder_input_tokens": (12,)}) == (40, 12)
    assert stack_lengths({"decoder_input_tokens": (5, 12)}) == (0, 12)
