"""Reads damaged and hostile files of `torch.save`, and checks what their reader does.

    python -m tests.checkpoints.fuzz_torch_zip [--damaged 20000] [--seed 0]

Each file must be read as it was before the damage, or be refused in one line, without running, importing or opening
anything, in bounded memory and time. Prints one JSON object of counts, seconds and MiB; fails at the first file that
breaks a rule.
"""

import argparse
import codecs
import json
import os
import pathlib
import resource
import struct
import sys
import tempfile
import time
import tracemalloc
import zipfile

import numpy as np

from t5x_lite.checkpoints.torch_zip import read_header
from tests.checkpoints.hostile_pickles import hostile_pickles
from tests.checkpoints.torch_files import ARRAYS, GOLDEN, archive, contents, pickled_arrays, torch_bytes

MAX_SECONDS, MAX_MIB = 10, 100  # of CPU time and memory for one file, of at most 17 MB
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
ALLOWED_EVENTS = ("open", "mmap.__new__", "object.__getattr__", "object.__setattr__", "array.__new__", "gc.")


class Watch:
    """Notes everything that Python tells audit hooks while the reader runs, unless it opens the file itself."""

    def __init__(self):
        self.path, self.seen, self.longest = None, [], 0
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if self.path is None:
            return
        own = event == "open" and str(arguments[0]) == str(self.path) and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not own and (event == "open" or not event.startswith(ALLOWED_EVENTS)):
            self.seen.append((event, repr(arguments)[:200]))

    def read(self, path):
        """The arrays in a file, or the message of its refusal."""
        self.path = path
        try:
            return {name: tensor.read() for name, tensor in read_header(path).items()}
        except ValueError as error:
            return str(error)
        finally:
            self.path = None


def checked(watch, path, what):
    """What `Watch.read` returns, after checking the rules."""
    begin = time.process_time()
    found = watch.read(path)
    seconds = time.process_time() - begin
    watch.longest = max(watch.longest, seconds)
    assert not watch.seen, f"{what}: {watch.seen}"
    assert seconds < MAX_SECONDS, f"{what} took {seconds:.1f} s"
    if isinstance(found, str):
        assert "\n" not in found, f"{what}: {found!r}"
        assert len(found) < 1_000, f"{what}: {found!r}"
        assert found.isprintable(), f"{what}: {found!r}"
        assert str(path) in found, f"{what}: {found!r}"
    return found


def flip(rng, content):
    for place in rng.integers(0, len(content), rng.integers(1, 9)):
        content[place] ^= 1 << int(rng.integers(8))


def cut(rng, content):
    del content[int(rng.integers(len(content))) :]


def delete(rng, content):
    begin = int(rng.integers(len(content)))
    del content[begin : begin + int(rng.integers(1, 100))]


def insert(rng, content):
    begin = int(rng.integers(len(content)))
    content[begin:begin] = rng.bytes(int(rng.integers(1, 100)))


def repeat(rng, content):
    begin, end = sorted(rng.integers(0, len(content), 2))
    content[begin:begin] = content[begin:end]


def exchange(rng, content):
    """Exchanges two parts of the same size, such as two records or two entries of the directory."""
    size = int(rng.integers(1, 200))
    one, other = sorted(int(place) for place in rng.integers(0, max(1, len(content) - size), 2))
    if one + size <= other:
        first = bytes(content[one : one + size])
        content[one : one + size] = content[other : other + size]
        content[other : other + size] = first


def resize(rng, content):
    """Overwrites a number in the directory or at its end, such as a size or a place."""
    begin = content.find(b"PK\x01\x02")
    place, form = int(rng.integers(begin, len(content) - 8)), rng.choice(["<B", "<H", "<I", "<Q"])
    value = int(rng.choice(INTERESTING)) & (2 ** (8 * struct.calcsize(form)) - 1)
    struct.pack_into(form, content, place, value)


DAMAGES = (flip, cut, delete, insert, repeat, exchange, resize)


def originals():
    """Files and what is in them; all have checksums, so that no damage passes unnoticed."""
    path = GOLDEN / "state_dict.bin"
    yield bytearray(path.read_bytes()), {key: tensor.read() for key, tensor in read_header(path).items()}
    for order in ("little", "big"):
        yield bytearray(torch_bytes(order=order)), ARRAYS


def damaged(rng, watch, path, count):
    """Counts files that are read as before and refused; their bytes are damaged in one of the ways above."""
    files, read = list(originals()), 0
    for number in range(count):
        content, expected = files[number % len(files)]
        changed = bytearray(content)
        damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
        damage(rng, changed)
        path.write_bytes(changed)
        what = f"file {number}, {damage.__name__}"
        found = checked(watch, path, what)
        if isinstance(found, dict):
            read += 1
            assert found.keys() == expected.keys(), what
            for name, array in expected.items():
                assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), what
                assert found[name].tobytes() == array.tobytes(), what
    return {"damaged": count, "damaged_read": read}


def repickled(rng, watch, path, count):
    """Counts files whose pickle is damaged but has its checksum: what is read lies within the file."""
    read = 0
    for number in range(count):
        content = bytearray(pickled_arrays(ARRAYS))
        damage = DAMAGES[int(rng.integers(len(DAMAGES) - 1))]
        damage(rng, content)
        path.write_bytes(torch_bytes(pickle=bytes(content)))
        found = checked(watch, path, f"pickle {number}, {damage.__name__}")
        if isinstance(found, dict):
            read += 1
            assert all(array.nbytes <= path.stat().st_size for array in found.values())
    return {"repickled": count, "repickled_read": read}


def bombs():
    """Files by name that would take more memory than they have bytes."""
    zeros = {"data.pkl": pickled_arrays({"a": np.zeros((2**11, 2**11), np.float32)}), "data/0": bytes(2**24)}
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield f"compressed by method {method}", archive(zeros, compression=method)
    yield "a compressed pickle", archive({"data.pkl": bytes(2**24)}, compression=zipfile.ZIP_DEFLATED)
    for count in (3_000, 17_000):
        yield f"{count:,} members", archive({"data.pkl": b"}."} | {f"x/{number}": b"" for number in range(count)})
    yield "members over each other", overlapping(2_000)


def overlapping(count):
    """An archive whose directory names one member many times."""
    content = archive({"data.pkl": pickled_arrays(ARRAYS), **contents(ARRAYS)})
    begin = content.find(b"PK\x01\x02")
    entry_end = content.find(b"PK\x01\x02", begin + 4)
    entries = content[begin:entry_end] * count
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(entries), begin, 0)
    return content[:begin] + entries + end


def hostile(watch, path, canary):
    """Counts hostile files, none of which may be read."""
    count, read, peak = 0, 0, 0
    files = [(what, archive({"data.pkl": content, **contents(ARRAYS)})) for what, content in hostile_pickles(canary)]
    for what, content in [*files, *bombs()]:
        path.write_bytes(content)
        size = len(content)
        del content
        tracemalloc.start()
        found = checked(watch, path, what)
        peak = max(peak, tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
        assert peak < MAX_MIB, f"{what}, of {size:,} bytes, took {peak:,.0f} MiB"
        count, read = count + 1, read + bool(isinstance(found, dict) and found)
        assert isinstance(found, str) or not found, f"{what} was read"  # a dict without tensors is harmless
        assert not canary.exists(), f"{what} ran"
    return {"hostile": count, "hostile_read": read, "hostile_peak_mib": round(peak, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--damaged", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, watch, begin = np.random.default_rng(options.seed), Watch(), time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        path, canary = pathlib.Path(directory, "x.bin"), pathlib.Path(directory, "canary")
        path.write_bytes(torch_bytes())
        read_header(path)["a"].read()  # imports what zipfile and NumPy import when first used
        codecs.lookup("raw_unicode_escape")  # and pickletools, for an instruction that is refused
        assert isinstance(checked(watch, path, "an undamaged file"), dict)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        counts = damaged(rng, watch, path, options.damaged)
        counts |= repickled(rng, watch, path, options.damaged // 4)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
        assert grown < MAX_MIB, f"damaged files took {grown:,.0f} MiB"
        counts |= {"damaged_grown_mib": round(grown, 1), "damaged_seconds": round(time.perf_counter() - begin, 1)}
        counts |= hostile(watch, path, canary)
    seconds = {"longest_seconds": watch.longest, "seconds": time.perf_counter() - begin}
    print(json.dumps(counts | {name: round(value, 2) for name, value in seconds.items()}))


if __name__ == "__main__":
    main()
