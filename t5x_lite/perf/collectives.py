# SPDX-License-Identifier: Apache-2.0
"""The network traffic of a compiled program's collectives."""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from t5x_lite.perf.hlo import Computation, Instruction, Module

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute")
EXPLICIT = re.compile(r"replica_groups=\{(\{[\d,{}\s]*\})\}")
IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
# Groups given by a mesh with named axes, its device order, and the axes that each group spans. 'x':(2)4 is the sub-axis
# of size 4 after a major sub-axis of size 2.
MESH = re.compile(r"replica_groups=mesh\[(?P<axes>[^\]]*)\](?:, device_ids=\((?P<ids>.*?)\))?\s*\{(?P<spanned>[^}]*)\}")
ORDER = re.compile(r"\[(?P<dims>[\d,]+)\](?:T\((?P<axes>[\d,]+)\)?)?")
AXIS = re.compile(r"'(?P<name>[^']+)'(?::\((?P<before>\d+)\)(?P<size>\d+))?")
PAIRS = re.compile(r"source_target_pairs=\{(\{[\d,{}\s]*\})\}")
# Between TPU slices, hosts implement collectives with send and recv.
BETWEEN_SLICES = re.compile(r'_xla_megascale_transfer_type="(\w+)"')
REDUCE_SCATTER_FUSION = "all-reduce-scatter"  # the name of a reduce-scatter in TPU HLO, which slices an all-reduce


@dataclasses.dataclass(frozen=True)
class Traffic:
    """The collectives of one kind over one network in one execution of the program."""

    kind: str
    network: str  # ici (within a slice) or dcn (between slices)
    count: int
    bytes_moved: int  # sizes of the full arrays
    bytes_sent: int  # per chip, with ring algorithms


def traffic(module: Module, slices: Sequence[int]) -> list[Traffic]:
    """Returns the traffic by kind and network, most bytes first; `slices` has the slice number of each chip."""
    totals: dict[tuple[str, str], list[int]] = {}
    for computation, times in module.runs():
        for kind, instruction in _once_per_channel(_collectives(module, computation)):
            for network, (size, members) in _parts(kind, instruction, slices).items():
                if members > 1:
                    total = totals.setdefault((kind, network), [0, 0, 0])
                    for index, value in enumerate((1, size, _sent(kind, size, members))):
                        total[index] += times * value
    return sorted((Traffic(*key, *total) for key, total in totals.items()), key=lambda row: -row.bytes_sent)


def _parts(kind: str, instruction: Instruction, slices: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Returns (bytes of the full arrays, number of participants) per network."""
    if instruction.opcode == "send":
        return {"dcn": (instruction.arrays[0].num_bytes, len(set(slices)))}
    per_slice, num_slices = _group(instruction, slices)
    whole = _whole_bytes(kind, instruction, per_slice * num_slices)
    # Between slices, each chip exchanges its shard with its peers in the other slices.
    return {"ici": (whole, per_slice), "dcn": (whole // per_slice, num_slices)}


def _once_per_channel(collectives: Iterator[tuple[str, Instruction]]) -> Iterator[tuple[str, Instruction]]:
    """Removes duplicates: a TPU spreads a collective over several fusions, each of which contains it entirely."""
    channels = set()
    for kind, instruction in collectives:
        channel = instruction.attribute("channel_id")
        if channel is None or channel not in channels:
            channels.add(channel)
            yield kind, instruction


def _collectives(module: Module, computation: Computation, inside: str = "") -> Iterator[tuple[str, Instruction]]:
    for instruction in computation.instructions:
        kind = instruction.opcode.removesuffix("-start")
        if kind in KINDS:
            scatters = kind == "all-reduce" and REDUCE_SCATTER_FUSION in inside
            yield "reduce-scatter" if scatters else kind, instruction
        elif match := BETWEEN_SLICES.search(instruction.attributes) if instruction.opcode == "send" else None:
            yield match[1].lower().replace("_", "-"), instruction
        elif instruction.opcode == "fusion":
            for called in module.called(instruction):
                yield from _collectives(module, module.computations[called], called + instruction.name)


def _whole_bytes(kind: str, instruction: Instruction, size: int) -> int:
    """Returns the bytes of the full arrays that are gathered, reduced or exchanged."""
    sizes = [array.num_bytes for array in instruction.arrays]
    if instruction.opcode.endswith("-start"):
        if kind == "collective-permute":
            return sizes[0]
        if kind != "all-reduce":  # its result holds operands and outputs, one of which is the full array
            half = len(sizes) // 2
            return max(sum(sizes[:half]), sum(sizes[half:]))
    return sum(sizes) * (size if instruction.opcode == "reduce-scatter" else 1)  # its result is one chip's shard


def _sent(kind: str, whole: int, size: int) -> int:
    if kind == "collective-permute":
        return whole
    return math.ceil(whole * (size - 1) / size) * (2 if kind == "all-reduce" else 1)


def _group(instruction: Instruction, slices: Sequence[int]) -> tuple[int, int]:
    """Returns (chips per slice, number of slices) of the largest group."""
    groups = _groups(instruction.attributes, len(slices))
    largest = max(groups, key=lambda group: (len({slices[chip] for chip in group}), len(group)))
    num_slices = len({slices[chip] for chip in largest})
    return math.ceil(len(largest) / num_slices), num_slices


def _groups(attributes: str, num_chips: int) -> list[list[int]]:
    if match := (PAIRS.search(attributes) or EXPLICIT.search(attributes)):
        return [[int(chip) for chip in re.findall(r"\d+", group)] for group in re.findall(r"\{[^{}]*\}", match[1])]
    if match := IOTA.search(attributes):
        shape, dims = ([int(size) for size in text.split(",")] for text in (match[1], match[2]))
        chips = np.arange(math.prod(dims)).reshape(dims)
        if match[3]:
            chips = chips.transpose([int(axis) for axis in match[3].split(",")])
        return chips.reshape(shape).tolist()
    if match := MESH.search(attributes):
        return _along(match["axes"], match["ids"], match["spanned"])
    if "replica_groups=" in attributes and "replica_groups={}" not in attributes:
        raise ValueError(f"cannot parse the replica groups of a collective: {attributes[:200]}")
    return [list(range(num_chips))]


def _along(axes: str, ids: str | None, spanned: str) -> list[list[int]]:
    """Returns the groups that span some axes of a mesh."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)}
    chips = _ordered(ids, math.prod(sizes.values()))
    along = []
    for part in AXIS.finditer(spanned):
        name = part["name"]
        if part["size"]:
            before, size = int(part["before"]), int(part["size"])
            parts = {f"{name}<": before, f"{name}=": size, f"{name}>": sizes[name] // (before * size)}
            items = [(parts.items() if axis == name else [(axis, count)]) for axis, count in sizes.items()]
            sizes, name = dict(itertools.chain.from_iterable(items)), f"{name}="
        along.append(name)
    names = list(sizes)
    order = [names.index(name) for name in [*(name for name in names if name not in along), *along]]
    groups = chips.reshape(list(sizes.values())).transpose(order)
    return groups.reshape(-1, math.prod(sizes[name] for name in along)).tolist()


def _ordered(ids: str | None, num_chips: int) -> np.ndarray:
    if ids is None:
        return np.arange(num_chips)
    if match := ORDER.match(ids):
        dims = [int(size) for size in match["dims"].split(",")]
        chips = np.arange(math.prod(dims)).reshape(dims)
        return chips.transpose([int(axis) for axis in match["axes"].split(",")]) if match["axes"] else chips
    return np.array([int(chip) for chip in re.findall(r"\d+", ids)])
