"""Tests t5x_lite/data/records/template_errors.py"""

import pytest

from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources.base import BadRecord
from tests.data.records.test_templates import MISSING, RECORD


@pytest.mark.parametrize("template", ["{b}", "{a.b}", "{answers.text.2}", "{answers.context}", "{mixed.3}"])
def test_the_error_of_a_missing_field_lists_the_fields(template):
    message = (
        rf"f.csv line 3 has no field '{template[1:-1]}', which task.text '{template}' uses; its fields are a, n, yes, "
    )
    with pytest.raises(BadRecord, match=message):
        Template(template, "task.text")(RECORD, "f.csv line 3")


@pytest.mark.parametrize(
    ("template", "remedy"),
    [
        ("{list}", r"has a list in 'list', .*: use a part of it, such as {list.0}, or join its items: {list:, }"),
        ("{list?}", r"has a list in 'list', "),
        ("{answers}", r"has a dict in 'answers', .*: use a part of it, such as {answers.text}"),
        ("{answers:, }", r"has a dict in 'answers', .*: use a part of it, such as {answers.text}"),
        ("{mixed:, }", r"has a dict in 'mixed.1', .*: use a part of it, such as {mixed.1.y}"),
        ("{raw}", r"has a bytes in 'raw', .*: make it text"),
        ("{raw:, }", r"has a bytes in 'raw', .*: make it text"),
    ],
)
def test_the_error_of_a_field_that_is_not_text_has_a_remedy(template, remedy):
    with pytest.raises(BadRecord, match=remedy):
        Template(template, "task.text")(RECORD, "here")


@pytest.mark.parametrize(
    ("template", "field", "kind"),
    [
        ("{nothing}", "nothing", "null"),
        ("{nothing.a.b}", "nothing", "null"),
        ("{nothing:, }", "nothing", "null"),
        ("{mixed.2}", "mixed.2", "null"),
        ("{gaps:, }", "gaps.1", "null"),
        ("{nan}", "nan", r"not a number \(NaN\)"),
        ("{small}", "small", r"not a number \(NaN\)"),
        ("{gaps.2}", "gaps.2", r"not a number \(NaN\)"),
    ],
)
def test_a_missing_value_is_told_from_a_missing_field(template, field, kind):
    with pytest.raises(BadRecord, match=rf"^here has a field '{field}' that is {kind}, but task.text .* put \? after"):
        Template(template, "task.text")(RECORD | MISSING, "here")


def test_a_record_of_thousands_of_fields_makes_a_short_message():
    with pytest.raises(BadRecord, match=r"its fields are f0, .* f19 and 9,980 more$"):
        Template("{b}", "task.text")({f"f{i}": i for i in range(10_000)}, "here")
