"""Tests t5x_lite/training/tensorboard.py"""

import contextlib
import errno

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import directory_check  # noqa: F401 - tensorboardX is installed

from t5x_lite.files.full_disk import FullDisk
from t5x_lite.training.tensorboard import MAX_CHARACTERS, EventFile, Events


def written(directory):
    """The values by tag and step, read without TensorBoard."""
    (path,) = directory.iterdir()
    data, place, found = path.read_bytes(), 0, {}
    while place < len(data):  # length, its checksum, the event, its checksum
        size = int.from_bytes(data[place : place + 8], "little")
        event = Event.FromString(data[place + 12 : place + 12 + size])
        place += size + 16
        found |= {(value.tag, event.step): value for value in event.summary.value}
    return found


def text_of(value):
    return value.tensor.string_val[0].decode()


def test_the_numbers_of_a_row_are_scalars(tmp_path):
    events = Events(tmp_path, start=0, config="")
    events.add(3, {"loss": 1.5, "mfu": None, "eval/loss": 2.5})
    events.close()
    scalars = {key: value.simple_value for key, value in written(tmp_path).items() if key[1] == 3}
    assert scalars == {("train/loss", 3): 1.5, ("eval/loss", 3): 2.5}


def test_the_config_and_the_chart_of_losses_are_there(tmp_path):
    Events(tmp_path, start=7, config="seed: 5\ntask:\n  source: a.txt\n").close()
    found = written(tmp_path)
    assert text_of(found["config/text_summary", 7]) == "    seed: 5\n    task:\n      source: a.txt\n"
    assert any("custom_scalars" in tag for tag, _ in found)


def test_examples_are_a_table_whose_texts_are_not_markup(tmp_path):
    events = Events(tmp_path, start=0, config="")
    events.add_examples(4, "qa", [("a <extra_id_0> b|c", "x\ny", "z" * (MAX_CHARACTERS + 1))])
    events.close()
    header, _, row = text_of(written(tmp_path)["examples/qa/text_summary", 4]).splitlines()
    assert header == "|inputs|targets|prediction|"
    assert row == f"|a &lt;extra_id_0&gt; b&#124;c|x<br>y|{'z' * MAX_CHARACTERS} ...|"


def test_a_full_disk_is_told_by_the_name_of_the_file_and_blocks_nothing(tmp_path, monkeypatch):
    events = Events(tmp_path / "new", start=0, config="")
    monkeypatch.setattr(EventFile, "write", lambda self, data: self._keep_error(_fill))
    with contextlib.suppress(FullDisk):
        for step in range(1_000):  # the queue of tensorboardX holds 10
            events.add(step, {"loss": 1.5})
    events.close()  # which tells nothing, since another error may be on its way
    with pytest.raises(FullDisk, match=r"cannot write .*/new/events\.out\.\S+: No space left on device; free some"):
        events.check()


def _fill():
    raise OSError(errno.ENOSPC, "No space left on device")
