# SPDX-License-Identifier: Apache-2.0
"""Space for the shards of a task: a look at it before they are written, and what is removed when it is used up."""

import dataclasses
import errno
import os
import re
import shutil
from collections.abc import Iterable

from t5x_lite.data.corpus.shards import ids_dtype
from t5x_lite.data.corpus.tokenize import SAMPLED_RECORDS, SOURCES, Preparation, evenly_spread
from t5x_lite.data.records.rows import LeftOut, read_rows
from t5x_lite.data.tokenizers import load_tokenizer
from t5x_lite.files.full_disk import check_space, raise_named_in


def check_room(preparation: Preparation) -> None:
    """Raises FullDisk if a task's ids need more space than there is, as far as a sample of its records tells.

    The shards of a preparation that was stopped are there already.
    """
    tokenizer, num_ids = load_tokenizer(preparation.tokenizer_directory), 0.0
    lenient = dataclasses.replace(preparation.task, bad_records="skip")
    for field in preparation.fields:
        source = preparation.open(field).records
        numbers = evenly_spread(source, SAMPLED_RECORDS)
        texts = [text for row in read_rows(lenient, source, numbers, LeftOut()) for text in row.texts]
        num_ids += sum(map(len, tokenizer.encode_batch(texts))) / len(numbers) * len(source)
    names = " and ".join(f"task.{field}" for field in preparation.fields)
    held = sum(path.stat().st_size for path in preparation.directory.glob("*-of-*"))
    check_space(preparation.directory, num_ids * ids_dtype(tokenizer).itemsize - held, f"tokenising {names}")


def make_room(preparations: Iterable[Preparation], error: Exception) -> None:
    """Removes the unpacked sources, and half-written shards, of preparations that failed.

    Raises:
      FullDisk: if the error is that of the writer of shards on a full disk.
    """
    directories = [preparation.directory for preparation in preparations if preparation.task.prepared is None]
    for directory in directories:
        shutil.rmtree(directory / SOURCES, ignore_errors=True)
        for path in directory.glob(".*.tmp"):
            path.unlink(missing_ok=True)
    if re.search(r"requested and \d+ written$", str(error)):  # NumPy's words for it
        error = RuntimeError(os.strerror(errno.ENOSPC))
    if isinstance(error, RuntimeError):
        raise_named_in(error, directories[0])
