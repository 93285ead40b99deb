"""Tests t5x_lite/commands/chat/commands.py"""

import dataclasses

import pytest

from t5x_lite.commands.chat.commands import (
    FIELDS,
    NAMES,
    Command,
    completions,
    differences,
    format_setting,
    help_lines,
    parse_line,
    with_setting,
)
from t5x_lite.config.generation import GenerationConfig

DEFAULTS = GenerationConfig()


def test_a_line_is_a_text_or_a_command_with_an_argument():
    assert parse_line("what is it? /help") == "what is it? /help"
    assert parse_line("  two spaces are kept ") == "  two spaces are kept "
    assert parse_line("") == ""
    assert parse_line("/help") == Command("help", "")
    assert parse_line("/temperature   0.7 ") == Command("temperature", "0.7")
    assert parse_line("/beam_rules hf") == Command("beam_variant", "hf")  # its former name
    assert parse_line("/template Q: {q}  A: {a}") == Command("template", "Q: {q}  A: {a}")


def test_two_slashes_escape_a_slash():
    assert parse_line("//help me") == "/help me"
    assert parse_line("///") == "//"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("/temp 0.7", "no command /temp: use /template or /temperature;"),
        ("/temperatur 0.7", "no command /temperatur: use /temperature;"),
        ("/qiut", "no command /qiut: use /quit;"),
        ("/xyzzy", "no command /xyzzy: use /help for a list;"),
        ("/", "no command /: use /help for a list; start a text with // if it begins with a slash"),
        ("/ help", "no command /"),
        ("/HELP", "no command /HELP: use "),
    ],
)
def test_an_unknown_command_is_reported_with_the_nearest_one(line, hint):
    with pytest.raises(ValueError, match=r"there is no command") as error:
        parse_line(line)
    assert hint in str(error.value)


@pytest.mark.parametrize("name", ["settings", "reset", "prompt", "help", "quit"])
def test_a_command_without_an_argument_refuses_one(name):
    with pytest.raises(ValueError, match=rf"/{name} takes no argument, but is followed by 'now': leave it out"):
        parse_line(f"/{name} now")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("temperature", "0.7", 0.7),
        ("temperature", "1", 1.0),
        ("max_new_tokens", "17", 17),
        ("length_penalty", "-1.5", -1.5),
        ("beam_variant", "hf", "hf"),
        ("stop_tokens", "[5, 6]", (5, 6)),
        ("stop_tokens", "[]", ()),
        ("forced_prefix", "yes", "yes"),
        ("forced_prefix", "1", "1"),
        ("forced_prefix", "# a", "# a"),
        ("forced_prefix", "null", "null"),
        ("forced_prefix", "--", "--"),
        ("forced_prefix", "two words: ", "two words: "),
        ("forced_prefix", "' with spaces '", " with spaces "),
        ("forced_prefix", '""', ""),
        ("forced_prefix", "'", "'"),
        ("forced_prefix", "'half", "'half"),
    ],
)
def test_a_value_is_read_as_on_the_command_line(name, value, expected):
    before = GenerationConfig(forced_prefix="before", stop_tokens=(9,), temperature=0.2)
    after = with_setting(before, name, value)
    assert getattr(after, name) == expected
    assert type(getattr(after, name)) is type(expected)
    assert dataclasses.replace(after, **{name: getattr(before, name)}) == before  # nothing else is


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("temperature", "warm", "temperature is 'warm': use a number$"),
        ("temperature", "-1", r"temperature is -1\.0: use 0 \(greedy\) or a finite number above"),
        ("temperature", ".nan", "temperature is nan"),
        ("max_new_tokens", "7.5", r"max_new_tokens is '7\.5': use a whole number$"),
        ("stop_tokens", "5", r"stop_tokens is '5': use a list of ids such as \[5, 6\]$"),
        ("stop_tokens", "[a]", r"stop_tokens is '\[a\]': use a list of ids"),
        ("beam_variant", "other", "beam_variant is 'other': use t5x or hf$"),
        ("top_p", "0.5", r"top_p 0\.5 given without sampling \(temperature is 0\): add temperature 1"),
        ("num_return_sequences", "3", "num_return_sequences is 3, but greedy decoding has one output"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(name, value, message):
    with pytest.raises(ValueError, match=message) as error:
        with_setting(DEFAULTS, name, value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", FIELDS)
def test_a_shown_setting_can_be_typed(name):
    config = GenerationConfig(temperature=0.3, top_k=7, banned_tokens=(3, 4), max_new_tokens=9)
    command = parse_line("/" + format_setting(config, name))
    assert isinstance(command, Command)
    assert with_setting(config, *command) == config


def test_a_value_of_the_wrong_type_is_refused_for_every_setting():
    for name in set(FIELDS) - {"forced_prefix"}:
        with pytest.raises(ValueError, match=f"^{name} is '{{}}': use "):
            with_setting(DEFAULTS, name, "{}")


def test_settings_are_compared_with_the_models_own():
    own = GenerationConfig(num_beams=4, max_new_tokens=20)
    assert differences(own, own) == []
    config = dataclasses.replace(own, max_new_tokens=30, stop_tokens=(8, 9), forced_prefix="so")
    assert differences(config, own) == [
        "max_new_tokens 30  (default: 20)",
        "forced_prefix so  (default: '')",
        "stop_tokens [8, 9]  (default: [])",
    ]


def test_tab_completes_commands_at_the_beginning_of_a_line():
    assert completions("", "/te") == ["/template ", "/temperature "]
    assert completions("", "/") == [f"/{name} " for name in NAMES]
    assert completions("", "te") == []
    assert completions("text ", "/te") == []


def test_tab_completes_values_and_files(tmp_path):
    assert completions("/beam_variant ", "") == ["t5x", "hf"]
    assert completions("/beam_variant ", "h") == ["hf"]
    assert completions("/temperature ", "") == []
    (tmp_path / "pairs.jsonl").touch()
    (tmp_path / "pairs.old").mkdir()
    (tmp_path / "other").touch()
    assert completions("/examples ", f"{tmp_path}/pa") == [f"{tmp_path}/pairs.jsonl", f"{tmp_path}/pairs.old/"]
    assert completions("/shots ", f"{tmp_path}/pa") == []


def test_help_explains_every_command_and_setting():
    lines = help_lines()
    for name in NAMES:
        (line,) = [line for line in lines if line.split()[0] == f"/{name}"]
        assert len(line.split()) > 3, f"{name} is not explained"
    assert any("0 decodes greedily" in line for line in lines)
