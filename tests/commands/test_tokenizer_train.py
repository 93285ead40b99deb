"""Tests t5x_lite/commands/tokenizer_train.py"""

import dataclasses
import gzip
import json
import os
import sys
import types

import pytest
import sentencepiece

from t5x_lite.commands import tokenizer_train
from t5x_lite.config.commands import TokenizerTrainConfig
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer

SENTENCES = [f"The {word} fox jumps over {n} lazy dogs." for word in ("quick", "brown") for n in range(9)]
NUM_SENTINELS, VOCAB_SIZE = 7, 47


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(SENTENCES))
    return tmp_path


def config(folder, *names, **fields):
    inputs = tuple(name if ":" in name or name == "docstrings" else str(folder / name) for name in names)
    fields = {"vocab_size": VOCAB_SIZE, "num_sentinels": NUM_SENTINELS} | fields
    return TokenizerTrainConfig(input=inputs, output=str(folder / "out" / "my.model"), **fields)


def trained(folder):
    return SentencePieceTokenizer.from_file(folder / "out" / "my.model", NUM_SENTINELS)


def texts(cfg):
    return list(tokenizer_train.read_texts(cfg, []))


def test_a_model_and_its_list_of_pieces_are_written_and_nothing_else(folder):
    tokenizer_train.run(config(folder, "a.txt"))
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["my.model", "my.vocab"]
    tokenizer = trained(folder)
    assert (tokenizer.vocab_size, tokenizer.num_sentinels) == (VOCAB_SIZE, NUM_SENTINELS)
    text = "The quick <extra_id_6> dogs."
    assert tokenizer.decode(tokenizer.encode(text)) == text
    listed = [line.split("\t")[0] for line in (folder / "out" / "my.vocab").read_text().splitlines()]
    assert listed[:3] == ["<pad>", "</s>", "<unk>"]
    assert len(listed) == VOCAB_SIZE - NUM_SENTINELS


def test_the_report_says_what_was_read_and_written(folder, capsys):
    tokenizer_train.run(config(folder, "a.txt", text_unit="line", max_bytes=400, model_type="bpe", vocab_size=60))
    out, err = capsys.readouterr()
    size = sum(map(len, SENTENCES))
    read, wrote, quality, example, cut, use = out.splitlines()
    assert read.startswith(f"Read 18 documents, {size} bytes; trained on ")
    assert 300 < int(read.split()[-3]) <= 400
    assert wrote.endswith("my.model: 53 bpe pieces, 60 ids with 7 sentinels")
    assert " bytes per token; 0.000% of the tokens are unknown" in quality
    sentence = example.removeprefix("For example   ")
    assert sentence in SENTENCES
    assert cut == "is split into " + " ".join(trained(folder).pieces(sentence))
    assert use.endswith("my.model --task.tokenizer.num_sentinels 7")
    assert err.splitlines()[0] == f"Reading {folder / 'a.txt'}"


def test_the_quality_is_measured_on_the_text(folder, capsys):
    (folder / "a.txt").write_text("\n".join([*SENTENCES * 20, "\u4e16"]))
    tokenizer_train.run(config(folder, "a.txt", character_coverage=0.99, model_type="bpe", vocab_size=60))
    quality = capsys.readouterr().out.splitlines()[2]
    rows = trained(folder).encode_batch([*SENTENCES * 20, "\u4e16"])
    num_tokens, num_unknown = sum(map(len, rows)), sum(row.tolist().count(2) for row in rows)
    assert num_unknown > 1
    num_bytes = 20 * sum(map(len, SENTENCES)) + 3
    assert (
        quality
        == f"{num_bytes / num_tokens:.2f} bytes per token; {num_unknown / num_tokens:.3%} of the tokens are unknown"
    )


def test_an_existing_file_is_replaced_only_on_request(folder):
    for name in ("my.model", "my.vocab"):
        (folder / "out").mkdir(exist_ok=True)
        (folder / "out" / name).write_text("precious")
        with pytest.raises(ValueError, match=rf"--output: .*{name} exists: name another file, or add --overwrite$"):
            tokenizer_train.run(config(folder, "a.txt"))
        assert (folder / "out" / name).read_text() == "precious"
        tokenizer_train.run(config(folder, "a.txt", overwrite=True))
        assert trained(folder).vocab_size == VOCAB_SIZE
        (folder / "out" / "my.model").unlink()
        (folder / "out" / "my.vocab").unlink()


def test_a_directory_is_refused_as_output(folder):
    (folder / "out" / "my.model").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"--output .*my.model is a directory: name a file, such as .*english.model"):
        tokenizer_train.run(config(folder, "a.txt", overwrite=True))


def test_every_kind_of_source_is_read(folder, monkeypatch):
    rows = [{"title": f"t{i}", "body": f"b{i}"} for i in range(3)]
    lines = "\n".join(map(json.dumps, rows))
    (folder / "b.jsonl").write_text(lines)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "b.csv").write_text("t0,b0\nt1,b1\nt2,b2\n")
    (folder / "b.txt").write_text("t0: b0\nt1: b1\n\nt2: b2\n")
    monkeypatch.setitem(sys.modules, "own", types.SimpleNamespace(rows=lambda: rows))
    expected = ["t0: b0", "t1: b1", "t2: b2"]
    template = {"text": "{title}: {body}"}
    assert texts(config(folder, "b.jsonl", **template)) == expected
    assert texts(config(folder, "b.jsonl.gz", **template)) == expected
    assert texts(config(folder, "b.csv", columns=("title", "body"), **template)) == expected
    assert texts(config(folder, "own:rows", **template)) == expected
    assert texts(config(folder, "b.txt", text_unit="line")) == expected
    assert texts(config(folder, "b.txt", text_unit="paragraph")) == ["t0: b0\nt1: b1", "t2: b2"]
    assert texts(config(folder, "b.jsonl", "own:rows", **template)) == expected + expected


@pytest.mark.parametrize("source", ["", '"""  """', "def f(): 'short'[0]"])
def test_packages_without_docstrings_are_named_and_no_option_of_others(folder, source, monkeypatch):
    (folder / "undocumented.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(ValueError, match=r"^--packages undocumented have no docstring: name other packages$"):
        tokenizer_train.run(config(folder, "docstrings", packages=("undocumented",)))


def test_docstrings_of_the_given_packages_are_read(folder):
    found = texts(config(folder, "docstrings", packages=("heapq",)))
    assert any("heap" in text for text in found)
    assert any(len(text) < 200 for text in found)
    assert len(found) < len(texts(config(folder, "docstrings", packages=("heapq", "json"))))


def test_records_are_read_one_at_a_time(folder):
    (folder / "a.jsonl").write_text('{"text": "first"}\nbroken\n')
    stream = tokenizer_train.read_texts(config(folder, "a.jsonl"), [])
    assert next(stream) == "first"
    with pytest.raises(ValueError, match=r"a.jsonl line 2 is not valid JSON"):
        next(stream)


def test_bad_records_end_the_training_or_are_counted(folder, capsys):
    lines = [json.dumps({"text": text}) for text in SENTENCES]
    (folder / "a.jsonl").write_text("\n".join([*lines, '{"body": "x"}', "broken"]))
    (folder / "empty.txt").write_text("")
    with pytest.raises(ValueError, match=r"line 19 has no field 'text', which --text '{text}' uses; .*--bad_rec"):
        tokenizer_train.run(config(folder, "a.jsonl"))
    assert not (folder / "out").exists()
    tokenizer_train.run(config(folder, "a.jsonl", "empty.txt", bad_records="skip"))
    skipped = capsys.readouterr().err.splitlines()[2]
    assert skipped.startswith("Skipped 3 bad records or files; the first: ")
    assert "empty.txt is empty: fill or remove it" in skipped
    assert trained(folder).vocab_size == VOCAB_SIZE


def test_errors_name_the_options_of_this_command(folder):
    with pytest.raises(ValueError, match=r"^--input '.*nowhere.txt' matches no file: name a file, a folder"):
        tokenizer_train.run(config(folder, "nowhere.txt"))
    with pytest.raises(ValueError, match=r"^cannot train a vocabulary of --vocab_size 5000 ids \(7 sentinels\)"):
        tokenizer_train.run(config(folder, "a.txt", vocab_size=5_000))


def test_only_fields_are_renamed_and_not_files():
    message = "task.source 'data/task.text' and task.text.gz of task.text_unit, task.other, mytask.text"
    assert tokenizer_train.options_named(message) == (
        "--input 'data/task.text' and task.text.gz of --text_unit, task.other, mytask.text"
    )


def test_the_model_has_the_given_type(folder):
    tokenizer_train.run(config(folder, "a.txt", model_type="bpe", vocab_size=330, byte_fallback=True))
    spec = trained(folder)
    assert spec.pieces("\u4e16")[-3:] == ["<0xE4>", "<0xB8>", "<0x96>"]
    scores = [line.split("\t")[1] for line in (folder / "out" / "my.vocab").read_text().splitlines()]
    assert scores[3 + 256 : 3 + 256 + 4] == [
        "-0",
        "-1",
        "-2",
        "-3",
    ]  # merges are numbered; unigram has log-probabilities


@pytest.mark.parametrize(("source", "output"), [("a.txt", "a.txt"), ("b.txt", "hard.model"), ("b.txt", "soft.x")])
def test_no_source_is_overwritten_even_on_request(folder, source, output):
    (folder / "b.txt").write_text("mine")
    os.link(folder / "b.txt", folder / "hard.model")
    os.symlink("b.txt", folder / "soft.vocab")
    cfg = dataclasses.replace(config(folder, source, overwrite=True), output=str(folder / output))
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(ValueError, match=r"^--output .* is .*, which is read"):
        tokenizer_train.run(cfg)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_the_pieces_are_listed_as_sentencepiece_lists_them(tmp_path):
    options = {"vocab_size": 40, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "minloglevel": 2}
    prefix = tmp_path / "theirs"
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(SENTENCES), model_prefix=str(prefix), **options)
    listing = tokenizer_train.pieces_and_scores(prefix.with_suffix(".model").read_bytes())
    assert listing == prefix.with_suffix(".vocab").read_text()
    assert listing.count("\n") == 40
