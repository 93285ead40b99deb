# SPDX-License-Identifier: Apache-2.0
"""Finds the files with a model directory's weights, and opens them by their format.

As in transformers, safetensors files are preferred to those of torch, a single file to several with an index, and an
index says only which files there are: what is in them counts, not what the index says of it.
"""

import importlib
import pathlib
from types import ModuleType

from t5x_lite.checkpoints.arrays import LazyArray, equal
from t5x_lite.files.file_name import is_file_name
from t5x_lite.files.git_lfs import check_downloaded
from t5x_lite.files.json_object import read_json
from t5x_lite.files.messages import listed

# A format's single file, whose index is beside it with INDEX appended, and the module whose `read_header` opens it.
FORMATS = {
    "model.safetensors": "t5x_lite.checkpoints.safetensors",
    "pytorch_model.bin": "t5x_lite.checkpoints.torch_zip",
}
INDEX = ".index.json"
# Weights that are not read, and the option with which transformers 4 converts them.
FOREIGN = {"flax_model.msgpack": ("Flax", "from_flax=True"), "tf_model.h5": ("TensorFlow", "from_tf=True")}


def open_weights(directory: pathlib.Path) -> dict[str, LazyArray]:
    """Returns the arrays of a directory by name.

    Raises:
      ValueError: if there are none, or a file is missing, outside the directory or damaged.
    """
    for name, module in FORMATS.items():
        if (directory / name).is_file():
            return _read(directory / name, module)
        index = directory / f"{name}{INDEX}"
        if index.is_file():
            return _read_all(index, module)
    raise ValueError(_without_weights(directory))


def _read(path: pathlib.Path, module: str) -> dict[str, LazyArray]:
    check_downloaded(path)
    reader: ModuleType = importlib.import_module(module)
    return reader.read_header(path)


def _read_all(index: pathlib.Path, module: str) -> dict[str, LazyArray]:
    places, suffix = read_json(index).get("weight_map"), pathlib.PurePath(index.name.removesuffix(INDEX)).suffix
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise ValueError(f"{index} has no weight_map from names to files: it is damaged; download it again")
    arrays: dict[str, LazyArray] = {}
    for name in sorted(set(places.values())):
        path = index.parent / name
        if not is_file_name(name) or not name.endswith(suffix):
            raise ValueError(f"{index} names the file {name!r:.100}: only {suffix} files beside it are read")
        if not path.is_file():
            raise ValueError(f"{path}, which {index} names, does not exist: download it again")
        for array, content in _read(path, module).items():
            if array in arrays and not equal(arrays[array], content):
                raise ValueError(
                    f"{path} has a different {array!r:.100} from an earlier file: use the files of one model"
                )
            arrays.setdefault(array, content)
    return arrays


def _without_weights(directory: pathlib.Path) -> str:
    for name in FORMATS:
        for path in (directory / name, directory / f"{name}{INDEX}"):
            if path.is_symlink():  # as in a copy of a part of the Hub's cache
                return f"{path} links to a missing file: copy the directory with cp -rL, or download it again"
    for name, (library, option) in FOREIGN.items():
        if (directory / name).is_file() or (directory / f"{name}{INDEX}").is_file():
            return (
                f"{directory} has only weights for {library}, {name}: download its model.safetensors too or, if there "
                f"is none, convert it with transformers 4: T5ForConditionalGeneration.from_pretrained("
                f"{str(directory)!r}, {option}).save_pretrained(NEW_DIRECTORY)"
            )
    names = " nor ".join(f"{name} (or {name}{INDEX})" for name in FORMATS)
    patterns = ("*.safetensors", "*model*.bin")
    others = sorted(path.name for pattern in patterns for path in directory.glob(pattern) if path.is_file())
    if others:
        return f"{directory} has {listed(others, 3)}, but neither {names}: download all files of the model"
    return f"{directory} has neither {names}: name a directory with weights"
