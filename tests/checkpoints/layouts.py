"""T5X's files, made by hand, and models read from anything that has a `config` and `read`."""

import dataclasses
from unittest import mock

import msgpack
import numpy as np
import tensorstore as ts

from t5x_lite.checkpoints import safetensors
from t5x_lite.checkpoints.hf.weights import open_checkpoint
from t5x_lite.checkpoints.weights import read_arrays
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.model.architectures import abstract
from t5x_lite.parallel.param_paths import from_named_leaves, named_leaves


def extension(array, code=1):
    """An array as Flax puts it into MessagePack."""
    array = np.asarray(array)
    return msgpack.ExtType(code, msgpack.packb([list(array.shape), array.dtype.name, array.tobytes()]))


def write_index(path, tree):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgpack.packb(tree, default=extension))
    return path


def write_zarr(folder, array, chunks=None, compressor="gzip"):
    spec = {
        "driver": "zarr",
        "dtype": array.dtype.name,
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "metadata": {
            "compressor": compressor and {"id": compressor},
            "shape": list(array.shape),
            "chunks": chunks or [max(size, 1) for size in array.shape],
        },
    }
    ts.open(spec, create=True, open=True).result().write(array).result()


def spec(name, array, chunks=None):
    """What T5X's index says of an array beside it."""
    return {
        "driver": "zarr",
        "dtype": array.dtype.name,
        "kvstore": {"driver": "gfile", "path": f"{name}/"},
        "metadata": {
            "compressor": {"id": "gzip", "level": 1},
            "shape": list(array.shape),
            "chunks": chunks or list(array.shape),
        },
    }


@dataclasses.dataclass(eq=False)
class Array:
    """An array in memory that is read as one on disk is."""

    array: np.ndarray

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return self.array.dtype

    def read(self, index=None):
        return self.array[index or ...]


def files_of(num_bytes):
    """Limits the size of the safetensors files that the block writes."""
    return mock.patch.object(safetensors, "SHARD_BYTES", num_bytes)


def open_hf(directory):
    """A Hugging Face model, whose directory needs no tokenizer."""
    return open_checkpoint(directory, ByteTokenizer())


def model_of(checkpoint, shapes=None):
    """The model in a checkpoint: an encoder-decoder on the default device, or with the shapes and shardings given."""
    shapes = abstract(checkpoint.config) if shapes is None else shapes
    leaves = named_leaves(shapes)
    return from_named_leaves(shapes, read_arrays(checkpoint.read, leaves, {name: name for name in leaves}))
