# SPDX-License-Identifier: Apache-2.0
"""Hugging Face datasets, from the Hub or from `save_to_disk` (extra `datasets`)."""

import contextlib
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pyarrow

from t5x_lite.config.paths import home_expanded
from t5x_lite.data.sources.base import HUGGING_FACE, BadRecord, IndexedSource, Record
from t5x_lite.files.messages import first_line, listed

HUB_SECONDS = 10.0  # timeout; `datasets` itself would retry for half a minute
SAVED_FILES = ("state.json", "dataset_dict.json")  # `save_to_disk` writes one of them

HUB_NAME = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(?:/(?P<config>[^/]+))?")
NOT_THERE = "it has not been downloaded before"


class HuggingFaceRecords(IndexedSource):
    """The examples of a datasets.Dataset as plain Python values, without decoding images and the like."""

    unit = "example"

    def __init__(self, dataset: Any, name: str):
        super().__init__(dataset.with_format("arrow"), name)

    def __getitem__(self, number: int) -> Record:
        try:
            return self._items[number].to_pylist()[0]
        except (ValueError, OverflowError, pyarrow.ArrowException) as error:
            raise BadRecord(f"{self.where(number)} has a value that cannot be read ({error}): leave it out") from error


def open_dataset(name: str, field: str = "task.source") -> HuggingFaceRecords:
    """Opens `hf:DIRECTORY[@SPLIT]`, written by `save_to_disk`, or `hf:OWNER/NAME[/CONFIG]@SPLIT` from the Hub.

    Datasets from the Hub are downloaded once, into the cache of `datasets`.

    Raises:
      ValueError: if `datasets` is not installed, or there is no such dataset or split.
    """
    try:
        import datasets  # an extra that takes a second to import
    except ImportError as error:
        raise ValueError(f"{field} {name!r} needs Hugging Face's datasets: pip install 't5x-lite[datasets]'") from error
    path, split = home_expanded(name.removeprefix(HUGGING_FACE), field), ""
    if "@" in path and not pathlib.Path(path).is_dir():  # the name of a directory may contain an @
        path, _, split = path.rpartition("@")
    load = _load_saved if path and pathlib.Path(path).is_dir() else _load_from_hub
    return HuggingFaceRecords(load(datasets, path, split, f"{field} {name!r}"), name)


def _load_saved(datasets: Any, path: str, split: str, called: str) -> Any:
    if not any((pathlib.Path(path) / file).is_file() for file in SAVED_FILES):
        raise ValueError(
            f"{called} is not a directory written by save_to_disk: name one that is, or files without {HUGGING_FACE}"
        )
    try:
        dataset = datasets.load_from_disk(path)
    except Exception as error:  # raised by JSON, Arrow, the operating system or datasets
        raise ValueError(f"{called} is damaged ({first_line(error)}): save it again") from error
    if isinstance(dataset, datasets.DatasetDict):
        if split not in dataset:
            asks = f"asks for the split {split!r}" if split else "names no split"
            raise ValueError(f"{called} {asks}, but its splits are {listed(dataset)}: write @SPLIT after the name")
        return dataset[split]
    if split and split != str(dataset.split):
        raise ValueError(
            f"{called} asks for the split {split!r}, but the directory holds only one ({dataset.split}): leave out "
            f"@{split}"
        )
    return dataset


def _load_from_hub(datasets: Any, path: str, split: str, called: str) -> Any:
    remedy = (
        f"write {HUGGING_FACE}OWNER/NAME/CONFIG@SPLIT as on the Hub, such as {HUGGING_FACE}nyu-mll/glue/cola@train, or "
        f"{HUGGING_FACE}DIRECTORY for one written by save_to_disk"
    )
    parts = HUB_NAME.fullmatch(path)
    # `datasets` would load any directory of that name as a dataset.
    if not split or parts is None or pathlib.Path(parts["name"]).exists():
        raise ValueError(f"{called} is neither a directory nor a split of a dataset on the Hub: {remedy}")
    owner_and_name, config = parts["name"], parts["config"]
    with _without_retries(datasets, owner_and_name) as is_reachable:
        try:
            return datasets.load_dataset(owner_and_name, config, split=split)
        except Exception as error:  # a dozen types from the network, the Hub and the file formats
            reason = first_line(error) if is_reachable else f"the Hub cannot be reached, and {NOT_THERE}"
            raise ValueError(f"{called} cannot be opened ({reason}): {remedy}") from error


@contextlib.contextmanager
def _without_retries(datasets: Any, name: str) -> Iterator[bool]:
    """Puts `datasets` in offline mode if the Hub is unreachable; yields whether it is reachable."""
    from huggingface_hub import HfApi  # a dependency of datasets
    from huggingface_hub.errors import HfHubHTTPError

    is_reachable = True
    try:
        HfApi().dataset_info(name, timeout=HUB_SECONDS)
    except (HfHubHTTPError, ValueError):  # the Hub responded, for example that there is no such dataset
        pass
    except Exception:  # from any networking library
        is_reachable = False
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not is_reachable
    try:
        yield is_reachable
    finally:
        datasets.config.HF_HUB_OFFLINE = before
