"""Compares what a directory's weights mean here and in transformers: names of the embedding, classes and torch's files.

Needs torch and transformers (`pip install -e '.[parity]'`).
"""

import json
import shutil

import numpy as np
import pytest

from t5x_lite.checkpoints.hf.embedding import INPUTS, LM_HEAD, SHARED
from t5x_lite.checkpoints.torch_zip import read_header
from tests.checkpoints.hf.test_weights import GOLDEN
from tests.checkpoints.layouts import model_of, open_hf

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # of torch and transformers, which are not ours
NAMES = (SHARED, *INPUTS, LM_HEAD)


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("transformers", reason="needs the extra parity")
    return pytest.importorskip("torch", reason="needs the extra parity")


def logits_by_both(directory):
    """The logits of transformers' model and of ours, and whether each is tied."""
    import torch
    import transformers

    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32).eval()
    inputs_BS, decoder_inputs_BT = np.array([[5, 40, 9, 1], [7, 3, 1, 8]]), np.array([[0, 8, 60], [0, 2, 3]])
    with torch.no_grad():
        output = theirs(input_ids=torch.tensor(inputs_BS), decoder_input_ids=torch.tensor(decoder_inputs_BT))
    checkpoint = open_hf(directory)
    ours = model_of(checkpoint)(inputs_BS.astype(np.int32), decoder_inputs_BT.astype(np.int32))
    tied = theirs.lm_head.weight is theirs.decoder.embed_tokens.weight
    return (output.logits.numpy(), tied), (np.asarray(ours), checkpoint.config.tie_embeddings)


def assert_the_same(directory):
    (theirs, tied), (ours, ours_tied) = logits_by_both(directory)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert ours_tied == tied


def changed(directory, family, change, **fields):
    """A copy of a golden model with other tensors and fields of config.json."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(GOLDEN / family, directory)
    config = json.loads((directory / "config.json").read_text()) | fields
    (directory / "config.json").write_text(json.dumps(config))
    tensors = change(load_file(directory / "model.safetensors"))
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, directory / "model.safetensors")
    return directory


# The tables under NAMES: a is the golden embedding, b another one, and - none.
FORMS = ("a---", "-a--", "--a-", "---a", "a--a", "a--b", "-aaa", "--ab", "-a-b", "-aab", "aaaa", "aa-a", "baa-", "baab")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", ["t5", "mt5", "umt5"])
def test_the_embedding_is_the_one_of_transformers(torch, family, form, tmp_path):
    def change(tensors):
        tables = {"a": tensors[SHARED], "b": torch.randn(61, 12, generator=torch.Generator().manual_seed(3))}
        kept = {name: tensor for name, tensor in tensors.items() if name not in NAMES}
        return kept | {name: tables[letter] for name, letter in zip(NAMES, form, strict=True) if letter != "-"}

    for tie in (True, False):
        assert_the_same(changed(tmp_path / f"{tie}", family, change, tie_word_embeddings=tie))


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("t5", {"architectures": ["T5WithLMHeadModel"]}),
        ("t5", {"architectures": ["T5Model"]}),
        ("t5", {"architectures": None}),
        ("t5", {"architectures": "T5ForConditionalGeneration"}),
        ("t5", {"architectures": ["MT5ForConditionalGeneration"]}),
        ("t5", {"model_type": "mt5"}),
        ("mt5", {"architectures": ["T5ForConditionalGeneration"]}),
        ("mt5", {"model_type": "t5", "architectures": ["MT5Model"]}),
        ("umt5", {"architectures": ["UMT5Model"]}),
    ],
)
def test_any_class_is_the_model_that_transformers_opens(torch, family, fields, tmp_path):
    assert_the_same(changed(tmp_path / "x", family, lambda tensors: tensors, **fields))


def saved_by_torch(torch, directory, family, **options):
    """A golden model as `torch.save` stores its state_dict, in which tied tables share a storage."""
    import transformers

    shutil.copytree(GOLDEN / family, directory)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory)
    (directory / "model.safetensors").unlink()
    torch.save(model.state_dict(), directory / "pytorch_model.bin", **options)
    return directory


@pytest.mark.parametrize("family", ["t5", "t5_1_1", "mt5", "umt5", "ul2"])
def test_a_model_that_torch_saved_is_the_same(torch, family, tmp_path):
    assert_the_same(saved_by_torch(torch, tmp_path / "x", family))


def test_several_files_that_torch_saved_are_the_same(torch, tmp_path):
    directory = saved_by_torch(torch, tmp_path / "x", "t5")
    tensors = torch.load(directory / "pytorch_model.bin")
    (directory / "pytorch_model.bin").unlink()
    names = sorted(tensors)
    places = {name: f"pytorch_model-0000{number % 3 + 1}-of-00003.bin" for number, name in enumerate(names)}
    for file in set(places.values()):
        torch.save({name: tensors[name] for name in names if places[name] == file}, directory / file)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert_the_same(directory)


def test_safetensors_are_preferred_as_in_transformers(torch, tmp_path):
    directory = saved_by_torch(torch, tmp_path / "x", "t5")
    shutil.copy(GOLDEN / "t5" / "model.safetensors", directory)
    tensors = {name: tensor + 1 for name, tensor in torch.load(directory / "pytorch_model.bin").items()}
    torch.save(tensors, directory / "pytorch_model.bin")
    assert_the_same(directory)


def test_the_remedy_for_the_format_before_the_zip_one_works(torch, tmp_path):
    import transformers

    directory = saved_by_torch(torch, tmp_path / "x", "t5", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"in the format of torch before 1\.6"):
        open_hf(directory)
    transformers.AutoModelForSeq2SeqLM.from_pretrained(directory).save_pretrained(tmp_path / "new")
    assert_the_same(tmp_path / "new")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_every_view_of_a_storage_is_read_as_torch_reads_it(torch, dtype, tmp_path):
    whole = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    tensors = {
        "whole": whole,
        "transposed": whole.mT,
        "permuted": whole.permute(2, 0, 1),
        "stepped": whole[1::2, :, 1:3],
        "row": whole[3, 2],
        "number": whole[5, 4, 3],
        "ones": whole[2:3, 1:2],
        "flat": whole.flatten()[7:],
        "parameter": torch.nn.Parameter(whole[0]),
        "none": whole[:0],
    }
    torch.save(tensors, tmp_path / "x.bin")
    found = read_header(tmp_path / "x.bin")
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name].read().astype(np.float64), tensor.detach().double().numpy())


def test_tensors_that_are_repeated_or_no_weights_are_refused(torch, tmp_path):
    for tensor in (torch.ones(1).expand(5, 5), torch.ones(3, dtype=torch.complex64), torch.ones(3).to_sparse()):
        torch.save({"x": tensor}, tmp_path / "x.bin")
        with pytest.raises(ValueError, match=r"does not fit|which a dict of tensors does not need"):
            read_header(tmp_path / "x.bin")
