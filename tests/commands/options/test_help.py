"""Tests t5x_lite/commands/options/help.py; tests/commands/options/test_init.py has the help of every command"""

import pytest

from t5x_lite.commands.options.help import as_yaml


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (("a", None), "[a, null]"),
        ((), "[]"),
        ("", "''"),
        ("a\nb", r"'a\nb'"),
        (0.5, "0.5"),
    ],
)
def test_defaults_are_shown_as_yaml(value, text):
    assert as_yaml(value) == text
