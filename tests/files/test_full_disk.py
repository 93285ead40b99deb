"""Tests t5x_lite/files/full_disk.py"""

import errno
import os
import pathlib
import pickle
import re

import pytest

from t5x_lite.files.full_disk import FULL, FullDisk, check_space, full_disk_named, in_units, raise_named_in

FULL_DEVICE = pathlib.Path("/dev/full")
needs_full_device = pytest.mark.skipif(not FULL_DEVICE.exists(), reason="there is no /dev/full")


def message(path, code=errno.ENOSPC):
    return f"^cannot write {re.escape(str(path))}: {os.strerror(code)}; free some space and run the same command again$"


@needs_full_device
def test_the_error_of_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(FullDisk, match=message(tmp_path / "out")), full_disk_named(tmp_path / "out"):
        FULL_DEVICE.write_text("x")


@pytest.mark.parametrize("code", FULL)
def test_quotas_and_limits_count_as_full_disks(code):
    with pytest.raises(FullDisk, match=message("out", code)) as caught, full_disk_named("out"):
        raise OSError(code, os.strerror(code))
    assert caught.value.errno == code


def test_the_innermost_file_is_named():
    with pytest.raises(FullDisk, match=message("inner")), full_disk_named("outer"), full_disk_named("inner"):
        raise OSError(errno.ENOSPC, "full")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "other"), OSError("no number"), ValueError("x")])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, full_disk_named("out"):
        raise error
    assert caught.value is error


def test_the_error_reaches_another_process():
    with pytest.raises(FullDisk) as caught, full_disk_named("out"):
        raise OSError(errno.ENOSPC, "full")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_librarys_message_of_a_full_disk_is_recognised():
    with pytest.raises(FullDisk, match=message("out")):
        raise_named_in(RuntimeError(f"write() failed: {os.strerror(errno.ENOSPC)}; at byte 0"), "out")
    raise_named_in(RuntimeError("something else"), "out")


def test_what_does_not_fit_is_refused_with_both_sizes(tmp_path):
    directory = tmp_path / "not" / "there"
    check_space(directory, 1, "it")
    pattern = rf"^it needs 1000000.0 PB, but {directory} has .* free; free some space and run the same command again$"
    with pytest.raises(FullDisk, match=pattern):
        check_space(directory, 1e21, "it")


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_500, "1.5 KB"), (2.0e9, "2.0 GB"), (7e18, "7000.0 PB")],
)
def test_sizes_have_the_unit_that_suits_them(num_bytes, text):
    assert in_units(num_bytes) == text
