"""Tests t5x_lite/evaluation/api.py"""

import dataclasses
import hashlib
import json
import pickle

import numpy as np
import pytest

from t5x_lite.checkpoints.load import load
from t5x_lite.config import RunConfig, TaskConfig, TokenizerConfig
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.corpus.tokenize import Preparation
from t5x_lite.data.task_specs import resolve_tasks
from t5x_lite.data.tokenizers import tokenizer_hash
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.evaluation import api
from t5x_lite.evaluation.api import HELD_OUT, check_tokenizer, evaluate
from t5x_lite.evaluation.metrics import Reference, TargetScore, measure
from t5x_lite.inference.score import score
from t5x_lite.training.run_dir import RunDirectory
from tests import tiny
from tests.held_out import config, make_run, pairs, prepared, text, write_lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("measured"))


def files(directory):
    return {path: hashlib.md5(path.read_bytes()).digest() for path in directory.rglob("*") if path.is_file()}


def test_the_run_directory_of_a_running_training_is_not_changed(folder):
    before = files(folder / "run")
    with RunDirectory(folder / "run"):
        in_use = files(folder / "run")
        for task in (pairs(folder, metrics=("accuracy",)), text(folder)):
            evaluate(folder / "run", config(folder, task))
        assert files(folder / "run") == in_use
    assert before.keys() == in_use.keys()


def test_the_text_of_a_run_is_not_used_with_another_tokenizer(folder):
    task, home = pairs(folder), folder / "run"
    assert api.stored_corpora(resolve_tasks(task), home, tokenizer_hash(home)).keys() == {""}
    assert api.stored_corpora(resolve_tasks(task), home, "of another") == {}


def test_the_same_text_is_held_out_as_in_training(folder, tmp_path):
    task = text(folder)
    whole, held_out = tmp_path / "whole", tmp_path / "held_out"
    for directory, options in ((whole, {}), (held_out, {"splits": HELD_OUT})):
        directory.mkdir()
        corpora = prepare_corpora(resolve_tasks(task), directory, **options)
        split = corpora[""].eval
        ids = split.tokens.read(np.array([0]), np.array([len(split.tokens)]))[0]
        if directory == whole:
            expected, num_train = ids, corpora[""].train.num_documents
    np.testing.assert_array_equal(ids, expected)
    assert num_train > 30
    assert corpora[""].train.num_documents == 0
    assert not list((held_out / "corpus").glob("train-*"))
    sent = pickle.loads(pickle.dumps(Preparation(task, held_out, held_out, HELD_OUT)))
    assert sent.splits == HELD_OUT


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"source": "one.jsonl"}, r"task.source .*one.jsonl has no held-out documents: task.eval_percent is 0.1"),
        (
            {"eval_source": "empty.jsonl"},
            r"task.eval_source .*empty.jsonl has no held-out documents: left out 1 doc",
        ),
    ],
)
def test_a_task_without_held_out_text_is_refused(task, message, folder):
    write_lines(folder / "one.jsonl", [{"text": "a document of some length"}])
    write_lines(folder / "empty.jsonl", [{"text": ""}])
    named = {field: str(folder / name) for field, name in task.items()}
    with pytest.raises(ValueError, match=message):
        evaluate(folder / "run", config(folder, text(folder, **{"eval_percent": 0.1} | named), targets_length=None))


@pytest.mark.slow
def test_several_devices_do_not_change_the_results(folder, monkeypatch):
    meshes, make_mesh = [], api.make_mesh
    monkeypatch.setattr(api, "make_mesh", lambda *args: (meshes.append(make_mesh(*args)), meshes[-1])[1])
    cfg = config(folder, pairs(folder, metrics=("accuracy",)))
    shared = dataclasses.replace(cfg, train=dataclasses.replace(cfg.train, batch_size=4))  # by 4 of 8
    one, four = evaluate(folder / "run", cfg), evaluate(folder / "run", shared)
    assert [mesh.size for mesh in meshes] == [1, 4]
    assert one.keys() == four.keys()
    for name in one:
        assert four[name] == pytest.approx(one[name], rel=1e-5)


@pytest.mark.slow
def test_a_model_has_the_results_of_its_directory(folder, tmp_path):
    cfg = config(folder)
    loaded = load(folder / "run")
    expected = evaluate(str(folder / "run"), cfg)
    assert evaluate(loaded, cfg) == expected
    assert evaluate(loaded.model, cfg) == expected
    elsewhere = dataclasses.replace(cfg, run_dir=str(tmp_path))  # the tokenizer is that of the config then
    assert evaluate(loaded.model, elsewhere) == expected
    untold = dataclasses.replace(elsewhere, task=pairs(folder, tokenizer=TokenizerConfig()))
    assert evaluate(loaded, untold) == expected
    with pytest.raises(ValueError, match="the model has no tokenizer"):
        evaluate(loaded.model, untold)
    with pytest.raises(ValueError, match=r"the tokenizer has 259 ids, but the model has 128: pass the run directory"):
        evaluate(tiny.model(tiny.T5_1_1), elsewhere)


def two_choices(record):
    """A record as examples for rank classification: its word, which is right, and another."""
    words = ["seven", record["word"]][:: 1 if int(record["n"]) % 2 else -1]
    question = {"inputs": f"spell: {record['n']}", "group": record["n"], "weight": 0.5 + int(record["n"])}
    return [question | {"targets": word, "is_correct": word != "seven"} for word in words]


def test_choices_are_ranked_by_the_scores_the_model_gives_their_texts(folder):
    fields = {"preprocess": f"{__name__}:two_choices", "inputs": "{inputs}", "targets": "{targets}"}
    names = ("rank_classification:2", "rank_classification_by_token", "score_auc", "group_mean:score_auc")
    results = evaluate(folder / "run", config(folder, pairs(folder, metrics=names, **fields)))
    records = [json.loads(line) for line in (folder / "held.jsonl").read_text().split("\n")]
    examples = [example for record in records for example in two_choices(record)]
    scores = score(load(folder / "run"), *([example[side] for example in examples] for side in ("inputs", "targets")))
    references = [
        Reference(x["targets"], group=x["group"], is_correct=x["is_correct"], weight=x["weight"], number=number)
        for number, x in enumerate(examples)
    ]
    values = [TargetScore(one.log_likelihood, len(one.log_probs)) for one in scores]
    expected = measure(names, [], references, values)
    assert {"rank_classification/auc_roc", "score_auc/pr"} <= expected.keys()
    assert {name: results[f"eval/{name}"] for name in expected} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("model", [None, 3, b"run", ["run"]])
def test_what_is_no_model_or_no_config_is_refused(model, folder):
    cfg = config(folder)
    with pytest.raises(TypeError, match=rf"^model is of type {type(model).__name__}: pass a run directory"):
        evaluate(model, cfg)
    if model is not None:  # which is the run's own config
        with pytest.raises(TypeError, match=rf"^config is of type {type(model).__name__}: pass a t5x_lite.RunConfig"):
            evaluate(folder / "run", model)


def test_a_missing_targets_length_is_refused(folder):
    with pytest.raises(ValueError, match=r"train.targets_length is null.* the longest targets have 7 tokens"):
        evaluate(folder / "run", config(folder, pairs(folder, source="not read"), targets_length=None))


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({}, True),
        ({"kind": "bytes"}, True),
        ({"kind": "bytes", "num_sentinels": 9}, False),
        ({"kind": "bytes_and_sentinels"}, False),
        ({"vocab_size": 259}, False),
    ],
)
def test_a_tokenizer_other_than_the_models_is_refused(asked, fits, folder):
    cfg = config(folder, pairs(folder, tokenizer=TokenizerConfig(**asked)))
    if fits:
        assert evaluate(folder / "run", cfg)["eval/loss"] > 0
        return
    with pytest.raises(ValueError, match=r"task.tokenizer is .*another one \(bytes, 259 ids\): leave task.tokeniz"):
        evaluate(folder / "run", cfg)


class Trained(ByteTokenizer):
    """Stands for a vocabulary that was trained."""

    kind = "sentencepiece"


def test_a_trained_vocabulary_is_recognised_by_its_size(tmp_path):
    trained = Trained(100)
    check_tokenizer(TokenizerConfig(vocab_size=259), trained, "digest", tmp_path)
    with pytest.raises(ValueError, match=r"task.tokenizer is {'vocab_size': 512}, but the model was trained with"):
        check_tokenizer(TokenizerConfig(vocab_size=512), trained, "digest", tmp_path)


def test_a_run_does_not_need_the_original_vocabulary_file(tmp_path):
    gone = TokenizerConfig(path="gone/spiece.model")
    tokenizer = ByteTokenizer(100)
    tokenizer.save(tmp_path)
    digest = tokenizer_hash(tmp_path)
    cfg = RunConfig(run_dir=str(tmp_path), task=TaskConfig(tokenizer=gone))
    RunDirectory(tmp_path).record(cfg, 0)
    check_tokenizer(gone, tokenizer, digest, tmp_path)
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("    added_tokens: null\n", ""))  # as in older runs
    assert (tmp_path / "config.yaml").read_text() != text
    check_tokenizer(gone, tokenizer, digest, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"gone/spiece.model"):
        check_tokenizer(gone, tokenizer, "of another model", tmp_path)


def test_text_prepared_with_another_tokenizer_is_refused(folder, tmp_path):
    task = prepared(folder, tmp_path, tokenizer=TokenizerConfig(kind="bytes_and_sentinels"))
    with pytest.raises(ValueError, match=r"task.prepared .* was prepared with a tokenizer other than the model's"):
        evaluate(folder / "run", config(folder, task))


def test_metrics_of_prepared_plain_text_are_refused(folder, tmp_path):
    task = prepared(folder, tmp_path, inputs=None, targets=None, text="{n} {word}", min_characters=1)
    with pytest.raises(ValueError, match=r"task.metrics is accuracy, but the task is plain text"):
        evaluate(folder / "run", config(folder, task))
