# SPDX-License-Identifier: Apache-2.0
"""Data sets of Hugging Face's `datasets` (extra `datasets`), of the Hub or saved in a directory; read by number."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pyarrow

from t5x_lite.data.sources.base import BadRecord, Record
from t5x_lite.files.messages import first_line, listed

PREFIX = "hf:"
HUB_SECONDS = 10.0  # to wait for the Hub; `datasets` itself tries for half a minute
SAVED_FILES = ("state.json", "dataset_dict.json")  # one of them is in each directory that `save_to_disk` wrote

HUB_NAME = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(?:/(?P<config>[^/]+))?")
NOT_THERE = "it is not among what was downloaded before"


class HuggingFaceRecords:
    """The examples of a split as plain Python values, as Arrow has them: images, for one, are not decoded.

    Args:
      dataset: a datasets.Dataset, whose tables are mapped into memory.
      name: what errors call it.
    """

    def __init__(self, dataset: Any, name: str):
        self._name, self._tables = name, dataset.with_format("arrow")

    def __len__(self) -> int:
        return len(self._tables)

    def __getitem__(self, index: int) -> Record:
        try:
            return self._tables[index].to_pylist()[0]
        except (ValueError, OverflowError, pyarrow.ArrowException) as error:
            raise BadRecord(f"{self.where(index)} has a value that cannot be read ({error}): leave it out") from error

    def where(self, index: int) -> str:
        return f"{self._name} example {index}"


def open_dataset(name: str, field: str = "task.source") -> HuggingFaceRecords:
    """Opens `hf:DIRECTORY[@SPLIT]`, written by `save_to_disk`, or `hf:OWNER/NAME[/CONFIG]@SPLIT` of the Hub.

    What is on the Hub is downloaded once, to where `datasets` keeps such things.

    Args:
      name: `hf:` and so on.
      field: of the config, for errors.

    Raises:
      ValueError: if the extra is missing, or there is no such data set or split.
    """
    try:
        import datasets  # an extra, which takes a second to import
    except ImportError as error:
        raise ValueError(f"{field} {name!r} needs Hugging Face's datasets: pip install 't5x-lite[datasets]'") from error
    path, split = _divided(os.path.expanduser(name.removeprefix(PREFIX)))
    if path and pathlib.Path(path).is_dir():
        return HuggingFaceRecords(_saved(datasets, path, split, f"{field} {name!r}"), name)
    return HuggingFaceRecords(_of_hub(datasets, path, split, f"{field} {name!r}"), name)


def _divided(wanted: str) -> tuple[str, str]:
    """The data set and its split, which is empty if none is named; a directory may have an @ in its name."""
    if pathlib.Path(wanted).is_dir():
        return wanted, ""
    path, _, split = wanted.rpartition("@") if "@" in wanted else (wanted, "", "")
    return path, split


def _saved(datasets: Any, path: str, split: str, called: str) -> Any:
    if not any((pathlib.Path(path) / file).is_file() for file in SAVED_FILES):
        raise ValueError(
            f"{called} is a directory that save_to_disk did not write: name one that it did, or files without {PREFIX}"
        )
    try:
        found = datasets.load_from_disk(path)
    except Exception as error:  # JSON's, Arrow's, the operating system's and those of datasets
        raise ValueError(f"{called} is damaged ({first_line(error)}): save it again") from error
    if isinstance(found, datasets.DatasetDict):
        if split not in found:
            asks = f"asks for the split {split!r}" if split else "names no split"
            raise ValueError(f"{called} {asks}, and there are {listed(found)}: write @SPLIT after the name")
        return found[split]
    if split and split != str(found.split):
        raise ValueError(
            f"{called} asks for the split {split!r}, and the directory holds one without a choice of "
            f"splits ({found.split}): leave out @{split}"
        )
    return found


def _of_hub(datasets: Any, path: str, split: str, called: str) -> Any:
    what_to_write = (
        f"write {PREFIX}OWNER/NAME/CONFIG@SPLIT as the Hub has it, such as {PREFIX}nyu-mll/glue/cola@train, or "
        f"{PREFIX}DIRECTORY of save_to_disk"
    )
    parts = HUB_NAME.fullmatch(path)
    # `datasets` would take the name of a directory, and all files in it, for a data set.
    if not split or parts is None or pathlib.Path(parts["name"]).exists():
        raise ValueError(f"{called} is no directory, and names no split of a data set of the Hub: {what_to_write}")
    owner_and_name, config = parts["name"], parts["config"]
    with _without_retries(datasets, owner_and_name) as is_reachable:
        try:
            return datasets.load_dataset(owner_and_name, config, split=split)
        except Exception as error:  # a dozen kinds: those of the network, of the Hub and of each file format
            reason = first_line(error) if is_reachable else f"the Hub cannot be reached, and {NOT_THERE}"
            raise ValueError(f"{called} cannot be opened ({reason}): {what_to_write}") from error


@contextlib.contextmanager
def _without_retries(datasets: Any, name: str) -> Iterator[bool]:
    """Makes `datasets` look only among what it has if the Hub does not answer; says whether it does."""
    from huggingface_hub import HfApi  # what datasets is built on
    from huggingface_hub.errors import HfHubHTTPError

    is_reachable = True
    try:
        HfApi().dataset_info(name, timeout=HUB_SECONDS)
    except (HfHubHTTPError, ValueError):  # an answer, if only that there is none or that the name is wrong
        pass
    except Exception:  # those of whatever library speaks to the network
        is_reachable = False
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not is_reachable
    try:
        yield is_reachable
    finally:
        datasets.config.HF_HUB_OFFLINE = before
