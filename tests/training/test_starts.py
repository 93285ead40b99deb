"""Tests t5x_lite/training/starts.py"""

import json

import pytest

from t5x_lite.files.checksum import with_key
from t5x_lite.training.starts import read_starts


@pytest.mark.parametrize(
    ("content", "starts"),
    [
        ('{"python": "3.12.1", "starts": [{"python": "3.11.1"}, {"python": "3.12.1"}]}', ["3.11.1", "3.12.1"]),
        ('{"python": "3.11.1"}', ["3.11.1"]),  # of an older version
    ],
)
def test_the_starts_are_listed_oldest_first(tmp_path, content, starts):
    (tmp_path / "environment.json").write_text(content)
    assert [start["python"] for start in read_starts(tmp_path / "environment.json")] == starts


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "environment.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"environment.json is damaged: restore it, or remove it"):
        read_starts(tmp_path / "environment.json")


def test_a_change_of_the_starts_is_told(tmp_path, capsys):
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(with_key({"python": "3.11.1", "starts": [{"python": "3.11.1"}]})))
    read_starts(path)
    assert capsys.readouterr().err == ""
    path.write_text(path.read_text().replace("3.11.1", "3.11.3"))
    assert read_starts(path) == [{"python": "3.11.3"}]
    assert f"{path} was changed after the run wrote it" in capsys.readouterr().err


def test_a_missing_file_is_told(tmp_path, capsys):
    assert read_starts(tmp_path / "environment.json") == []
    assert "environment.json is missing, and with it the record of earlier starts" in capsys.readouterr().err
