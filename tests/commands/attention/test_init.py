"""Tests t5x_lite/commands/attention/__init__.py"""

import json
import os

import pytest

from t5x_lite.commands import attention
from t5x_lite.commands.attention import chart, output_paths
from t5x_lite.config.commands import AttentionConfig
from tests.commands.attention.models import options, pretrained


@pytest.fixture
def loaded(monkeypatch):
    monkeypatch.setattr(attention, "load", lambda checkpoint, step: pretrained("encoder_decoder"))


def test_a_page_and_a_picture_are_written_and_the_table_printed(loaded, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    attention.run(options(target="so", output=str(tmp_path / "v1.5")))
    assert (tmp_path / "v1.5.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (tmp_path / "v1.5.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "Attention of runs/x (encoder_decoder, step 1,234)" in out
    rows = [line.split() for line in out.splitlines()]
    (last,) = [row for row in rows if row[:3] == ["2", "o", "</s>"]]
    assert len(last) == 4 + 2 * 3  # three candidates
    assert out.endswith(f"Wrote {tmp_path}/v1.5.html and {tmp_path}/v1.5.png\n")


def test_the_page_or_the_picture_can_be_requested_alone(loaded, tmp_path, monkeypatch):
    monkeypatch.setattr(attention, "png", lambda contents: b"picture")
    monkeypatch.setattr(chart, "can_draw", lambda: True)
    attention.run(options(target="so", output=str(tmp_path / "a.html")))
    attention.run(options(target="so", output=str(tmp_path / "b.png")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.png"]


def test_without_matplotlib_only_the_page_is_written_and_the_user_is_told(loaded, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(attention, "can_draw", lambda: False)
    monkeypatch.setattr(chart, "can_draw", lambda: False)
    attention.run(options(target="so", output=str(tmp_path / "a")))
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    assert "a.png: matplotlib is not installed (pip install 't5x-lite[plot]')" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"a\.png is a picture, but matplotlib is not installed"):
        attention.run(options(output=str(tmp_path / "a.png")))


def test_json_has_the_steps_and_the_files(loaded, tmp_path, capsys):
    attention.run(options(target="so", output=str(tmp_path / "a.html"), json=True))
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == [str(tmp_path / "a.html")]
    assert (found["checkpoint"], found["step"], found["architecture"]) == ("runs/x", 1_234, "encoder_decoder")
    assert [(step["place"], step["reads"], step["token"]) for step in found["steps"]] == [
        (0, "<pad>", "s"),
        (1, "s", "o"),
        (2, "o", "</s>"),
    ]
    assert [sorted(candidate) for candidate in found["steps"][0]["candidates"]] == [["probability", "token"]] * 3
    assert found["maps"][2]["name"] == "cross-attention"
    assert found["maps"][2]["keys"] == ["a", "\u2581", "c", "a", "t", "</s>"]


def test_an_output_in_no_directory_is_named_before_anything_is_loaded(tmp_path):
    with pytest.raises(ValueError, match=r"--output .* is in a directory that does not exist"):
        attention.run(options(output=str(tmp_path / "no" / "a")))
    assert output_paths(str(tmp_path / "a.html")) == (tmp_path / "a.html", None)


def test_the_user_is_asked_to_mask_a_token(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(attention, "load", lambda checkpoint, step: pretrained("masked_lm"))
    attention.run(options(output=str(tmp_path / "a.html")))
    assert "No token is predicted: mask one in --text with <extra_id_0>." in capsys.readouterr().out


def test_a_file_of_the_model_is_not_overwritten(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    os.link(tmp_path / "config.json", tmp_path / "maps.html")
    with pytest.raises(ValueError, match=r"^--output .*maps.html is .*config.json"):
        attention.run(AttentionConfig(checkpoint=str(tmp_path), text="a", output=str(tmp_path / "maps.html")))
    assert (tmp_path / "maps.html").read_text() == "{}"
