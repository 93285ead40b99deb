"""Tests t5x_lite/checkpoints/sentence.py against sentence-transformers, stored in `hf/golden_encoders/` and live."""

import importlib
import json
import shutil
import sys

import ml_dtypes
import numpy as np
import pytest

from t5x_lite.checkpoints import native
from t5x_lite.checkpoints.hf.weights import save_model
from t5x_lite.checkpoints.load import load, open_pretrained
from t5x_lite.checkpoints.weight_files import open_weights
from t5x_lite.config.architectures import ENCODER
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference.encode import encode
from tests.checkpoints.hf.test_architecture import GOLDEN, renamed
from tests.checkpoints.torch_files import torch_file
from tests.paths import ROOT

NAMES = ("sentence_t5", "first_token")
TEXTS = ("A dog.", " Ein Hund läuft über die Straße, 犬も歩く ", "", "x" * 60, "e = mc²\tand\nmore", "B")


@pytest.fixture
def directory(tmp_path):
    """A copy of a directory of sentence-transformers: mean, a dense layer without bias, and normalisation."""
    shutil.copytree(GOLDEN / "sentence_t5", tmp_path / "st5")
    return tmp_path / "st5"


def edit(path, change):
    """Changes the JSON in a file: fields to replace, or a function of the whole."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) if callable(change) else content | change))


def stored(path):
    return {name: tensor.read() for name, tensor in open_weights(path).items()}


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_sentence_transformers(name):
    expected_BE = np.load(GOLDEN / name / "expected.npz")["embeddings_BE"]
    np.testing.assert_allclose(encode(GOLDEN / name, TEXTS, batch_size=4), expected_BE, rtol=1e-4, atol=1e-4)


def test_the_head_is_what_the_files_say():
    mean, first = (open_pretrained(GOLDEN / name).head for name in NAMES)
    assert (mean.pooling, mean.normalise, mean.max_tokens, mean.prompt) == ("mean", True, 24, "")
    assert [(dense.kernel_DE.shape, dense.bias_E, dense.activation) for dense in mean.dense] == [
        ((12, 10), None, "identity")
    ]
    assert (first.pooling, first.normalise) == ("first", False)
    assert [(dense.bias_E.shape, dense.activation) for dense in first.dense] == [((7,), "tanh")]
    assert load(GOLDEN / "first_token").architecture == ENCODER


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("save", [save_model, native.save_model])
def test_there_and_back_is_bit_identical(name, save, tmp_path):
    lazy = open_pretrained(GOLDEN / name)
    save(tmp_path / "out", lazy, lazy.tokenizer, dtype=lazy.dtype)
    again = open_pretrained(tmp_path / "out")
    assert (again.config, again.architecture) == (lazy.config, ENCODER)
    for field in ("pooling", "normalise", "max_tokens", "prompt"):
        assert getattr(again.head, field) == getattr(lazy.head, field)
    for place in ("2_Dense", *([""] if save is save_model else [])):
        before, after = stored(GOLDEN / name / place), stored(tmp_path / "out" / place)
        assert before.keys() == after.keys()
        for tensor in before:
            np.testing.assert_array_equal(before[tensor], after[tensor], err_msg=tensor)
    np.testing.assert_array_equal(encode(tmp_path / "out", TEXTS), encode(GOLDEN / name, TEXTS))


@pytest.mark.parametrize("save", [save_model, native.save_model])
def test_a_dense_layer_keeps_its_dtype_beside_an_encoder_in_half_precision(directory, save, tmp_path):
    """As in sentence-t5-xxl."""
    renamed(directory, lambda name: [name], np.float16)
    lazy = open_pretrained(directory)
    assert lazy.dtype == np.float16
    for dtype, kept in ((lazy.dtype, np.float32), (np.dtype(ml_dtypes.bfloat16), ml_dtypes.bfloat16)):
        save(tmp_path / dtype.name, lazy, lazy.tokenizer, dtype=dtype)
        [weight] = stored(tmp_path / dtype.name / "2_Dense").values()
        assert weight.dtype == kept
    np.testing.assert_array_equal(
        stored(tmp_path / "float16" / "2_Dense")["linear.weight"], stored(directory / "2_Dense")["linear.weight"]
    )


def test_the_files_of_older_versions_are_read(directory):
    """As in sentence-transformers/sentence-t5-base: other names of modules and pooling, and a folder of its own."""
    expected_BE = encode(directory, TEXTS)
    edit(directory / "1_Pooling" / "config.json", lambda _: {
        "word_embedding_dimension": 12, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
    })  # fmt: skip
    (directory / "0_Transformer").mkdir()
    for path in [*directory.glob("*.json"), *directory.glob("*.safetensors")]:
        if path.name != "modules.json":
            path.rename(directory / "0_Transformer" / path.name)
    (directory / "0_Transformer" / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')

    def old(modules):
        names = ("Transformer", "Pooling", "Dense", "Normalize")
        for module, name in zip(modules, names, strict=True):
            module["type"] = f"sentence_transformers.models.{name}"
        modules[0]["path"] = "0_Transformer"
        return modules

    edit(directory / "modules.json", old)
    np.testing.assert_array_equal(encode(directory, TEXTS), expected_BE)
    assert load(directory).config.emb_dim == 12


def test_a_dense_layer_may_be_stored_by_torch(directory):
    """As sentence-t5-base stored it for years."""
    expected_BE = encode(directory, TEXTS)
    weight = next(iter(stored(directory / "2_Dense").values()))
    (directory / "2_Dense" / "model.safetensors").unlink()
    torch_file(directory / "2_Dense" / "pytorch_model.bin", {"linear.weight": weight})
    np.testing.assert_array_equal(encode(directory, TEXTS), expected_BE)


def test_the_default_prompt_is_put_before_every_text(directory, tmp_path):
    plain_BE = encode(directory, ["query: a", "query: b"])
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    edit(directory / "config_sentence_transformers.json", prompts)
    np.testing.assert_array_equal(encode(directory, ["a", "b"]), plain_BE)
    lazy = open_pretrained(directory)
    save_model(tmp_path / "out", lazy, ByteTokenizer(), dtype=lazy.dtype)
    np.testing.assert_array_equal(encode(tmp_path / "out", ["a", "b"]), plain_BE)


def test_a_tokenizer_without_a_limit_cuts_nothing(directory):
    edit(directory / "tokenizer_config.json", {"model_max_length": 10**30})
    assert open_pretrained(directory).head.max_tokens is None
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    assert open_pretrained(directory).head.max_tokens == 7


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("modules.json", lambda m: m[:1], "has no Pooling after its Transformer"),
        ("modules.json", lambda m: m[1:], "does not begin with a Transformer"),
        ("modules.json", lambda m: {"a": 1}, "is not a list of modules"),
        ("modules.json", lambda m: [m[i] for i in (0, 1, 3, 2)], "has 'Dense' where it is not supported"),
        ("modules.json", lambda m: [*m, m[1] | {"type": "x.LSTM"}], "has 'LSTM' where it is not supported"),
        ("modules.json", lambda m: [m[0], m[1] | {"path": "../1_Pooling"}], "has the path '../1_Pooling'"),
        ("modules.json", lambda m: [m[0], m[1] | {"path": ".."}], r"has the path '\.\.'"),
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "has the pooling mode 'max': only mean and cls are"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "cls"]}, "has the pooling mode"),
        ("1_Pooling/config.json", {"include_prompt": False}, "has include_prompt false"),
        ("2_Dense/config.json", {"activation_function": "torch.nn.GELU"}, "has activation_function 'GELU': use one of"),
        ("2_Dense/config.json", {"use_residual": True}, "has a residual connection"),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "other features than sentence_embedding"),
        ("tokenizer_config.json", {"model_max_length": "many"}, "has model_max_length 'many': it must be a number"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "has do_lower_case true, which is not supported"),
        ("config_sentence_transformers.json", {"default_prompt_name": "x"}, "'x', which is not one of its prompts"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_in_one_line(directory, file, change, message):
    edit(directory / file, change)
    with pytest.raises(ValueError, match=message) as error:
        open_pretrained(directory)
    assert "\n" not in str(error.value)


def test_a_dense_layer_of_another_size_is_refused(directory):
    shutil.copy(directory / "model.safetensors", directory / "2_Dense" / "model.safetensors")
    with pytest.raises(ValueError, match="but a Dense has linear"):
        open_pretrained(directory)
    shutil.copytree(GOLDEN / "sentence_t5" / "2_Dense", directory / "2_Dense", dirs_exist_ok=True)
    shutil.copytree(directory / "2_Dense", directory / "again")
    edit(directory / "modules.json", lambda modules: [*modules[:3], modules[2] | {"path": "again"}])
    with pytest.raises(ValueError, match=r"has linear.weight of shape \[10, 12\] for 10 features"):
        open_pretrained(directory)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_live_sentence_transformers_agrees_and_opens_what_is_written(name, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="needs the extra parity")
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        script = importlib.import_module("make_golden_encoders")
    finally:
        sys.path.pop(0)
    script.write_sentence_encoder(name, tmp_path / name, seed=5)
    expected_BE = np.load(tmp_path / name / "expected.npz")["embeddings_BE"]
    np.testing.assert_allclose(encode(tmp_path / name, TEXTS), expected_BE, rtol=1e-4, atol=1e-4)
    lazy = open_pretrained(tmp_path / name)
    save_model(tmp_path / "out", lazy, lazy.tokenizer, dtype=lazy.dtype)
    opened = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    np.testing.assert_allclose(script.embeddings(opened), expected_BE, rtol=1e-5, atol=1e-5)
