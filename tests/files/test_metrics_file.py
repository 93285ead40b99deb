"""Tests t5x_lite/files/metrics_file.py"""

import pytest

from t5x_lite.files.metrics_file import keep_rows, read_rows


def test_a_truncated_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_rows(path) == [{"step": 1, "loss": 2.0}]
    keep_rows(path, 5)
    assert path.read_text() == '{"step": 1, "loss": 2.0}\n'


@pytest.mark.parametrize("line", [b'{"step": 2, "lo', b"[2]", b"null", b'{"stop": 2}', b'{"step": "2"}', b"\xff"])
def test_a_damaged_line_between_others_is_named(line, tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2, is damaged"):
        read_rows(path)
