"""Tests t5x_lite/interactive/__init__.py."""

from t5x_lite import interactive
from t5x_lite.interactive import session


def test_the_package_is_one_function():
    assert interactive.run is session.run
