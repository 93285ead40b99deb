"""Tests t5x_lite/commands/attention/readings.py"""

import numpy as np
import pytest

from t5x_lite.commands.attention import readings
from t5x_lite.commands.attention.look import look_at
from tests.commands.attention.models import options, pretrained


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("encoder_decoder", {"layers": (0, 4)}, r"--layers is \[0, 4\], but this model has 4, numbered from 0"),
        ("masked_lm", {"layers": (2,)}, r"--layers is \[2\], but this model has 2"),
        ("causal_lm", {"heads": (3,)}, r"--heads is \[3\], but this model has 3"),
        ("encoder_decoder", {"text": "x" * 512}, r"--text has 513 tokens, EOS included, but at most 512 can be shown"),
        ("encoder_decoder", {"target": "x" * 600}, r"--target has 601 tokens"),
        ("causal_lm", {"target": "x" * 600}, r"--target has 601 tokens"),
        ("masked_lm", {"target": "xy"}, r"--target 'xy' has 2 tokens, but --text masks 0 with <extra_id_0>"),
        ("sequence_classifier", {"target": "great"}, r"--target 'great' is not a label of this model: use bad, fair, "),
        ("token_classifier", {"target": "odd"}, r"--target 'odd' has 1 labels, but --text has 2 words"),
        ("token_classifier", {"target": "odd great"}, r"--target 'great' is not a label"),
    ],
)
def test_a_wrong_option_is_one_message_with_the_remedy(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        look_at(pretrained(name), options(**wrong))


def test_decoding_stops_at_the_end(monkeypatch):
    monkeypatch.setattr(readings, "greedy_ids", lambda *_, **__: np.array([[9, 1, 0, 0]]))
    steps = look_at(pretrained("encoder_decoder"), options()).steps
    assert [step.chosen.token for step in steps] == ["<0x06>", "</s>"]
