"""Tests t5x_lite/files/pictures.py"""

import importlib.util

from t5x_lite.files.pictures import can_draw


def test_whether_matplotlib_is_installed_is_known(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not can_draw()
