"""Compares encoders alone with those of transformers, made afresh; needs torch and transformers (the extra parity)."""

import importlib
import sys

import numpy as np
import pytest

from t5x_lite.checkpoints.hf.weights import save_model
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests import numpy_t5
from tests.checkpoints.hf.test_architecture import ENCODERS, TOKENS, assert_same_output, renamed
from tests.checkpoints.layouts import open_hf
from tests.paths import ROOT

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # of torch and transformers, which are not ours
# The forms in which umT5's encoder is distributed: with either name of its embedding, or both.
FORMS = {
    "shared": ["shared.weight"],
    "embed_tokens": ["encoder.embed_tokens.weight"],
    "both": ["shared.weight", "encoder.embed_tokens.weight"],
}


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """The script, and the directory it wrote into with another seed than that of the stored files."""
    pytest.importorskip("torch", reason="needs the extra parity")
    pytest.importorskip("transformers", reason="needs the extra parity")
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        script = importlib.import_module("make_golden_encoders")
    finally:
        sys.path.pop(0)
    directory = tmp_path_factory.mktemp("golden")
    for name in ENCODERS + TOKENS:
        script.write_encoder(name, directory / name, seed=5)
    return script, directory


@pytest.mark.parametrize("name", ENCODERS + TOKENS)
def test_a_fresh_encoder_computes_what_hugging_faces_does(golden, name):
    assert_same_output(name, golden[1] / name)


@pytest.mark.parametrize("name", ENCODERS + TOKENS)
def test_transformers_opens_what_is_exported_and_computes_the_same(golden, name, tmp_path):
    import transformers

    script, directory = golden
    lazy = open_hf(directory / name)
    save_model(tmp_path / "out", lazy, ByteTokenizer(), dtype=lazy.dtype)
    kind = "UMT5" if lazy.config.relative_bias_per_layer else "T5"
    kind += "ForTokenClassification" if name in TOKENS else "EncoderModel"
    opened, report = getattr(transformers, kind).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    expected = np.load(directory / name / "expected.npz")
    np.testing.assert_allclose(
        script.compute(opened.eval(), seed=5)["output"], expected["output"], rtol=1e-6, atol=1e-6
    )
    if name in TOKENS:
        assert tuple(opened.config.id2label.values()) == lazy.architecture.labels


@pytest.mark.parametrize("form", FORMS)
def test_umt5s_encoder_is_transformers_and_an_independent_computations(golden, form, tmp_path):
    """Early releases of version 5 lost its embedding; 5.24 does not."""
    import transformers

    script, directory = golden
    model = transformers.UMT5EncoderModel.from_pretrained(directory / "umt5")
    model.save_pretrained(tmp_path / "wan")
    renamed(tmp_path / "wan", lambda name: FORMS[form] if name == "shared.weight" else [name])
    theirs = script.compute(transformers.UMT5EncoderModel.from_pretrained(tmp_path / "wan").eval(), seed=5)
    is_token_BS = theirs["inputs_BS"] != 0
    independent_BSD = numpy_t5.encode(open_hf(directory / "umt5").load(), theirs["inputs_BS"])
    ours_BSD = np.asarray(open_hf(tmp_path / "wan").load()(theirs["inputs_BS"]))
    for other_BSD in (independent_BSD, ours_BSD):
        np.testing.assert_allclose(other_BSD[is_token_BS], theirs["output"][is_token_BS], rtol=1e-4, atol=1e-4)
