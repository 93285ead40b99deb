"""Tests t5x_lite/inference/encode.py"""

import dataclasses

import jax
import numpy as np
import pytest

import t5x_lite
from t5x_lite.checkpoints.load import Pretrained, load, save_hf
from t5x_lite.config import MeshConfig
from t5x_lite.config.architectures import Architecture
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference.encode import Tokenised, batches, encode
from t5x_lite.inference.engine import for_decoding
from t5x_lite.model.sentence_head import Dense, SentenceHead
from t5x_lite.parallel.mesh import make_mesh
from tests import numpy_t5, tiny

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
TOKENIZER = ByteTokenizer()
TEXTS = ["one", "a much longer text than the others, of two sizes", "", "zwölf", "four"]


def pretrained(name="encoder", **fields):
    return Pretrained(tiny.drawn_by_name(name, CFG), TOKENIZER, CFG, 7, tiny.architecture(name), **fields)


def states(text, model=None):
    """hidden_SD of a text by an independent computation."""
    ids_1S = np.asarray([[*TOKENIZER.encode(text), TOKENIZER.eos_id]])
    return numpy_t5.encode(model or pretrained().model, ids_1S)[0]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_the_default_is_the_mean_of_the_tokens_of_length_1():
    vectors_NE = t5x_lite.encode(pretrained(), TEXTS, batch_size=2)
    assert (vectors_NE.shape, vectors_NE.dtype) == ((5, CFG.emb_dim), np.float32)
    np.testing.assert_allclose(vectors_NE, [unit(states(text).mean(axis=0)) for text in TEXTS], atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "first", "none"])
def test_neither_padding_nor_the_batch_changes_a_vector(pooling):
    texts = ["x" * (length * 37 % 300) for length in range(1, 24)]
    together = encode(pretrained(), texts, batch_size=8, pooling=pooling, normalise=True)
    for text, vectors in zip(texts[::5], together[::5], strict=True):
        np.testing.assert_allclose(encode(pretrained(), [text], pooling=pooling, normalise=True)[0], vectors, atol=1e-6)


def test_batches_of_long_texts_are_smaller_and_of_few_shapes():
    lengths = [9000, 1500, 1100, 1025, 1024, 600, 512, 300, 70, 40, *[17] * 6]
    texts = [Tokenised([1] * length, False) for length in lengths]
    made = list(batches(texts, 4, 1))
    assert [len(text.ids) for batch, _ in made for text in batch] == lengths
    assert [shape for _, shape in made] == [
        *((1, length) for length in (10240, 1536, 1280, 1280, 1024)),
        *((2, 640), (4, 320), (4, 32), (1, 32)),
    ]
    assert [shape for _, shape in batches(texts[:6], 8, 4)] == [(4, 10240), (4, 1024)]


def test_pooling_and_normalisation_can_be_chosen():
    first_NE = encode(pretrained(), TEXTS, pooling="first", normalise=False)
    np.testing.assert_allclose(first_NE, [states(text)[0] for text in TEXTS], atol=1e-4)
    for text, hidden_SD in zip(TEXTS, encode(pretrained(), TEXTS, pooling="none", batch_size=2), strict=True):
        np.testing.assert_allclose(hidden_SD, states(text), atol=1e-4)


def test_fewer_dimensions_are_normalised_again_unless_asked_not_to():
    whole_NE = encode(pretrained(), TEXTS, normalise=False)
    np.testing.assert_allclose(encode(pretrained(), TEXTS, dimensions=7), unit(whole_NE[:, :7]), atol=1e-6)
    np.testing.assert_allclose(encode(pretrained(), TEXTS, dimensions=7, normalise=False), whole_NE[:, :7], atol=1e-6)


def test_a_text_that_is_cut_is_reported(capsys):
    encode(pretrained(), TEXTS)
    assert capsys.readouterr().err == ""
    hidden = encode(pretrained(), TEXTS, max_tokens=5, pooling="none")
    assert [len(hidden_SD) for hidden_SD in hidden] == [4, 5, 1, 5, 5]
    assert capsys.readouterr().err == "2 of 5 texts were cut to max_tokens 5\n"
    np.testing.assert_allclose(hidden[1], states("a mu"), atol=1e-4)


def test_a_models_own_head_is_followed_and_overridden(capsys):
    kernel_DE = np.random.default_rng(1).normal(size=(CFG.emb_dim, 6)).astype(np.float32)
    head = SentenceHead(dense=(Dense(kernel_DE=kernel_DE),), normalise=False, max_tokens=5, prompt="> ")
    own = pretrained(head=head)
    np.testing.assert_allclose(encode(own, ["ab"]), [states("> ab").mean(axis=0) @ kernel_DE], atol=1e-4)
    np.testing.assert_allclose(encode(own, ["ab"], pooling="first"), [states("> ab")[0] @ kernel_DE], atol=1e-4)
    np.testing.assert_allclose(encode(own, ["ab"], pooling="none")[0], states("> ab"), atol=1e-4)
    encode(own, ["abc"])
    assert "1 of 1 texts were cut to max_tokens 5" in capsys.readouterr().err
    with pytest.raises(ValueError, match="dimensions is 7, but the model has 6: use at most that"):
        encode(own, ["a"], dimensions=7)
    assert encode(own, [], dimensions=4).shape == (0, 4)


@pytest.mark.parametrize("name", ["encoder_decoder", "masked_lm", "sequence_classifier", "token_classifier"])
def test_other_models_use_their_encoder(name):
    model = tiny.drawn_by_name(name, CFG)
    encoder = model if name == "encoder_decoder" else model.encoder
    expected_E = unit(states("one", encoder).mean(axis=0))
    np.testing.assert_allclose(encode(pretrained(name), ["one"]), [expected_E], atol=1e-5)
    np.testing.assert_allclose(encode(model, ["one"], tokenizer=TOKENIZER), [expected_E], atol=1e-5)


def test_a_directory_and_a_model_laid_out_for_decoding_are_taken(tmp_path):
    model = tiny.drawn_by_name("encoder_decoder", CFG)
    save_hf(model, TOKENIZER, tmp_path / "t5")
    expected_NE = encode(model, TEXTS, tokenizer=TOKENIZER)
    np.testing.assert_array_equal(encode(tmp_path / "t5", TEXTS), expected_NE)
    np.testing.assert_array_equal(encode(str(tmp_path / "t5"), iter(TEXTS)), expected_NE)
    np.testing.assert_allclose(encode(for_decoding(pretrained("encoder_decoder")), TEXTS), expected_NE, atol=1e-6)


@pytest.mark.parametrize("sizes", [{"data": 8}, {"data": 1, "fsdp": 2, "tensor": 4}, {"data": 2, "fsdp": 4}])
def test_parameters_on_a_mesh_stay_there(tmp_path, sizes):
    cfg = dataclasses.replace(CFG, num_heads=4, mlp_dim=16)
    model = tiny.drawn_by_name("encoder", cfg)
    save_hf(model, TOKENIZER, tmp_path / "encoder")
    mesh = make_mesh(MeshConfig(**sizes))
    sharded = load(tmp_path / "encoder", mesh)
    assert {leaf.sharding.mesh for leaf in jax.tree.leaves(sharded.model)} == {mesh}
    if sizes["data"] < 8:
        whole = sharded.model.encoder.blocks.mlp.wi_0[...]
        assert whole.addressable_shards[0].data.size == whole.size // (sizes["fsdp"] * sizes.get("tensor", 1))
    expected_NE = encode(model, TEXTS, tokenizer=TOKENIZER)
    np.testing.assert_allclose(encode(sharded, TEXTS, batch_size=3), expected_NE, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: encode(pretrained(), "one"), TypeError, "texts is a single text, 'one': pass a list"),
        (lambda: encode(pretrained("causal_lm"), ["a"]), ValueError, "the model is a causal_lm, which has no encoder"),
        (
            lambda: encode(pretrained().model, ["a"]),
            TypeError,
            "without a tokenizer: add tokenizer=",
        ),
        (
            lambda: encode(tiny.drawn_by_name("causal_lm", CFG), ["a"], tokenizer=TOKENIZER),
            ValueError,
            "model is a Decoder, which has no encoder",
        ),
        (
            lambda: encode(tiny.drawn_by_name("encoder", tiny.T5_1_1), ["a"], tokenizer=TOKENIZER),
            ValueError,
            "the model has vocab_size [0-9]+, but its tokenizer has 259 ids: use the tokenizer",
        ),
        (lambda: encode(pretrained(), ["a"], batch_size=0), ValueError, "batch_size is 0: use a whole number above 0"),
        (lambda: encode(pretrained(), ["a"], dimensions=21), ValueError, "dimensions is 21, but the model has 20"),
        (lambda: encode(pretrained(), ["a"], pooling="max"), ValueError, "pooling is 'max': use one of"),
        (lambda: encode(pretrained(), ["a"], pool="mean"), TypeError, "unexpected keyword argument 'pool'"),
    ],
)
def test_wrong_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_generation_with_an_encoder_alone_is_refused():
    assert Architecture("encoder").traits.has_encoder
    with pytest.raises(ValueError, match="the model is an encoder alone, which predicts nothing: use t5x-lite embed"):
        t5x_lite.generate(pretrained(), ["a"])
