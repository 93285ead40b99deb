"""Tests t5x_lite/data/masked_lm.py"""

import numpy as np

from t5x_lite.data.masked_lm import encoder_only
from tests.data.test_converters import check, filled


def test_an_encoder_predicts_where_the_mask_is():
    rows = filled([{"inputs": [8, 9, 4, 9, 1], "targets": [8, 7, 4, 6, 1]}], False, inputs=6, targets=6)
    expected = {
        "encoder_input_tokens": [8, 9, 4, 9, 1, 0],
        "encoder_target_tokens": [8, 7, 4, 6, 1, 0],
        "encoder_loss_weights": [0, 1, 0, 1, 0, 0],
    }
    check(encoder_only(rows, mask_id=9), expected)
    own = np.array([[0, 1, 1, 0, 0, 0]])
    assert encoder_only(rows | {"loss_weights": own}, mask_id=9)["encoder_loss_weights"].tolist() == own.tolist()


def test_an_encoder_gets_several_examples_a_row():
    examples = [
        {"inputs": [8, 9, 9, 3, 4, 1], "targets": [8, 7, 4, 3, 4, 1]},
        {"inputs": [8, 3, 9, 1], "targets": [8, 3, 6, 1]},
    ]
    check(
        encoder_only(filled(examples, True, inputs=11, targets=11), mask_id=9),
        {
            "encoder_input_tokens": [8, 9, 9, 3, 4, 1, 8, 3, 9, 1, 0],
            "encoder_target_tokens": [8, 7, 4, 3, 4, 1, 8, 3, 6, 1, 0],
            "encoder_segment_ids": [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 0],
            "encoder_positions": [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 0],
            "encoder_loss_weights": [0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0],
        },
    )
