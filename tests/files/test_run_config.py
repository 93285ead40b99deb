"""Tests t5x_lite/files/run_config.py"""

import pytest
import yaml

from t5x_lite.config import RunConfig
from t5x_lite.files.run_config import read_run_config, with_revision


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
    assert with_revision(RunConfig(run_dir="other"), tmp_path).revision == revision
    for given in (1, 2):
        assert with_revision(RunConfig(run_dir="other", revision=given), tmp_path).revision == given


@pytest.mark.parametrize("revision", [3, "two", [1]])
def test_the_revision_of_a_newer_version_is_refused(tmp_path, revision):
    recorded(tmp_path, {"revision": revision})
    with pytest.raises(ValueError, match=r"revision is .*: use 1 or 2, or the newer t5x-lite"):
        with_revision(RunConfig(run_dir="other"), tmp_path)


@pytest.mark.parametrize("content", [b"[1]", b"", b"a: [", b"a: \xff", b"a: &a {b: *a}", b"- " * 999, b"history: 3"])
def test_a_config_that_is_no_mapping_is_corrupt(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=r"config.yaml is corrupt: restore it, or name another run_dir"):
        read_run_config(tmp_path)


def test_the_history_of_a_config_is_not_one_of_its_fields(tmp_path):
    recorded(tmp_path, {"seed": 4, "history": [{"step": 5, "field": "seed", "old": 3, "new": 4}]})
    assert read_run_config(tmp_path) == {"revision": 1, "seed": 4}
