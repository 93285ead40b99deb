# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Datasets, read by number from array_record files; TensorFlow itself is never imported."""

from typing import Any

import numpy as np

from t5x_lite.data.sources.base import BadRecord, Record
from t5x_lite.files.messages import first_line

PREFIX = "tfds:"
DEFAULT_SPLIT = "train"


class TfdsRecords:
    """The examples of a split. Texts are decoded, sequences become lists, numbers Python's own.

    Args:
      builder: a tfds.core.DatasetBuilder whose data are prepared.
      split: its split, in TFDS' words: `train`, `validation[:10%]`; empty or None for `train`.
      name: what errors call it.
      field: of the config, for errors.

    Raises:
      ValueError: if the data are not prepared as array_record files, or there is no such split.
    """

    def __init__(self, builder: Any, split: str | None, name: str, field: str = "task.source"):
        self._name = name
        split = split or DEFAULT_SPLIT
        how = "tfds.builder(NAME, file_format='array_record').download_and_prepare()"
        if not builder.info.splits:
            raise ValueError(
                f"{field} {name!r} is not prepared in {builder.data_dir}: prepare it there with {how}, or name the "
                "directory that has it in TFDS_DATA_DIR"
            )
        try:
            self._examples = builder.as_data_source(split)
        except NotImplementedError as error:
            raise ValueError(
                f"{field} {name!r} is prepared as {builder.info.file_format.value} in {builder.data_dir}, which "
                f"cannot be read by number: prepare it with {how}"
            ) from error
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{field} {name!r} asks for the split {split!r}, and there are {', '.join(builder.info.splits)}: "
                "write @SPLIT after the name"
            ) from error

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Record:
        try:
            return _plain(self._examples[index])
        except UnicodeDecodeError as error:
            raise BadRecord(f"{self.where(index)} has text that is not UTF-8: mend the data set") from error

    def where(self, index: int) -> str:
        return f"{self._name} example {index}"


def open_named(name: str, field: str = "task.source") -> TfdsRecords:
    """Opens `tfds:NAME[/CONFIG][:VERSION][@SPLIT]`, prepared beforehand; `field` is that of the config, for errors.

    Raises:
      ValueError: if there is no such data set, or as TfdsRecords says.
    """
    import tensorflow_datasets as tfds  # only for those who use it: a quarter of a second beside jax

    wanted, _, split = name.removeprefix(PREFIX).partition("@")
    try:
        builder = tfds.builder(wanted)
    except Exception as error:  # TFDS raises many kinds, its own and Python's, for a name it does not know
        raise ValueError(
            f"{field} {name!r} cannot be opened ({first_line(error)}): write "
            "tfds:NAME/CONFIG:VERSION@SPLIT as TFDS names them, or name the directory that has it in TFDS_DATA_DIR"
        ) from error
    return TfdsRecords(builder, split, name, field)


def open_class(builder_class: type, split: str | None, name: str, field: str = "task.source") -> TfdsRecords:
    """Opens the data set of a builder class of one's own; prepares it first if need be."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    builder = builder_class(file_format="array_record")
    builder.download_and_prepare()
    return TfdsRecords(builder, split, name, field)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value
