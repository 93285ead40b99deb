# SPDX-License-Identifier: Apache-2.0
"""array_record files of one's own: records of bytes, read by number."""

import functools
import pathlib

from array_record.python.array_record_module import ArrayRecordReader

from t5x_lite.data.sources.base import BadRecord, Record, decoded, json_object
from t5x_lite.data.sources.state import State, check_unchanged, state_of
from t5x_lite.data.sources.tf_example import parse_example

OPTIONS = "readahead_buffer_size:0,max_parallelism:0"  # reads are random
ENDLESS = "its end is missing"  # for which the reader has no words
MOST_OPEN = 64  # files at once: a source may have more than a process may open


class ArrayRecords:
    """The records of an array_record file.

    A record is a JSON object, if it begins with a brace; or a serialized tf.train.Example; or else text in UTF-8, which
    becomes the field `text`.

    Args:
      path: the file.

    Raises:
      ValueError: if it is not a whole array_record file.
      OSError: if it cannot be read.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        path.open("rb").close()  # the reader has its own words for a file that may not be read
        self._state = state_of(path)
        reader = _open(path, self._state)
        if not reader.ok():  # else it would seem to be empty
            raise ValueError(f"{path} is not a whole array_record file ({_reason(reader)}): fetch or write it again")
        self._length = reader.num_records()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Record:
        where = self.where(index)
        check_unchanged(str(self.path), self._state, state_of(self.path))
        try:
            content: bytes = _open(self.path, self._state).read([index])[0]
        except RuntimeError as error:
            raise BadRecord(f"{where} is damaged ({error}): fetch or write the file again") from error
        return _parse(content, where)

    def where(self, index: int) -> str:
        return f"{self.path} record {index}"

    def __reduce__(self):
        return type(self), (self.path,)


def _parse(content: bytes, where: str) -> Record:
    if content.lstrip().startswith(b"{"):
        return json_object(decoded(content, where), where)
    example = parse_example(content)
    if example is not None:
        return example
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise BadRecord(f"{where} is binary: make each record a JSON object, text in UTF-8 or a tf.train.Example")
    return {"text": text}


@functools.lru_cache(MOST_OPEN)
def _open(path: pathlib.Path, state: State) -> ArrayRecordReader:
    """A reader of a file; of one that has changed since, another reader."""
    del state
    return ArrayRecordReader(str(path), OPTIONS)


def _reason(reader: ArrayRecordReader) -> str:
    """What is wrong with a reader, which says so only when it is asked to do something."""
    try:
        reader.close()
    except RuntimeError as error:
        return str(error) or ENDLESS
    return ENDLESS
