# SPDX-License-Identifier: Apache-2.0
"""Reads the pickle in a file of `torch.save`, a dict of tensors, without running anything that it asks for.

A pickle is a program for a stack machine, which may call any function. This machine knows only the instructions and
names that torch writes for a dict of tensors, and refuses all others by name. It imports nothing, calls nothing and
makes no tensors: it returns where each one is.

Source: CPython's `pickletools` for the instructions; torch's `_utils.py` and `serialization.py` for the names.
"""

import enum
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

MAX_BYTES, MAX_INSTRUCTIONS = 2**24, 2**18  # far more than a model's thousands of tensors need; bounds memory and time
MAX_LINE = 1_000  # of a module's or a class's name
SOURCE = "get the weights from a source that you trust, or as safetensors"


class Storage(NamedTuple):
    """A storage that tensors share: the name of its dtype, its key in the file, and its number of elements."""

    dtype: str
    key: str
    size: int


class Place(NamedTuple):
    """Where a tensor is: its storage, and the offset, shape and strides in it, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Function(enum.Enum):
    """Functions that a pickle may name; `_Machine.reduce` does their work without calling them."""

    DICT = "collections OrderedDict"
    TENSOR = "torch._utils _rebuild_tensor_v2"
    PARAMETER = "torch._utils _rebuild_parameter"


class StorageType(NamedTuple):
    """A storage's class, by the dtype of its elements."""

    dtype: str


STORAGE_TYPES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
}
NAMES: Mapping[str, Function | StorageType] = {function.value: function for function in Function} | {
    f"torch {name}Storage": StorageType(dtype) for name, dtype in STORAGE_TYPES.items()
}


def read_places(content: bytes, where: str) -> dict[str, Place]:
    """Returns the places of the tensors in a pickled dict by name.

    Raises:
      ValueError: prefixed with `where`, if the pickle is damaged or too large, asks for anything that a dict of tensors
        does not need, or holds anything else.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"{where} is a pickle of {len(content):,} bytes, more than any model needs: {SOURCE}")
    result = _Machine(content, where).run()
    if type(result) is not dict:
        raise ValueError(f"{where} holds {_kind(result)}, not a dict of tensors: save a model's state_dict() alone")
    for name, place in result.items():
        if type(place) is not Place:
            raise ValueError(
                f"{where} has {name!r:.100}, {_kind(place)}, not a tensor: save a model's state_dict() alone"
            )
    return result


class _Machine:
    """Runs a pickle. As in CPython, a mark begins a new stack, whose values a later instruction takes."""

    def __init__(self, content: bytes, where: str):
        self.content, self.where, self.position = content, where, 0
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MAX_INSTRUCTIONS):
            code = self.take(1)
            if code == b".":
                return self.pop()
            if code not in INSTRUCTIONS:
                raise self.error(f"has {_name_of(code)}, which a dict of tensors does not need: {SOURCE}")
            INSTRUCTIONS[code](self)
        raise self.error(f"has more than {MAX_INSTRUCTIONS:,} instructions, more than any model needs: {SOURCE}")

    def error(self, problem: str) -> ValueError:
        return ValueError(f"{self.where} {problem}")

    def damaged(self, problem: str) -> ValueError:
        return self.error(f"{problem}: it is damaged; download it again")

    def take(self, size: int) -> bytes:
        begin, self.position = self.position, self.position + size
        if self.position > len(self.content):
            raise self.damaged("ends within a pickle")
        return self.content[begin : self.position]

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.content.find(b"\n", self.position, self.position + MAX_LINE)
        if end < 0:
            raise self.damaged("has a name without an end")
        return self.decode(self.take(end + 1 - self.position)[:-1])

    def decode(self, text: bytes) -> str:
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise self.damaged("has a name that is not UTF-8") from error

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise self.damaged("takes a value from an empty stack")
        return self.stack.pop()

    def pop_some(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def pop_mark(self) -> list[Any]:
        if not self.outer:
            raise self.damaged("takes values without a mark")
        values, self.stack = self.stack, self.outer.pop()
        return values

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def protocol(self) -> None:
        if (version := self.number("<B")) > 5:
            raise self.damaged(f"has pickle's protocol {version}")

    def long(self) -> None:
        if (size := self.number("<B")) > 8:
            raise self.damaged(f"has a number of {size} bytes")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def put(self, index: int) -> None:
        if not self.stack:
            raise self.damaged("remembers a value of an empty stack")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise self.damaged(f"repeats the value {index}, which it does not have")
        self.push(self.memo[index])

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise self.damaged(f"has {_kind(module)} and {_kind(name)} in place of a name")
        found = NAMES.get(f"{module} {name}")
        if found is None:
            raise self.error(f"names {f'{module}.{name}'!r:.200}, which a dict of tensors does not need: {SOURCE}")
        self.push(found)

    def set_items(self, items: list[Any]) -> None:
        target = self.pop()
        if type(target) is not dict or len(items) % 2:
            raise self.damaged(f"puts {len(items)} values into {_kind(target)}")
        for name, value in zip(items[::2], items[1::2], strict=True):
            if type(name) is not str or name in target:
                what = f"the name {name!r:.100} twice" if type(name) is str else f"{_kind(name)} as a name"
                raise self.damaged(f"has {what}")
            target[name] = value
        self.push(target)

    def persistent(self) -> None:
        match self.pop():
            case ("storage", StorageType(dtype), str(key), str(), int(size)) if type(size) is int and 0 <= size < 2**63:
                self.push(Storage(dtype, key, size))
            case other:
                raise self.damaged(f"has {_kind(other)} in place of a storage")

    def reduce(self) -> None:
        function, arguments = self.pop_some(2)
        match function, arguments:
            case Function.DICT, ():
                self.push({})
            case Function.TENSOR, (Storage() as storage, offset, shape, strides, bool(), dict()):
                if not _are_sizes((offset,)) or not _are_sizes(shape) or not _are_sizes(strides):
                    raise self.damaged("has a tensor whose offset, shape and strides are not sizes")
                self.push(Place(storage, offset, shape, strides))
            case Function.PARAMETER, (Place() as place, bool(), dict()):
                self.push(place)
            case Function() as known, _:
                raise self.error(f"calls {known.value.replace(' ', '.')} in an unknown way: {SOURCE}")
            case _:
                raise self.damaged(f"calls {_kind(function)}")

    def build(self) -> None:
        """Drops the attributes of a dict, such as the versions of the modules in a state_dict."""
        target, state = self.pop_some(2)
        if type(target) is not dict or type(state) is not dict:
            raise self.error(f"sets the state of {_kind(target)}: {SOURCE}")
        self.push(target)


def _name_of(code: bytes) -> str:
    import pickletools

    names = {instruction.code: instruction.name for instruction in pickletools.opcodes}
    known = names.get(code.decode("latin-1"))
    return f"the instruction {known}" if known else f"the unknown instruction {code!r}"


def _are_sizes(values: Any) -> bool:
    return type(values) is tuple and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _kind(value: Any) -> str:
    """Returns what a value is, with its article."""
    kinds = {Function: "name", StorageType: "name", Place: "tensor", Storage: "storage"}
    kind = kinds.get(type(value), type(value).__name__)
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _tuple(count: int) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(tuple(machine.pop_some(count)))


def _constant(value: Any) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(value)


def _number(form: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.number(form))


def _text(form: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.decode(machine.take(machine.number(form))))


INSTRUCTIONS: Mapping[bytes, Callable[[_Machine], Any]] = {
    b"\x80": _Machine.protocol,
    b"\x95": lambda machine: machine.number("<Q"),  # FRAME: a hint to read ahead
    b"(": _Machine.mark,
    b"}": lambda machine: machine.push({}),
    b")": _constant(()),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"K": _number("<B"),
    b"M": _number("<H"),
    b"J": _number("<i"),
    b"\x8a": _Machine.long,
    b"X": _text("<I"),
    b"\x8c": _text("<B"),
    b"t": lambda machine: machine.push(tuple(machine.pop_mark())),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"q": lambda machine: machine.put(machine.number("<B")),
    b"r": lambda machine: machine.put(machine.number("<I")),
    b"\x94": lambda machine: machine.put(len(machine.memo)),
    b"h": lambda machine: machine.get(machine.number("<B")),
    b"j": lambda machine: machine.get(machine.number("<I")),
    b"c": lambda machine: machine.name(machine.line(), machine.line()),
    b"\x93": lambda machine: machine.name(*machine.pop_some(2)),
    b"Q": _Machine.persistent,
    b"R": _Machine.reduce,
    b"b": _Machine.build,
    b"s": lambda machine: machine.set_items(machine.pop_some(2)),
    b"u": lambda machine: machine.set_items(machine.pop_mark()),
}
