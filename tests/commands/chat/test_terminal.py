"""Tests t5x_lite/commands/chat/terminal.py"""

import io
import stat
import sys
import types

import pytest

from t5x_lite.commands.chat.terminal import Growing, History, Terminal, history_path
from t5x_lite.data.tokenizers.bytes import ByteTokenizer


class Screen(io.StringIO):
    def isatty(self):
        return True


class Keyboard(io.TextIOWrapper):
    def isatty(self):
        return True


def no_completions(before, word):
    return []


class FakeReadline(types.SimpleNamespace):
    """The functions of the module that a history needs, on a list."""

    def __init__(self):
        super().__init__(lines=[], length=-1)

    def set_history_length(self, length):
        self.length = length

    def get_current_history_length(self):
        return len(self.lines)

    def read_history_file(self, path):
        self.lines += path.read_text().splitlines()

    def append_history_file(self, number, path):
        path.write_text("".join(f"{line}\n" for line in [*path.read_text().splitlines(), *self.lines[-number:]]))


def written(*texts):
    """What is written when the texts come one after another, part by part."""
    parts = []
    growing = Growing(parts.append)
    for text in texts:
        growing.show(text)
    growing.end(texts[-1])
    return parts


def test_only_what_is_new_is_written():
    assert written("a", "a b", "a b", "a b c") == ["a", " b", " c"]


def test_a_character_is_written_once_all_its_bytes_are_known():
    assert written("a", "a\ufffd", "a\ufffd\ufffd", "a\u20ac", "a\u20acb") == ["a", "\u20ac", "b"]


def test_a_sentinel_is_held_back_while_it_may_be_part_of_a_character():
    tokenizer = ByteTokenizer(100)
    ids = tokenizer.encode("a\u20acb<extra_id_1>\u00fc<extra_id_2>")
    texts = [tokenizer.decode(ids[: count + 1]) for count in range(len(ids))]
    assert texts[1] == "a<extra_id_29>"
    assert written(*texts) == ["a", "\u20ac", "b", "<extra_id_1>\u00fc", "<extra_id_2>"]


def test_more_sentinels_than_a_character_has_bytes_are_written():
    texts = ["".join(f"<extra_id_{n}>" for n in range(count)) for count in range(1, 6)]
    assert written(*texts) == ["<extra_id_0>", "<extra_id_1>", "<extra_id_2><extra_id_3><extra_id_4>"]


def test_bytes_that_form_no_character_are_written_once_that_is_certain():
    assert written("a\ufffd", "a\ufffdb\ufffd") == ["a", "\ufffdb", "\ufffd"]


def test_a_text_that_changes_is_written_again():
    assert written("do", "do n", "don't") == ["do", " n", "\n", "don't"]


def test_an_empty_answer_writes_nothing():
    assert written("") == []


def test_a_pipe_receives_raw_answers_and_no_prompt(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo"))
    pipe = Terminal(no_completions)
    assert [pipe.read(), pipe.read()] == ["one", "two"]
    with pytest.raises(EOFError):
        pipe.read()
    pipe.write("an\x1b[2Jswer\n")
    pipe.note("12 tokens")
    pipe.error("wrong")
    pipe.close()
    assert capsys.readouterr() == ("an\x1b[2Jswer\n", "wrong\n")


def test_a_screen_receives_notes_and_no_control_characters(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdout", Screen())
    screen = Terminal(no_completions)
    screen.write("\x1b[2J\tone\n\x07\x7f\x9b")
    screen.note("12 tokens [bold]\x1b" + "x" * 300)
    shown = sys.stdout.getvalue()
    assert shown.startswith("\u241b[2J\tone\n\u2407\u2421\ufffd")
    assert "12 tokens [bold]\u241b" + "x" * 300 in shown  # one line, however narrow the screen


def test_the_prompt_of_a_redirected_session_is_not_in_its_output(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Keyboard(io.BytesIO(b"one \xff\n"), encoding="utf-8"))
    redirected = Terminal(no_completions)
    assert redirected.read() == "one \ufffd"
    with pytest.raises(EOFError):
        redirected.read()
    assert capsys.readouterr() == ("", "> > \n")


def test_python_without_readline_has_a_prompt(monkeypatch):
    monkeypatch.setitem(sys.modules, "readline", None)
    monkeypatch.setattr("sys.stdin", Keyboard(io.BytesIO(b"one\n"), encoding="utf-8"))
    monkeypatch.setattr("sys.stdout", Screen())
    assert Terminal(no_completions).read() == "one"
    assert sys.stdout.getvalue() == "> "


def test_the_history_is_kept_across_sessions_and_is_its_owners_alone(tmp_path):
    path = tmp_path / "new" / "history"
    first = FakeReadline()
    history = History(first, path)
    assert first.length == 1_000
    first.lines += ["one", "two"]
    history.save()
    first.lines += ["three"]
    history.save()
    history.save()
    assert path.read_text() == "one\ntwo\nthree\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    second = FakeReadline()
    other = History(second, path)
    assert second.lines == ["one", "two", "three"]
    first.lines.append("four")
    history.save()
    second.lines.append("five")
    other.save()
    assert path.read_text() == "one\ntwo\nthree\nfour\nfive\n"


def test_a_history_that_cannot_be_written_is_ignored(tmp_path, capsys):
    (tmp_path / "file").touch()
    readline = FakeReadline()
    history = History(readline, tmp_path / "file" / "history")
    readline.lines.append("one")
    history.save()
    assert capsys.readouterr() == ("", "")


def test_the_history_is_in_the_xdg_state_directory(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert str(history_path()) == "/state/t5x-lite/history"
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", unusable)
        assert str(history_path()) == "/home/someone/.local/state/t5x-lite/history"
