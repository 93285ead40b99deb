"""Tests that what README.md shows of Flan-T5 runs, on a tiny model of the same form."""

import dataclasses
import json
import pathlib
import re
import shlex

import pytest

import t5x_lite
from t5x_lite import cli
from t5x_lite.checkpoints.hf.config import read_json
from t5x_lite.data.tokenizers import SentencePieceTokenizer
from t5x_lite.data.tokenizers.train import train_sentencepiece_model
from t5x_lite.parallel.param_paths import named_leaves
from tests import tiny
from tests.paths import ROOT

README = (ROOT / "README.md").read_text()
TEXT = ["Answer the question: what is the boiling point of water? 100 degrees, nothing else <of> that."] * 9


def snippets() -> list[tuple[str, str]]:
    """The first four blocks of code under "Use a model", with their languages."""
    section = README[README.index("## Use a model") :]
    return re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)[:4]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the snippets find the model and the questions that they name."""
    monkeypatch.chdir(tmp_path)
    cfg = dataclasses.replace(t5x_lite.presets["flan_t5_small"], vocab_size=256, emb_dim=16, num_heads=4, head_dim=5)
    cfg = dataclasses.replace(cfg, mlp_dim=24, num_encoder_layers=2, num_decoder_layers=1)
    tokenizer = SentencePieceTokenizer(train_sentencepiece_model(TEXT, vocab_size=140), 100)
    t5x_lite.save_hf(tiny.drawn(t5x_lite.T5, cfg), tokenizer, "flan-t5-small")
    records = [{"question": f"what is {n} and {n}?", "answer": str(2 * n)} for n in range(60)]
    pathlib.Path("questions.jsonl").write_text("\n".join(map(json.dumps, records)))
    return tmp_path


@pytest.mark.slow
def test_a_flan_t5_is_loaded_asked_trained_on_and_exported(folder, capsys):
    languages, codes = zip(*snippets(), strict=True)
    assert languages == ("python", "python", "bash", "bash")
    names: dict = {}
    for code in codes[:2]:
        exec(code, names)
    assert type(names["flan"].model) is t5x_lite.T5
    (answer,) = eval(capsys.readouterr().out)
    assert answer == t5x_lite.generate(names["flan"], ["Answer the question: what is the boiling point of water?"])[0]
    (scored,) = re.findall(r"```python\n(.*?)```", README[README.index("## Ask") :], re.DOTALL)[:1]
    exec(scored, names)
    assert re.fullmatch(r"(True|False) [\d.e+]+\n(yes|no)\n", capsys.readouterr().out)
    train, convert = (shlex.split(code.replace("\\\n", "")) for code in codes[2:])
    assert (train[:2], convert[:2]) == (["t5x-lite", "train"], ["t5x-lite", "convert"])
    assert cli.main([*train[1:], "--train.num_steps", "2"]) == 0
    assert cli.main(convert[1:]) == 0
    exported = t5x_lite.load("flan-t5-small-mine")
    assert exported.tokenizer.vocab_size == names["flan"].tokenizer.vocab_size
    before, after = (named_leaves(loaded.model) for loaded in (names["flan"], exported))
    assert before.keys() == after.keys()
    assert all((before[name] != after[name]).any() for name in ("embedding", "logits_kernel"))
    assert read_json(folder / "flan-t5-small-mine" / "config.json")["model_type"] == "t5"
