"""Files of `torch.save` made by hand: an archive with any members, and a pickle with any instructions."""

import io
import struct
import zipfile

import ml_dtypes
import numpy as np

from tests.paths import ROOT

GOLDEN = ROOT / "tests" / "checkpoints" / "golden_torch"
CLASSES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "bool": "BoolStorage",
}
START, STOP = b"\x80\x02", b"."
RNG = np.random.default_rng(0)
ARRAYS = {
    "a": RNG.normal(size=(3, 5)).astype(np.float32),
    "b": RNG.normal(size=7).astype(ml_dtypes.bfloat16),
    "c": RNG.normal(size=(2, 3, 4)),
}


def text(value):
    """BINUNICODE."""
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def number(value):
    """BININT or LONG1."""
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def numbers(values):
    """A tuple."""
    return b"(" + b"".join(map(number, values)) + b"t"


def name(module, function):
    """GLOBAL."""
    return f"c{module}\n{function}\n".encode()


ORDERED_DICT = name("collections", "OrderedDict")
EMPTY = ORDERED_DICT + b")R"


def storage(key, size, kind="FloatStorage"):
    """BINPERSID with a storage's id; `kind` is a class's name, or instructions."""
    kind = kind if isinstance(kind, bytes) else name("torch", kind)
    return b"(" + text("storage") + kind + text(key) + text("cpu") + number(size) + b"tQ"


def tensor(place, shape, strides=None, *, offset=0, more=b"\x89" + EMPTY):
    """A call that makes a tensor in a storage."""
    strides = strides_of(shape) if strides is None else strides
    arguments = b"(" + place + number(offset) + numbers(shape) + numbers(strides) + more + b"t"
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def strides_of(shape):
    return [int(np.prod(shape[place + 1 :])) for place in range(len(shape))]


def pickled(items, end=b""):
    """A dict of instructions by name; `end` are instructions for the dict."""
    return START + b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u" + end + STOP


def pickled_arrays(arrays):
    """The pickle of a dict of arrays, each in a storage that is numbered in order."""
    return pickled(
        {
            key: tensor(storage(str(place), array.size, CLASSES[array.dtype.name]), array.shape)
            for place, (key, array) in enumerate(arrays.items())
        }
    )


def contents(arrays, order="little"):
    """The storages of the arrays by member."""
    swap = lambda a: a.view(f"u{a.itemsize}").byteswap() if order == "big" else a  # noqa: E731
    return {f"data/{place}": swap(array).tobytes() for place, array in enumerate(arrays.values())}


def archive(members, folder="archive/", compression=zipfile.ZIP_STORED):
    """The bytes of an archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as written:
        for member, content in members.items():
            written.writestr(folder + member, content)
    return file.getvalue()


def torch_bytes(arrays=ARRAYS, *, order="little", pickle=None, **members):
    """The bytes of a file; `pickle` and other members replace those of the arrays."""
    pickle = pickled_arrays(arrays) if pickle is None else pickle
    return archive({"data.pkl": pickle, "byteorder": order, **contents(arrays, order), "version": "3\n"} | members)


def torch_file(path, *arguments, **options):
    """Writes a file; see `torch_bytes`."""
    path.write_bytes(torch_bytes(*arguments, **options))
    return path
