"""T5X's files, made by hand: nothing here uses what is tested."""

import dataclasses

import msgpack
import numpy as np
import tensorstore as ts


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


@dataclasses.dataclass
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
