"""Tests t5x_lite/checkpoints/extend.py"""

import dataclasses

import numpy as np
import pytest

from t5x_lite.checkpoints import extend
from t5x_lite.checkpoints.extend import extend_vocabulary
from t5x_lite.checkpoints.weights import LazyModel, reader
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer, ByteTokenizer
from t5x_lite.model.architectures import ENCODER_DECODER
from t5x_lite.parallel.param_paths import named_leaves
from tests import tiny

TOKENIZER = ByteAndSentinelTokenizer(10)  # 269 ids


def lazy(cfg, tokenizer=TOKENIZER):
    model = tiny.model(cfg)
    return model, LazyModel(cfg, ENCODER_DECODER, tokenizer, 7, np.dtype(np.float32), reader(model))


@pytest.mark.parametrize("rows", ["mean", "zero"])
@pytest.mark.parametrize("family", [tiny.T5_1_1, tiny.T5_1_0])
@pytest.mark.parametrize(
    ("num_rows", "num_new", "grown"), [(384, 3, 384), (272, 3, 272), (272, 4, 384), (269, 130, 512)]
)
@pytest.mark.parametrize("part_size", [40, 2**24])
def test_new_rows_are_the_mean_of_all_tokens_or_zero(family, rows, num_rows, num_new, grown, part_size, monkeypatch):
    monkeypatch.setattr(extend, "PART_SIZE", part_size)
    cfg = dataclasses.replace(family, vocab_size=num_rows)
    model, before = lazy(cfg)
    after = extend_vocabulary(before, TOKENIZER, [f"<{i}>" for i in range(num_new)], rows)
    assert (after.config.vocab_size, after.tokenizer.vocab_size, after.step) == (grown, 269 + num_new, 7)
    old, new = named_leaves(model), named_leaves(after.load())
    assert old.keys() == new.keys()
    for name, array in new.items():
        if name not in ("embedding", "logits_kernel"):
            np.testing.assert_array_equal(array, old[name])
            continue
        ours_VD, before_VD = (np.asarray(x) if name == "embedding" else np.asarray(x).T for x in (array, old[name]))
        assert len(ours_VD) == grown
        value_D = before_VD[:269].mean(0, dtype=np.float64) * (rows == "mean")
        np.testing.assert_array_equal(ours_VD[:269], before_VD[:269])
        np.testing.assert_allclose(ours_VD[269 : 269 + num_new], value_D[None].repeat(num_new, 0), rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(ours_VD[269 + num_new : num_rows], before_VD[269 + num_new :])
        np.testing.assert_allclose(ours_VD[num_rows:], np.broadcast_to(value_D, ours_VD[num_rows:].shape), rtol=1e-6)


def test_any_slice_of_a_table_is_the_whole_ones():
    after = extend_vocabulary(lazy(dataclasses.replace(tiny.T5_1_1, vocab_size=272))[1], TOKENIZER, list("\n\t\r\v"))
    D = tiny.T5_1_1.emb_dim
    whole_VD = after.read("embedding", (slice(0, 384), slice(0, D)))
    whole_DV = after.read("logits_kernel", (slice(0, D), slice(0, 384)))
    for begin, end in ((0, 5), (260, 271), (269, 270), (270, 384), (274, 380), (5, 300)):
        part = slice(begin, end), slice(1, D - 2)
        np.testing.assert_array_equal(after.read("embedding", part), whole_VD[part])
        np.testing.assert_array_equal(after.read("logits_kernel", part[::-1]), whole_DV[part[::-1]])


def test_byt5s_new_tokens_follow_its_rows():
    byt5 = ByteTokenizer()
    after = extend_vocabulary(lazy(dataclasses.replace(tiny.T5_1_1, vocab_size=384), byt5)[1], byt5, ["<hl>"])
    assert (after.config.vocab_size, after.tokenizer.encode("<hl>")) == (512, [384])


@pytest.mark.parametrize("texts", [["<extra_id_3>"], ["<extra_id_99>"], ["<old>"], ["</s>"]])
def test_a_token_that_is_there_already_is_refused(texts):
    old = extend_vocabulary(lazy(dataclasses.replace(tiny.T5_1_1, vocab_size=384))[1], TOKENIZER, ["<old>"])
    with pytest.raises(ValueError, match=r"model.added_tokens has '<.*>', which is already a token of the vocabulary"):
        extend_vocabulary(old, old.tokenizer, texts)


@pytest.mark.parametrize("texts", [[""], ["a", "a"]])
def test_texts_that_cannot_be_tokens_are_refused(texts):
    with pytest.raises(ValueError, match=r"model.added_tokens is \[.*\]: .* cannot have the added token"):
        extend_vocabulary(lazy(dataclasses.replace(tiny.T5_1_1, vocab_size=384))[1], TOKENIZER, texts)
