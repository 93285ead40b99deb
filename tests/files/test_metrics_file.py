"""Tests t5x_lite/files/metrics_file.py"""

import resource

import pytest

from t5x_lite.files.full_disk import FullDisk
from t5x_lite.files.metrics_file import RowWriter, check_rows, keep_rows, read_rows


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


def written(path, *steps):
    keep_rows(path, 0)
    writer = RowWriter(path)
    for step in steps:
        writer.write({"step": step, "loss": 0.1 * step})
    writer.close()
    return path


def test_rows_are_as_they_were_written_after_every_start(tmp_path, capsys):
    path = written(tmp_path / "metrics.jsonl", 1, 2, 3)
    keep_rows(path, 2)
    check_rows(path)
    writer = RowWriter(path)
    writer.write({"step": 3})
    writer.close()
    check_rows(path)
    assert [row["step"] for row in read_rows(path)] == [1, 2, 3]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("how", ["changed", "cut", "emptied", "deleted", "a row less"])
def test_rows_that_are_missing_or_changed_are_told(how, tmp_path, capsys):
    path = written(tmp_path / "metrics.jsonl", 1, 2, 3)
    content = path.read_bytes()
    match how:
        case "changed":
            path.write_bytes(content.replace(b"0.2", b"0.3"))
        case "cut":
            path.write_bytes(content[:-4])
        case "emptied":
            path.write_bytes(b"")
        case "deleted":
            path.unlink()
        case "a row less":
            path.write_bytes(content[content.index(b"\n") + 1 :])
    check_rows(path)
    assert f"{path} lacks rows, or was changed after the run wrote it" in capsys.readouterr().err


def test_rows_that_a_killed_run_wrote_before_their_checksum_are_not_told(tmp_path, capsys):
    path = written(tmp_path / "metrics.jsonl", 1, 2)
    with path.open("a") as file:
        file.write('{"step": 3}\n{"st')
    check_rows(path)
    keep_rows(path, 3)
    assert [row["step"] for row in read_rows(path)] == [1, 2, 3]
    assert capsys.readouterr().err == ""


def test_a_run_killed_while_rows_are_dropped_has_lost_nothing_it_needs(tmp_path, capsys):
    path = written(tmp_path / "metrics.jsonl", 1, 2, 3)
    content = path.read_bytes()
    keep_rows(path, 2)
    path.write_bytes(content)  # as if killed after the checksum, before the rows
    keep_rows(path, 2)
    check_rows(path)
    assert [row["step"] for row in read_rows(path)] == [1, 2]
    assert capsys.readouterr().err == ""


def test_rows_of_earlier_versions_have_no_checksum(tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')
    check_rows(path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("content", ["", "x", "12", "9" * 30 + " 00000000", "\x00 \x01", "² 0"])
def test_a_damaged_checksum_is_told_and_hides_no_rows(content, tmp_path, capsys):
    path = written(tmp_path / "metrics.jsonl", 1, 2)
    (tmp_path / ".metrics.jsonl.checksum").write_text(content)
    keep_rows(path, 2)
    assert [row["step"] for row in read_rows(path)] == [1, 2]
    assert "lacks rows, or was changed" in capsys.readouterr().err


def test_a_full_disk_is_told_with_the_metrics_file(tmp_path):
    keep_rows(tmp_path / "metrics.jsonl", 0)
    writer, (soft, hard) = RowWriter(tmp_path / "metrics.jsonl"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))
    try:
        for act in (lambda: writer.write({"step": 1}), writer.close):
            with pytest.raises(FullDisk, match=r"cannot write \S+/metrics.jsonl: .*; free some space"):
                act()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
