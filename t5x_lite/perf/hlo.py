# SPDX-License-Identifier: Apache-2.0
"""Parses the HLO text of a compiled program into computations, and counts their executions."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

DTYPE_BYTES = {"pred": 1, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16, "token": 0}
ARRAY = re.compile(r"(?P<dtype>[a-z]+[0-9a-z]*)\[(?P<dims>[\d,]*)\](\{(?P<layout>[^}]*)\})?")
FAST_MEMORY = "S(1)"  # a layout's memory space for on-chip memory
HEADER = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\) -> .* \{$")
START = re.compile(r"\s*(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = ")
CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?(?P<name>[\w.\-]+)|branch_computations=\{(?P<names>[^}]*)\}")
TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclasses.dataclass(frozen=True)
class Array:
    """A result of an instruction."""

    num_bytes: int
    is_in_fast_memory: bool


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    opcode: str
    arrays: tuple[Array, ...]  # the results, several for a tuple
    operands: tuple[str, ...]
    attributes: str  # the text after the operands
    literal: str  # the text in the parentheses
    is_root: bool

    def attribute(self, name: str) -> str | None:
        """Returns the value of an attribute, up to the next comma."""
        match = re.search(rf"\b{name}=%?([^,\s]+)", self.attributes)
        return match[1] if match else None


@dataclasses.dataclass(frozen=True)
class Computation:
    """A named list of instructions."""

    name: str
    instructions: tuple[Instruction, ...]

    def find(self, name: str) -> Instruction | None:
        """Returns the instruction with this name."""
        return next((instruction for instruction in self.instructions if instruction.name == name), None)

    @property
    def root(self) -> Instruction:
        """The instruction that returns the computation's result."""
        return next((instruction for instruction in self.instructions if instruction.is_root), self.instructions[-1])


@dataclasses.dataclass(frozen=True)
class Module:
    """A parsed program."""

    computations: Mapping[str, Computation]
    entry: str
    default_trip_count: int = 1  # of loops whose trip count is unknown

    def runs(self) -> Iterator[tuple[Computation, int]]:
        """Yields each computation, except inside fusions, and how often it runs at most: all branches are counted."""
        yield from self._runs(self.entry, 1)

    def _runs(self, name: str, times: int) -> Iterator[tuple[Computation, int]]:
        computation = self.computations[name]
        yield computation, times
        for instruction in computation.instructions:
            if instruction.opcode == "while":
                yield from self._runs(
                    str(instruction.attribute("body")), times * self.trip_count(instruction, computation)
                )
            elif instruction.opcode in ("call", "conditional", "async-start"):
                for called in self.called(instruction):
                    yield from self._runs(called, times)

    def called(self, instruction: Instruction) -> list[str]:
        """Returns the names of the computations that an instruction calls."""
        names: list[str] = []
        for match in CALLED.finditer(instruction.attributes):
            listed = match["name"] or match["names"]
            names += [name.strip().lstrip("%") for name in listed.split(",")]
        return [name for name in names if name in self.computations]

    def trip_count(self, loop: Instruction, caller: Computation) -> int:
        """Returns the trip count of a while loop, or `default_trip_count` if it is unknown.

        TPU HLO has no trip counts; they are inferred from the counter's initial value, increment and limit. An unknown
        initial value counts as 0.
        """
        if match := TRIP_COUNT.search(loop.attributes):
            return int(match[1])
        condition = self.computations[str(loop.attribute("condition"))]
        body = self.computations[str(loop.attribute("body"))]
        compare = condition.root
        if compare.opcode != "compare" or compare.attribute("direction") != "LT":
            return self.default_trip_count
        counter, limit = (condition.find(name) for name in compare.operands)
        if counter is None or counter.opcode != "get-tuple-element":
            return self.default_trip_count
        index = int(counter.attribute("index") or 0)
        begin = _tuple_item(caller, loop.operands[0], index)
        end = _constant(limit)
        if limit is not None and limit.opcode == "get-tuple-element":
            end = _constant(_tuple_item(caller, loop.operands[0], int(limit.attribute("index") or 0)))
        step = _step(body, _tuple_item(body, body.root.name, index))
        return self.default_trip_count if end is None else math.ceil((end - (_constant(begin) or 0)) / step)


def parse(text: str, *, default_trip_count: int = 1) -> Module:
    """Parses `compiled.as_text()`; loops with a computed end condition get the default trip count."""
    computations: dict[str, Computation] = {}
    entry, name, lines = "", None, []
    for line in text.splitlines():
        if (header := HEADER.match(line)) and not line.startswith(" "):
            name, lines = header["name"], []
            entry = header["name"] if header["entry"] else entry
        elif line.startswith("}") and name is not None:
            instructions = (_instruction(line) for line in lines)
            computations[name] = Computation(name, tuple(item for item in instructions if item is not None))
            name = None
        elif name is not None:
            lines.append(line)
    return Module(computations, entry, default_trip_count)


def _instruction(line: str) -> Instruction | None:
    start = START.match(line)
    if not start:
        return None
    shape_end = _closing(line, start.end()) if line[start.end()] == "(" else line.find(" ", start.end()) - 1
    opening = line.find("(", shape_end + 1)
    closing = _closing(line, opening)
    inside = line[opening + 1 : closing]
    arrays = tuple(_array(match) for match in ARRAY.finditer(line, start.end(), shape_end + 1))
    operands = tuple(re.findall(r"%([\w.\-]+)", inside))
    opcode = line[shape_end + 1 : opening].strip()
    return Instruction(start["name"], opcode, arrays, operands, line[closing + 1 :], inside, bool(start["root"]))


def _array(match: re.Match[str]) -> Array:
    dtype = match["dtype"]
    bits = re.search(r"\d+", dtype)
    width = DTYPE_BYTES.get(dtype, int(bits[0]) / 8 if bits else 0)  # s32, u8, f8e4m3fn
    count = math.prod(int(size) for size in match["dims"].split(",") if size)
    return Array(math.ceil(count * width), FAST_MEMORY in (match["layout"] or ""))


def _closing(line: str, opening: int) -> int:
    """Returns the index of the parenthesis that closes the one at `opening`."""
    depth = 0
    for index in range(opening, len(line)):
        depth += (line[index] == "(") - (line[index] == ")")
        if depth == 0:
            return index
    return len(line) - 1


def _tuple_item(computation: Computation, name: str, index: int) -> Instruction | None:
    root = computation.find(name)
    if root is None or root.opcode != "tuple" or index >= len(root.operands):
        return None
    item = computation.find(root.operands[index])
    while item is not None and item.opcode in ("copy", "bitcast", "copy-done", "copy-start") and item.operands:
        item = computation.find(item.operands[0])
    return item


def _constant(instruction: Instruction | None) -> int | None:
    if instruction is None or instruction.opcode != "constant" or not re.fullmatch(r"-?\d+", instruction.literal):
        return None
    return int(instruction.literal)


def _step(body: Computation, item: Instruction | None) -> int:
    """Returns the constant that a counter is incremented by, or 1 if there is none."""
    if item is None or item.opcode != "add":
        return 1
    added = [_constant(body.find(name)) for name in item.operands]
    return next((value for value in added if value), 1)
