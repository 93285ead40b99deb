# SPDX-License-Identifier: Apache-2.0
"""Weights in the zip format of `torch.save`, read without torch, without running the pickle, and in slices.

A file is a zip archive of one folder with uncompressed members: the pickle `data.pkl`, the byte order in `byteorder`,
and `data/KEY` for each storage. What the archive and the pickle say is checked before anything is read, and the
checksum of a storage when it is first read.

Source: torch's `serialization.py`; the .ZIP File Format Specification of PKWARE.
"""

import dataclasses
import io
import math
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from t5x_lite.checkpoints.arrays import DAMAGED, DTYPES, Index, checked_index, checked_shape, mapped
from t5x_lite.checkpoints.torch_pickle import MAX_BYTES, Place, Storage, read_places
from t5x_lite.files.messages import first_line

PICKLE, BYTE_ORDER, STORAGES = "data.pkl", "byteorder", "data/"
MAX_DIRECTORY_BYTES = 2**20  # of the archive: thousands of members
PIECE = 2**20  # bytes of a checksum at a time
FLOATS = ("float64", "float32", "float16", "bfloat16")
# The last fields of the header before a member's bytes are the sizes of its name and of its extra field.
HEADER_BYTES, HEADER_SIZES = 30, struct.Struct("<2H")
START, TAR_PLACE, TAR = b"PK\x03\x04", 257, b"ustar"


@dataclasses.dataclass
class Member:
    """Bytes in a file, with their checksum; 0 if torch wrote none."""

    path: pathlib.Path
    name: str
    begin: int
    size: int
    checksum: int
    is_checked: bool = False

    def check(self) -> None:
        """Raises ValueError if the bytes do not have their checksum."""
        if self.is_checked or not self.checksum:
            return
        checksum = 0
        with self.path.open("rb") as file:
            file.seek(self.begin)
            for begin in range(0, self.size, PIECE):
                checksum = zlib.crc32(file.read(min(PIECE, self.size - begin)), checksum)
        if checksum != self.checksum:
            raise ValueError(f"{self.path} member {self.name} does not have its checksum: {DAMAGED}")
        self.is_checked = True

    def read(self) -> bytes:
        """Returns all bytes."""
        self.check()
        with self.path.open("rb") as file:
            file.seek(self.begin)
            return file.read(self.size)


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A `LazyArray` in a member; `offset` and `strides` count elements."""

    member: Member
    name: str = dataclasses.field(compare=False)
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]
    byte_order: str  # < or >

    def read(self, index: Index | None = None) -> np.ndarray:
        part = checked_index(index, self.shape, f"{self.member.path} tensor {self.name}")
        if not math.prod(self.shape):
            return np.empty([size.stop - size.start for size in part], self.dtype)
        self.member.check()
        content, size = mapped(self.member.path, self.member.begin, self.member.size, self.name), self.dtype.itemsize
        bits = np.dtype(f"{self.byte_order}u{size}")  # as integers: bfloat16 has only the native order
        strides = [stride * size for stride in self.strides]
        strided = np.ndarray(self.shape, bits, content, self.offset * size, strides)
        return np.array(strided[part], bits.newbyteorder("="), order="C").view(self.dtype)


def read_header(path: pathlib.Path) -> dict[str, Tensor]:
    """Returns the arrays of a file by name.

    Raises:
      ValueError: if it is not a file of `torch.save`, is damaged, or holds anything but floating-point arrays.
    """
    _check_format(path)
    members = _members(path)
    pickled = members.get(PICKLE)
    if pickled is None:
        raise ValueError(f"{path} has no {PICKLE}: {DAMAGED}")
    if pickled.size > MAX_BYTES:
        raise ValueError(f"{path} has a pickle of {pickled.size:,} bytes, more than any model needs: {DAMAGED}")
    byte_order = _byte_order(path, members.get(BYTE_ORDER))
    places = read_places(pickled.read(), str(path))
    storages: dict[str, Storage] = {}
    for place in places.values():
        if storages.setdefault(place.storage.key, place.storage) != place.storage:
            raise ValueError(f"{path} describes the storage {place.storage.key!r:.80} in two ways: {DAMAGED}")
    return {name: _tensor(name, place, members, path, byte_order) for name, place in places.items()}


def _check_format(path: pathlib.Path) -> None:
    with path.open("rb") as file:
        start = file.read(TAR_PLACE + len(TAR))
    if start.startswith(START):
        return
    if start[TAR_PLACE:] == TAR:
        raise ValueError(
            f"{path} is in the tar format of torch before 0.1.10: if you trust it, convert it once with torch: "
            f"torch.save(torch.load({str(path)!r}, weights_only=False), {str(path)!r})"
        )
    if start[:1] == b"\x80":
        raise ValueError(
            f"{path} is in the format of torch before 1.6, a bare pickle: convert it once with transformers: "
            f"AutoModelForSeq2SeqLM.from_pretrained({str(path.parent)!r}).save_pretrained(NEW_DIRECTORY)"
        )
    raise ValueError(f"{path} is {'not a file of torch.save' if start else 'empty'}: download it again")


def _members(path: pathlib.Path) -> dict[str, Member]:
    """Returns the members of an archive by their names in its folder; raises ValueError if they overlap."""
    try:
        with _Limited(path) as file, zipfile.ZipFile(file) as archive:
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
            begins = [_begin(file, archive, info) for info in infos]
            ends = [*(info.header_offset for info in infos[1:]), archive.start_dir]
    # What zipfile raises for damaged archives, and for encrypted and otherwise unknown members.
    except (zipfile.BadZipFile, RuntimeError, ValueError, OverflowError, OSError, EOFError, struct.error) as error:
        raise ValueError(f"{path} is not a complete zip archive ({first_line(error, 80)}): {DAMAGED}") from error
    members: dict[str, Member] = {}
    for info, begin, end in zip(infos, begins, ends, strict=False):
        name = info.filename.partition("/")[2]
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(
                f"{path} has the compressed member {info.filename!r:.80}, which torch does not write: save it again "
                "with torch"
            )
        if name in members or begin + info.file_size > end:
            raise ValueError(f"{path} has the member {info.filename!r:.80} twice, or where another one is: {DAMAGED}")
        members[name] = Member(path, info.filename, begin, info.file_size, info.CRC)
    return members


def _begin(file: io.FileIO, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Returns where the bytes of a member begin, behind a header that `zipfile` checks."""
    archive.open(info).close()
    file.seek(info.header_offset + HEADER_BYTES - HEADER_SIZES.size)
    return info.header_offset + HEADER_BYTES + sum(HEADER_SIZES.unpack(file.read(HEADER_SIZES.size)))


def _byte_order(path: pathlib.Path, member: Member | None) -> str:
    """Returns the byte order of all storages; files before torch 2.1 do not give it and are little-endian."""
    orders = {b"little": "<", b"big": ">"}
    content = member.read() if member and member.size < 10 else b""
    if member and content not in orders:
        raise ValueError(f"{path} has the byte order {content!r}: {DAMAGED}")
    return orders.get(content, "<")


def _tensor(name: str, place: Place, members: Mapping[str, Member], path: pathlib.Path, byte_order: str) -> Tensor:
    where = f"{path} tensor {name!r:.100}"
    dtype, storage = DTYPES[place.storage.dtype], place.storage
    if place.storage.dtype not in FLOATS:
        raise ValueError(f"{where} is of type {storage.dtype}: use weights of type {', '.join(FLOATS)}")
    member = members.get(STORAGES + storage.key)
    if member is None or member.size != storage.size * dtype.itemsize:
        size = f"{member.size:,} bytes" if member else "no bytes"
        raise ValueError(f"{where} has {size} for the {storage.size:,} numbers of its storage: {DAMAGED}")
    shape, num = checked_shape(place.shape, dtype, where), math.prod(place.shape)
    # torch may write any stride for a dimension of size 1.
    strides = tuple(stride if size > 1 else 0 for size, stride in zip(shape, place.strides, strict=False))
    last = place.offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=False))
    if len(place.strides) != len(shape) or (num and (last >= storage.size or num > storage.size)):
        raise ValueError(
            f"{where} of shape {list(shape)} does not fit into the {storage.size:,} numbers of its storage: {DAMAGED}"
        )
    return Tensor(member, name, dtype, shape, place.offset, strides, byte_order)


class _Limited(io.FileIO):
    """A file of which zipfile reads at most MAX_DIRECTORY_BYTES at once, whatever the archive says of itself."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise ValueError("its directory is too large")
        return super().read(size)
