# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Datasets, read from ArrayRecord files without TensorFlow."""

from typing import Any

import numpy as np

from t5x_lite.data.sources.base import TFDS, BadRecord, IndexedSource, Record
from t5x_lite.files.messages import first_line


class TfdsRecords(IndexedSource):
    """The examples of a split as plain Python values: strings, numbers and lists.

    Args:
      builder: a tfds.core.DatasetBuilder.
      split: a split in TFDS's syntax, such as `validation[:10%]`; empty or None means `train`.
      name: the name of the dataset in errors.
      field: its config field, for errors.

    Raises:
      ValueError: if the dataset is not prepared as ArrayRecord files, or has no such split.
    """

    unit = "example"

    def __init__(self, builder: Any, split: str | None, name: str, field: str = "task.source"):
        split = split or "train"
        how = "tfds.builder(NAME, file_format='array_record').download_and_prepare()"
        if not builder.info.splits:
            raise ValueError(
                f"{field} {name!r} is not prepared in {builder.data_dir}: prepare it there with {how}, or set "
                "TFDS_DATA_DIR to the directory that has it"
            )
        try:
            super().__init__(builder.as_data_source(split), name)
        except NotImplementedError as error:
            raise ValueError(
                f"{field} {name!r} is prepared as {builder.info.file_format.value} in {builder.data_dir}, which "
                f"has no random access: prepare it with {how}"
            ) from error
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{field} {name!r} asks for the split {split!r}, but its splits are {', '.join(builder.info.splits)}: "
                "write @SPLIT after the name"
            ) from error

    def __getitem__(self, number: int) -> Record:
        try:
            return _plain(self._items[number])
        except UnicodeDecodeError as error:
            raise BadRecord(f"{self.where(number)} has text that is not UTF-8: fix the dataset") from error


def open_named(name: str, field: str = "task.source") -> TfdsRecords:
    """Opens `tfds:NAME[/CONFIG][:VERSION][@SPLIT]`, prepared beforehand; raises ValueError if there is none."""
    import tensorflow_datasets as tfds  # takes 0.25 s to import

    wanted, _, split = name.removeprefix(TFDS).partition("@")
    try:
        builder = tfds.builder(wanted)
    except Exception as error:  # TFDS raises many types for unknown names
        raise ValueError(
            f"{field} {name!r} cannot be opened ({first_line(error)}): write "
            "tfds:NAME/CONFIG:VERSION@SPLIT with TFDS's names, or set TFDS_DATA_DIR to the directory that has it"
        ) from error
    return TfdsRecords(builder, split, name, field)


def open_class(builder_class: type, split: str | None, name: str, field: str = "task.source") -> TfdsRecords:
    """Opens the dataset of a user's builder class, preparing it if necessary."""
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
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value
