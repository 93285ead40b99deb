# SPDX-License-Identifier: Apache-2.0
"""ArrayRecord files of JSON objects, tf.train.Examples or text."""

import pathlib
from collections.abc import Iterable, Iterator

from array_record.python.array_record_module import ArrayRecordReader

from t5x_lite.data.sources.base import BadRecord, Located, Record
from t5x_lite.data.sources.file_content import check_unchanged, decoded, json_object, state_of
from t5x_lite.data.sources.tf_example import parse_example

OPTIONS = "readahead_buffer_size:0,max_parallelism:0"  # without threads
TRUNCATED = "its end is missing"  # the reader itself gives no reason


class ArrayRecords:
    """The records of an ArrayRecord file.

    A record that starts with a brace is parsed as a JSON object, any other as a serialised tf.train.Example or, failing
    that, as UTF-8 text in the field `text`.

    Raises:
      ValueError: if the file is not a complete ArrayRecord file.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        path.open("rb").close()  # raises OSError if unreadable, unlike the reader
        self._state = state_of(path)
        reader = ArrayRecordReader(str(path), OPTIONS)
        if not reader.ok():  # otherwise it would look empty
            raise ValueError(f"{path} is not a complete array_record file ({_reason(reader)}): fetch or write it again")
        self._length = reader.num_records()

    def __len__(self) -> int:
        return self._length

    def read(self, numbers: Iterable[int]) -> Iterator[Located]:
        reader = ArrayRecordReader(str(self.path), OPTIONS)
        for number in numbers:
            check_unchanged(str(self.path), self._state, state_of(self.path))
            where = f"{self.path} record {number}"
            try:
                record = _parse(reader.read([number])[0], where)
            except RuntimeError as error:
                record = BadRecord(f"{where} is damaged ({error}): fetch or write the file again")
            except BadRecord as error:
                record = error
            yield Located(where, record)


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
        raise BadRecord(f"{where} is binary: make each record a JSON object, UTF-8 text or a tf.train.Example")
    return {"text": text}


def _reason(reader: ArrayRecordReader) -> str:
    """Closes a failed reader and returns the error, which it reports only on closing."""
    try:
        reader.close()
    except RuntimeError as error:
        return str(error) or TRUNCATED
    return TRUNCATED
