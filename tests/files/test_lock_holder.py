"""Tests t5x_lite/files/lock_holder.py"""

import threading

from t5x_lite.files import lock_holder


def test_the_holder_is_named_once_it_has_written_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_holder, "SECONDS_TO_WRITE", 60)
    lock = tmp_path / "lock"
    lock.touch()
    later = threading.Timer(0.05, lock.write_text, ["process 7 on here"])
    later.start()
    assert lock_holder.holder(lock) == "process 7 on here"
    later.join()


def test_a_holder_without_a_name_is_another_process(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_holder, "SECONDS_TO_WRITE", 0.02)
    assert lock_holder.holder(tmp_path / "absent") == "another process"
