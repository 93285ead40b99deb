"""Tests t5x_lite/checkpoints/hf/architecture.py; `golden_encoders/` is by make_golden_encoders.py."""

import json
import pathlib
import shutil

import ml_dtypes
import numpy as np
import pytest

from t5x_lite.checkpoints.hf.architecture import read_architecture
from t5x_lite.checkpoints.hf.weights import save_model, save_weights
from t5x_lite.checkpoints.load import load, save_hf
from t5x_lite.checkpoints.safetensors import write_tensors
from t5x_lite.checkpoints.weight_files import open_weights
from t5x_lite.checkpoints.weights import LazyModel, reader
from t5x_lite.config.architectures import ENCODER, ENCODER_DECODER, Architecture
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.encoder import Encoder, TokenClassifier
from tests import numpy_t5, tiny
from tests.checkpoints.layouts import files_of, open_hf

GOLDEN = pathlib.Path(__file__).parent / "golden_encoders"
ENCODERS, TOKENS = ("t5", "t5_1_1", "mt5", "umt5"), ("t5_tokens", "umt5_tokens")
LABELS = ("O", "B-PER", "I-PER", "B-LOC")


def copied(name, directory, **changes):
    """A golden directory with other fields in its config; None removes one."""
    shutil.copytree(GOLDEN / name, directory)
    fields = json.loads((directory / "config.json").read_text()) | changes
    fields = {field: value for field, value in fields.items() if value is not None}
    (directory / "config.json").write_text(json.dumps(fields))
    return directory


def renamed(directory, rename, dtype=np.float32):
    """Rewrites the weights of a directory with other names, as many names for a tensor as `rename` gives."""
    arrays = {new: t.read() for name, t in open_weights(directory).items() for new in rename(name)}
    shapes = {name: array.shape for name, array in arrays.items()}
    write_tensors(directory / "model.safetensors", shapes, lambda name: iter([arrays[name]]), np.dtype(dtype))
    return directory


def stored(directory):
    return {name: tensor.read() for name, tensor in open_weights(directory).items()}


def assert_same_output(name, directory):
    expected = np.load(directory / "expected.npz")
    inputs_BS = expected["inputs_BS"]
    output = np.asarray(open_hf(directory).load()(inputs_BS))
    is_token_BS = inputs_BS != 0
    np.testing.assert_allclose(output[is_token_BS], expected["output"][is_token_BS], rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("name", ENCODERS + TOKENS)
def test_hidden_states_and_logits_are_hugging_faces(name):
    assert_same_output(name, GOLDEN / name)
    lazy = open_hf(GOLDEN / name)
    assert lazy.architecture == (Architecture("token_classifier", LABELS) if name in TOKENS else ENCODER)
    assert lazy.config.relative_bias_per_layer == name.startswith("umt5")


@pytest.mark.parametrize("name", ["t5_1_1", "umt5"])
def test_hidden_states_are_those_of_an_independent_computation(name):
    expected = np.load(GOLDEN / name / "expected.npz")
    encoded_BSD = numpy_t5.encode(open_hf(GOLDEN / name).load(), expected["inputs_BS"])
    is_token_BS = expected["inputs_BS"] != 0
    np.testing.assert_allclose(encoded_BSD[is_token_BS], expected["output"][is_token_BS], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ENCODERS + TOKENS)
def test_there_and_back_is_bit_identical(name, tmp_path):
    lazy = open_hf(GOLDEN / name)
    with files_of(4_000):
        save_model(tmp_path / "out", lazy, ByteTokenizer(), dtype=lazy.dtype)
    again = open_hf(tmp_path / "out")
    assert (again.config, again.architecture) == (lazy.config, lazy.architecture)
    before, after = stored(GOLDEN / name), stored(tmp_path / "out")
    assert before.keys() == after.keys()
    for tensor in before:
        np.testing.assert_array_equal(before[tensor], after[tensor], err_msg=tensor)
    assert not (tmp_path / "out" / "generation_config.json").exists()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_stays_as_it_is(dtype, tmp_path):
    source = renamed(copied("umt5", tmp_path / "half"), lambda name: [name], dtype)
    lazy = open_hf(source)
    assert lazy.dtype == dtype
    save_model(tmp_path / "out", lazy, ByteTokenizer(), dtype=lazy.dtype)
    for name, array in stored(source).items():
        np.testing.assert_array_equal(stored(tmp_path / "out")[name], array)


def test_a_copy_of_the_embedding_is_allowed(tmp_path):
    """As version 4 of transformers wrote the encoder of Wan."""
    copies = {"shared.weight": ["shared.weight", "encoder.embed_tokens.weight"]}
    directory = copied("umt5", tmp_path / "wan", is_encoder_decoder=True, tie_word_embeddings=False)
    assert_same_output("umt5", renamed(directory, lambda name: copies.get(name, [name])))


def test_a_class_of_an_encoder_leaves_the_decoder_out_and_says_so(tmp_path, capsys):
    extra = {"shared.weight": ["shared.weight", "decoder.embed_tokens.weight", "lm_head.weight"]}
    directory = renamed(copied("t5_1_1", tmp_path / "whole"), lambda name: extra.get(name, [name]))
    assert_same_output("t5_1_1", directory)
    assert "is an encoder: decoder.embed_tokens.weight, lm_head.weight are left out" in capsys.readouterr().err


def test_without_a_class_the_weights_decide(tmp_path):
    assert open_hf(copied("t5", tmp_path / "t5", architectures=None)).architecture == ENCODER
    assert read_architecture(tmp_path, {}, ["shared.weight", "decoder.final_layer_norm.weight"]) == ENCODER_DECODER


@pytest.mark.parametrize("family", ["T5", "MT5", "UMT5"])
@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (
            "ForSequenceClassification",
            "a head on the decoder's last state, but ours reads the mean",
        ),
        ("ForQuestionAnswering", "a head that marks spans, which t5x_lite does not have: train an encoder_decoder"),
    ],
)
def test_a_head_of_another_form_is_refused_in_one_line(family, ending, message, tmp_path):
    directory = copied("t5", tmp_path / "other", architectures=[f"{family}{ending}"])
    with pytest.raises(ValueError, match=message) as error:
        open_hf(directory)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("id2label", "message"),
    [
        ({"0": "a"}, "must name two or more labels"),
        ({"0": "a", "2": "b"}, "must name two or more labels"),
        ({"0": "a", "1": 7}, "must name two or more labels"),
        (["a", "b"], "must name two or more labels"),
        ({"0": "a", "1": "a"}, "give each label a different name"),
        ({"0": "a", "1": "b"}, r"has classifier.weight of shape \[4, 12\], not \[2, 12\]"),
        (None, r"has classifier.weight of shape \[4, 12\], not \[2, 12\]"),
    ],
)
def test_labels_that_do_not_suit_the_weights_are_refused(id2label, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        open_hf(copied("t5_tokens", tmp_path / "wrong", id2label=id2label))


def test_the_labels_that_transformers_does_not_write_are_its_default_ones():
    fields = {"architectures": ["T5ForTokenClassification"]}
    assert read_architecture(pathlib.Path("x"), fields, []).labels == ("LABEL_0", "LABEL_1")


def test_save_hf_writes_an_encoder_and_load_reads_it(tmp_path):
    encoder = tiny.drawn(Encoder, tiny.ModelConfig(vocab_size=384, emb_dim=12, num_heads=2, head_dim=5, mlp_dim=14))
    save_hf(encoder, ByteTokenizer(), tmp_path / "out")
    found = load(tmp_path / "out")
    assert (found.architecture, type(found.model)) == (ENCODER, Encoder)
    inputs_BS = tiny.ids(2, 7)
    np.testing.assert_array_equal(found.model(inputs_BS), encoder(inputs_BS))
    with pytest.raises(TypeError, match=r"the model is a TokenClassifier, but save_hf takes a T5 or an Encoder"):
        save_hf(tiny.drawn(TokenClassifier, encoder.cfg, 3), ByteTokenizer(), tmp_path / "head")


def test_an_architecture_that_transformers_does_not_have_is_not_written(tmp_path):
    decoder = tiny.drawn(Decoder, tiny.T5_1_1)
    with pytest.raises(ValueError, match="is a causal_lm, but --format hf supports only encoder-decoders"):
        save_weights(
            tmp_path, tiny.T5_1_1, reader(decoder), dtype=np.dtype("float32"), architecture=Architecture("causal_lm")
        )
    lazy = LazyModel(tiny.T5_1_1, Architecture("masked_lm"), None, 0, np.dtype("float32"), reader(decoder))
    with pytest.raises(ValueError, match=r"is a masked_lm, .* save its encoder alone with t5x_lite.save_hf"):
        save_model(tmp_path / "out", lazy, ByteTokenizer(), dtype=lazy.dtype)
