"""Tests t5x_lite/data/records/templates.py"""

import numpy as np
import pytest

from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources.base import BadRecord

RECORD = {
    "a": "text",
    "n": 3,
    "yes": True,
    "answers": {"text": ["one", "two"], "start": [4, 5.5], "none": []},
    "nothing": None,
    "list": ["x"],
    "mixed": ["x", {"y": "z"}, None],
    "raw": b"bytes",
    "asked?": "why",
}
MISSING = {
    "nan": float("nan"),
    "small": np.float32("nan"),
    "gaps": ["x", None, float("nan"), "y", False],
    "of_pandas": type("NAType", (), {})(),
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("summarize: {a}", "summarize: text"),
        ("{a}{n} {yes}", "text3 true"),
        ("{{{a}}}", "{text}"),
        ("{answers.text.1}", "two"),
        ("no field", "no field"),
        ("{answers.text:, }", "one, two"),
        ("{answers.text:: }{answers.start: and }", "one: two4 and 5.5"),
        ("{answers.text:,}{list:, }{answers.none:, }", "one,twox"),
        ("{answers.text:\n}", "one\ntwo"),
        ("{answers.text: > }", "one > two"),
        ("{a:, }{n: and }", "text3"),
        ("{b?}{nothing?}{a.b?}{answers.text.2?}|{a?}{n?}", "|text3"),
        ("{answers.text?:, }{b?:, }", "one, two"),
        ("{asked?}", "why"),
        ("", ""),
    ],
)
def test_fields_become_text(template, expected):
    assert Template(template, "task.text")(RECORD, "here") == expected


@pytest.mark.parametrize(
    "template", ["{a", "a}", "{}", "{a:>5}", "{a:.2f}", "{a:d}", "{a:,d}", "{a:%}{a:05}", "{a!r}", "{?}", "{a:{b}}"]
)
def test_a_malformed_template_is_refused(template):
    with pytest.raises(ValueError, match=r"task.text '.*' (is not a valid template|must have field names)"):
        Template(template, "task.text")


@pytest.mark.parametrize("template", ["{nothing?}", "{nan?}", "{small?}", "{gaps.2?}", "{nan?:, }", "{of_pandas?}"])
def test_a_missing_value_is_empty_in_an_optional_part(template):
    assert Template(f"<{template}>", "task.text")(RECORD | MISSING, "here") == "<>"


def test_an_optional_list_leaves_out_its_missing_items():
    assert Template("{gaps?:, }", "task.text")(RECORD | MISSING, "here") == "x, y, false"


def test_half_of_a_character_is_refused():
    with pytest.raises(BadRecord, match=r"here contains '\\ud800', half of a character"):
        Template("{a}", "task.text")({"a": "x\ud800"}, "here")
