"""Tests t5x_lite/data/templates.py."""

import pytest

from t5x_lite.data.sources.records import BadRecord
from t5x_lite.data.templates import Template

RECORD = {"a": "text", "n": 3, "yes": True, "answers": {"text": ["one", "two"]}, "nothing": None, "list": ["x"]}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("summarize: {a}", "summarize: text"),
        ("{a}{n} {yes}", "text3 True"),
        ("{{{a}}}", "{text}"),
        ("{answers.text.1}", "two"),
        ("no field", "no field"),
        ("", ""),
    ],
)
def test_fields_become_text(template, expected):
    assert Template(template, "task.text")(RECORD, "here") == expected


@pytest.mark.parametrize("template", ["{a", "a}", "{}", "{a:>5}", "{a!r}"])
def test_a_template_that_makes_no_sense_is_refused(template):
    with pytest.raises(ValueError, match=r"task.text '.*' (is no template|has something else)"):
        Template(template, "task.text")


@pytest.mark.parametrize("template", ["{b}", "{nothing}", "{a.b}", "{answers.text.2}", "{answers.context}"])
def test_a_missing_field_is_named_with_those_there_are(template):
    message = (
        rf"f.csv line 3 has no field '{template[1:-1]}', which task.text '{template}' asks for; it has a, n, yes, "
    )
    with pytest.raises(BadRecord, match=message):
        Template(template, "task.text")(RECORD, "f.csv line 3")


@pytest.mark.parametrize(("template", "part"), [("{list}", "list.0"), ("{answers}", "answers.text")])
def test_a_field_that_is_no_text_says_how_to_name_a_part(template, part):
    with pytest.raises(BadRecord, match=rf"name a part of it, such as {{{part}}}"):
        Template(template, "task.text")(RECORD, "here")


def test_half_of_a_character_is_refused():
    with pytest.raises(BadRecord, match=r"here has '\\ud800' in it, which is half of a character"):
        Template("{a}", "task.text")({"a": "x\ud800"}, "here")
