"""Tests t5x_lite/data/corpus/prepare.py"""

import dataclasses
import gzip
import json

import numpy as np
import pytest

from t5x_lite.config import MixtureConfig, TaskConfig, TokenizerConfig
from t5x_lite.data import tokenizers as tokenizer_module
from t5x_lite.data.corpus import tokenize as tokenize_module
from t5x_lite.data.corpus.open import is_prepared, open_corpora
from t5x_lite.data.corpus.prepare import prepare_corpora, prepare_text
from t5x_lite.data.corpus.tokenize import tokenize_portions
from t5x_lite.data.records.rows import is_held_out
from t5x_lite.data.sources.docstrings import read_docstrings
from t5x_lite.data.task_specs import resolve_tasks
from t5x_lite.data.tokenizers import load_tokenizer
from t5x_lite.data.tokenizers.bytes import ByteTokenizer

BYTES = TaskConfig(
    packages=("json", "heapq"), min_characters=50, eval_percent=20.0, tokenizer=TokenizerConfig(kind="bytes")
)
PIECES = dataclasses.replace(BYTES, tokenizer=TokenizerConfig(vocab_size=300, num_sentinels=30))


def prepare_corpus(task, directory, **options):
    """The corpus of a task that is no mixture."""
    return prepare_corpora(resolve_tasks(task), directory, **options)[""]


def read(split):
    """All ids of a split."""
    (ids,) = split.tokens.read(np.array([0]), np.array([len(split.tokens)]))
    return ids


def divided(texts, percent):
    """The texts that are learned from, and those that are held out."""
    sides = {False: [], True: []}
    for text in texts:
        sides[is_held_out(text, percent)].append(text)
    return sides[False], sides[True]


def test_the_corpus_is_the_concatenated_documents_without_separators(tmp_path):
    train, evaluation = divided(read_docstrings(BYTES.packages, 50), 20.0)
    corpus = prepare_corpus(BYTES, tmp_path)
    encode = ByteTokenizer().encode
    assert read(corpus.train).tolist() == encode("".join(train))
    assert read(corpus.eval).tolist() == encode("".join(evaluation))
    assert (corpus.train.num_documents, corpus.eval.num_documents) == (len(train), len(evaluation))
    assert corpus.num_characters == len("".join(train + evaluation))
    assert np.diff(corpus.eval.ends_EF[:, 0], prepend=0).tolist() == [len(encode(text)) for text in evaluation]
    assert not corpus.has_pairs


def test_a_second_run_loads_without_reading_the_source(tmp_path, monkeypatch):
    first = prepare_corpus(PIECES, tmp_path)
    monkeypatch.setattr(tokenize_module, "open_source", lambda *_: pytest.fail("read again"))
    messages = []
    second = prepare_corpus(PIECES, tmp_path, announce=messages.append)
    np.testing.assert_array_equal(read(first.train), read(second.train))
    np.testing.assert_array_equal(read(first.eval), read(second.eval))
    assert second.tokenizer.encode("iterator") == first.tokenizer.encode("iterator")
    assert second.num_characters == first.num_characters
    assert messages == []


def test_a_trained_tokenizer_is_kept_in_the_run_directory(tmp_path):
    corpus = prepare_corpus(PIECES, tmp_path)
    assert (tmp_path / "tokenizer.model").is_file()
    loaded = load_tokenizer(tmp_path)
    assert (loaded.vocab_size, loaded.num_sentinels) == (300, 30)
    assert loaded.encode("a heap") == corpus.tokenizer.encode("a heap")


def test_a_tokenizer_given_by_path_is_copied(tmp_path):
    prepare_corpus(PIECES, tmp_path / "first")
    path = tmp_path / "first" / "tokenizer.model"
    given = dataclasses.replace(PIECES, tokenizer=TokenizerConfig(path=str(path), num_sentinels=30))
    prepare_corpus(given, tmp_path / "second")
    assert (tmp_path / "second" / "tokenizer.model").read_bytes() == path.read_bytes()


def test_the_slow_stages_are_announced(tmp_path):
    messages = []
    prepare_corpus(PIECES, tmp_path, announce=messages.append)
    source = "the docstrings of json, heapq"
    assert messages[:2] == [f"Training a vocabulary of 300 ids on {source}", f"Tokenising {source}"]
    assert messages[2].startswith("Tokenised ")


SHARD = "train-00000-of-00001.array_record"


@pytest.mark.parametrize("dies_at", ["manifest.json", "tokenizer.model", "vocabulary.json", SHARD, "source-00000.json"])
def test_a_run_killed_at_any_file_is_completed_by_the_next(dies_at, tmp_path, monkeypatch):
    """Dies with half of one file written, as a kill in the middle of writing it does."""
    whole = prepare_corpus(PIECES, tmp_path / "whole")
    real = tokenizer_module.os.replace
    seen = []

    def replace(temporary, path):
        seen.append(path.name)
        # The manifest is written twice: first what is asked for, at the end the counts.
        if path.name == dies_at and (dies_at != "manifest.json" or seen.count("manifest.json") == 2):
            content = temporary.read_bytes()
            temporary.write_bytes(content[: len(content) // 2])
            raise KeyboardInterrupt
        real(temporary, path)

    with monkeypatch.context() as patch:
        patch.setattr(tokenizer_module.os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            prepare_corpus(PIECES, tmp_path / "killed")
    again = prepare_corpus(PIECES, tmp_path / "killed")
    np.testing.assert_array_equal(read(again.train), read(whole.train))
    np.testing.assert_array_equal(read(again.eval), read(whole.eval))
    assert again.tokenizer.encode("a heap") == whole.tokenizer.encode("a heap")


def test_the_error_of_another_task_names_the_field(tmp_path):
    prepare_corpus(BYTES, tmp_path)
    for field, other in [("min_characters", 60), ("packages", ("json",)), ("eval_percent", 30.0)]:
        message = rf"task.{field} is .*, but the text in .*was prepared with .*use another directory"
        with pytest.raises(ValueError, match=message):
            prepare_corpus(dataclasses.replace(BYTES, **{field: other}), tmp_path)
    with pytest.raises(
        ValueError, match=r"task.tokenizer.kind is sentencepiece, but .* was prepared with bytes: use another directory"
    ):
        prepare_corpus(PIECES, tmp_path)


def test_a_failed_attempt_can_be_corrected(tmp_path):
    wrong = dataclasses.replace(BYTES, tokenizer=TokenizerConfig(path=str(tmp_path / "nowhere.model")))
    with pytest.raises(FileNotFoundError, match=r"nowhere.model does not exist"):
        prepare_corpus(wrong, tmp_path)
    assert prepare_corpus(BYTES, tmp_path).tokenizer.vocab_size == ByteTokenizer().vocab_size


def test_a_tokenizer_left_by_a_failed_attempt_with_other_settings_is_replaced(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tokenize_module.PortionTokenizer, "tokenize", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare_corpus(BYTES, tmp_path)
    assert prepare_corpus(PIECES, tmp_path).tokenizer.vocab_size == 300


def test_portions_left_by_a_failed_attempt_with_another_template_are_not_reused(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"a": f"A{i}", "b": f"B{i}"}) + "\n" for i in range(40)))
    first = dataclasses.replace(BYTES, source=str(tmp_path / "a.jsonl"), text="{a}", min_characters=1)

    def tokenize_half(preparation):
        portions = preparation.portions(2)
        tokenize_portions(preparation, portions[:1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_text(resolve_tasks(first), tmp_path / "made", tokenize=tokenize_half)
    second = resolve_tasks(dataclasses.replace(first, text="{b}"))
    prepare_text(second, tmp_path / "made", tokenize=lambda made: tokenize_portions(made, made.portions(2)))
    text = ByteTokenizer().decode(read(open_corpora(second, tmp_path / "made", tmp_path / "made")[""].train).tolist())
    assert "A" not in text


def test_the_objective_may_change_in_a_run_directory(tmp_path):
    first = prepare_corpus(BYTES, tmp_path)
    second = prepare_corpus(dataclasses.replace(BYTES, noise_density=0.3, mean_noise_span_length=5.0), tmp_path)
    np.testing.assert_array_equal(read(first.train), read(second.train))


def test_the_manifest_counts_what_is_there(tmp_path):
    corpus = prepare_corpus(PIECES, tmp_path)
    manifest = json.loads((tmp_path / "corpus" / "manifest.json").read_text())
    assert manifest["num_train_tokens"] == len(corpus.train.tokens)
    assert manifest["num_eval_tokens"] == len(corpus.eval.tokens)
    assert manifest["task"]["packages"] == ["json", "heapq"]


def test_json_lines_are_tokenised_and_unused_records_are_reported(tmp_path):
    texts = [f"document {i} is long enough" for i in range(40)]
    lines = [json.dumps({"title": "T", "body": text}) for text in texts]
    content = "\n".join([*lines, "{broken", '{"body": "short"}']).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content))
    task = dataclasses.replace(
        BYTES, source=str(tmp_path / "a.jsonl.gz"), text="{body}", min_characters=10, bad_records="skip"
    )
    messages = []
    corpus = prepare_corpus(task, tmp_path / "run", announce=messages.append)
    train, evaluation = divided(texts, 20.0)
    assert read(corpus.train).tolist() == ByteTokenizer().encode("".join(train))
    assert read(corpus.eval).tolist() == ByteTokenizer().encode("".join(evaluation))
    assert messages[0] == f"Tokenising {tmp_path / 'a.jsonl.gz'}"
    assert messages[1] == "Left out 1 documents shorter than task.min_characters 10"
    assert messages[2].startswith("Skipped 1 bad records or files; the first: ")
    assert "a.jsonl.gz line 41 is not valid JSON" in messages[2]
    assert not (tmp_path / "run" / "corpus" / "sources").exists()


def test_a_supervised_task_keeps_where_each_side_ends(tmp_path):
    (tmp_path / "train.csv").write_text("label,review\n0,bad\n1,very good\n")
    (tmp_path / "held_out.jsonl").write_text('{"label": 1, "review": "fine"}\n{"label": 0, "review": " "}\n')
    task = TaskConfig(
        source=str(tmp_path / "train.csv"),
        eval_source=str(tmp_path / "held_out.jsonl"),
        inputs="review: {review}",
        targets="{label}",
        choices={"0": "negative", "1": "positive"},
        tokenizer=TokenizerConfig(kind="bytes"),
    )
    corpus = prepare_corpus(task, tmp_path / "run")
    assert corpus.has_pairs
    text = ByteTokenizer().decode(read(corpus.train).tolist())
    assert text == "review: badnegativereview: very goodpositive"
    assert corpus.train.ends_EF.tolist() == [[11, 19], [36, 44]]
    assert corpus.eval.ends_EF.tolist() == [[12, 20], [29, 37]]
    assert corpus.train.references == ()
    (references,) = corpus.eval.references
    lines = [json.loads(line) for line in references.read_text().splitlines()]
    assert lines == [{"targets": "positive"}, {"targets": "negative"}]
    assert prepare_corpus(task, tmp_path / "run").train.ends_EF.tolist() == [[11, 19], [36, 44]]
    with pytest.raises(ValueError, match=r"task.choices is \{'0': 'no', '1': 'yes'\}, but the text in"):
        prepare_corpus(dataclasses.replace(task, choices={"0": "no", "1": "yes"}), tmp_path / "run")


def test_empty_pairs_are_left_out_and_counted(tmp_path):
    rows = [*({"q": f"q{i}", "a": f"a{i}"} for i in range(20)), {"q": " ", "a": "a"}, {"q": "q", "a": ""}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = dataclasses.replace(BYTES, source=str(tmp_path / "a.jsonl"), inputs="{q}", targets="{a}")
    messages = []
    corpus = prepare_corpus(task, tmp_path / "run", announce=messages.append)
    assert corpus.train.num_documents + corpus.eval.num_documents == 20
    assert messages[1:] == [
        "Left out 2 pairs with empty inputs or targets",
        "Tokenised 20 pairs, 100 characters, into 100 tokens",
    ]


MIXTURE = TaskConfig(
    mixture=MixtureConfig(
        tasks={
            "json": TaskConfig(packages=("json",), min_characters=50, eval_percent=20.0),
            "more": TaskConfig(
                mixture=MixtureConfig(
                    tasks={"heapq": TaskConfig(packages=("heapq",), min_characters=9, eval_percent=30.0)}
                )
            ),
        }
    ),
    tokenizer=TokenizerConfig(vocab_size=300, num_sentinels=30),
)


def test_the_tasks_of_a_mixture_have_a_corpus_each_and_one_tokenizer(tmp_path):
    messages = []
    corpora = prepare_corpora(resolve_tasks(MIXTURE), tmp_path, announce=messages.append)
    assert list(corpora) == ["json", "more/heapq"]
    assert messages[0] == "Training a vocabulary of 300 ids on the docstrings of json, the docstrings of heapq"
    assert messages[1] == "json: Tokenising the docstrings of json"
    for name, packages in {"json": ("json",), "more/heapq": ("heapq",)}.items():
        alone = dataclasses.replace(BYTES, packages=packages)
        text = "".join(read_docstrings(alone.packages, 50 if name == "json" else 9))
        assert corpora[name].num_characters == len(text)
        assert (tmp_path / "corpus" / name / "manifest.json").is_file()
        assert corpora[name].tokenizer.encode("heap") == load_tokenizer(tmp_path).encode("heap")
    assert is_prepared(resolve_tasks(MIXTURE), tmp_path)


def test_a_mixture_is_reopened_and_the_error_of_another_names_the_field(tmp_path, monkeypatch):
    prepare_corpora(resolve_tasks(MIXTURE), tmp_path)
    monkeypatch.setattr(tokenize_module, "open_source", lambda *_: pytest.fail("read again"))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    prepare_corpora(resolve_tasks(MIXTURE), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times
    tasks = dict(MIXTURE.mixture.tasks)
    tasks["json"] = dataclasses.replace(tasks["json"], eval_percent=40.0)
    other = dataclasses.replace(MIXTURE, mixture=dataclasses.replace(MIXTURE.mixture, tasks=tasks))
    with pytest.raises(ValueError, match=r"task.mixture.tasks.json.eval_percent is 40.0, but the text in .* with 20.0"):
        prepare_corpora(resolve_tasks(other), tmp_path)
    rates = dataclasses.replace(MIXTURE.mixture, rates={"json": 1, "more": 3})
    prepare_corpora(resolve_tasks(dataclasses.replace(MIXTURE, mixture=rates)), tmp_path)  # is not about the text


def test_errors_name_the_task_of_the_mixture(tmp_path):
    tasks = dict(MIXTURE.mixture.tasks) | {"short": TaskConfig(packages=("heapq",), min_characters=10_000)}
    mixture = dataclasses.replace(MIXTURE.mixture, tasks=tasks)
    task = dataclasses.replace(MIXTURE, mixture=mixture, tokenizer=TokenizerConfig(kind="bytes"))
    with pytest.raises(ValueError, match=r"task.mixture.tasks.short: task.packages heapq have no docstring"):
        prepare_corpora(resolve_tasks(task), tmp_path)
