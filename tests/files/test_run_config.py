"""Tests t5x_lite/files/run_config.py"""

import pytest
import yaml

from t5x_lite.config import ModelOptions, RunConfig, TrainConfig
from t5x_lite.files.checksum import with_first_line
from t5x_lite.files.run_config import read_run_config, resolved


def recorded(run_dir, fields):
    (run_dir / "config.yaml").write_text(yaml.safe_dump(fields))


def test_a_run_that_recorded_no_revision_has_the_first(tmp_path):
    assert read_run_config(tmp_path) is None
    recorded(tmp_path, {"seed": 3})
    assert read_run_config(tmp_path) == {"revision": 1, "seed": 3}
    recorded(tmp_path, {"revision": 2})
    assert read_run_config(tmp_path) == {"revision": 2}


@pytest.mark.parametrize(("fields", "revision"), [(None, 2), ({}, 1), ({"revision": 1}, 1), ({"revision": 2}, 2)])
def test_a_config_follows_the_rules_of_its_run_unless_it_says_which(tmp_path, fields, revision):
    if fields is not None:
        recorded(tmp_path, fields)
    assert resolved(RunConfig(run_dir="other"), tmp_path).revision == revision
    for given in (1, 2):
        assert resolved(RunConfig(run_dir="other", revision=given), tmp_path).revision == given


@pytest.mark.parametrize("revision", [3, "two", [1]])
def test_the_revision_of_a_newer_version_is_refused(tmp_path, revision):
    recorded(tmp_path, {"revision": revision})
    with pytest.raises(ValueError, match=r"revision is .*: use 1 or 2, or the newer t5x-lite"):
        resolved(RunConfig(run_dir="other"), tmp_path)


@pytest.mark.parametrize("content", [b"[1]", b"", b"a: [", b"a: \xff", b"a: &a {b: *a}", b"- " * 999, b"history: 3"])
def test_a_config_that_is_no_mapping_is_corrupt(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=r"config.yaml is corrupt: restore it, or name another run_dir"):
        read_run_config(tmp_path)


def test_the_history_of_a_config_is_not_one_of_its_fields(tmp_path):
    recorded(tmp_path, {"seed": 4, "history": [{"step": 5, "field": "seed", "old": 3, "new": 4}]})
    assert read_run_config(tmp_path) == {"revision": 1, "seed": 4}


def test_null_fields_have_the_values_that_the_run_recorded(tmp_path):
    began = {"train": {"batch_size": 7, "num_steps": 90}, "optimizer": {"learning_rate": 0.5}}
    recorded(tmp_path, began | {"model": {"pretrained": "flan", "dropout_rate": None}})
    cfg = resolved(RunConfig(run_dir=str(tmp_path), model=ModelOptions(pretrained="flan")), tmp_path)
    assert (cfg.train.batch_size, cfg.train.num_steps, cfg.optimizer.learning_rate) == (7, 90, 0.5)
    assert cfg.model.dropout_rate is None  # not fine-tuning's, which came later
    given = RunConfig(run_dir=str(tmp_path), train=TrainConfig(batch_size=8))
    assert resolved(given, tmp_path).train.batch_size == 8


def test_a_config_that_was_edited_is_read_and_told(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_bytes(with_first_line("seed: 3\n"))
    read_run_config(tmp_path)
    assert capsys.readouterr().err == ""
    path.write_bytes(path.read_bytes().replace(b"3\n", b"4\n"))
    assert read_run_config(tmp_path) == {"revision": 1, "seed": 4}
    assert f"{path} was changed after the run wrote it (edited, or damaged)" in capsys.readouterr().err


@pytest.mark.parametrize("section", [None, 3, "text", []])
def test_a_section_that_was_cut_off_has_no_fields(section, tmp_path):
    recorded(tmp_path, {"revision": 2, "optimizer": section})
    assert resolved(RunConfig(run_dir=str(tmp_path)), tmp_path).optimizer.learning_rate is not None
