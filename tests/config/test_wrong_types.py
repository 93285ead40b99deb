"""Tests t5x_lite/config/wrong_types.py"""

import numpy as np
import pytest

from t5x_lite.config import TrainConfig
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.config.wrong_types import check_types


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GenerationConfig(max_new_tokens=2.5), "max_new_tokens is 2.5: use a whole number"),
        (lambda: GenerationConfig(temperature="1"), "temperature is '1': use a number"),
        (lambda: GenerationConfig(num_beams=True), "num_beams is True: use a whole number"),
        (lambda: GenerationConfig(forced_prefix=3), "forced_prefix is 3: use text"),
    ],
)
def test_a_value_of_another_type_is_refused_in_words(make, message):
    with pytest.raises(TypeError, match=f"^{message}$"):
        make()


def test_numbers_of_numpy_and_whole_numbers_for_others_are_accepted():
    cfg = GenerationConfig(max_new_tokens=np.int64(3), temperature=np.float32(0.5), top_p=1)
    assert (cfg.max_new_tokens, cfg.top_p) == (3, 1)


def test_a_union_lists_what_it_takes():
    with pytest.raises(TypeError, match=r"^train\.targets_length is '7': use a whole number or null$"):
        check_types(_train("7"), "train.")


def _train(length):
    cfg = TrainConfig()
    object.__setattr__(cfg, "targets_length", length)
    return cfg
