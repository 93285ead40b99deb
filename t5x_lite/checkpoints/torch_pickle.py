# SPDX-License-Identifier: Apache-2.0
"""Reads the pickle in a file of `torch.save`, a dict of tensors, without executing it.

A pickle is a program for a stack machine and may call any function. `pickletools` decodes its instructions; this
machine supports only the instructions and names that torch writes for a dict of tensors, and rejects all others by
name. It imports nothing, calls nothing and makes no tensors: it returns the location of each one.

Source: CPython's `pickle.py` for the instructions; torch's `_utils.py` and `serialization.py` for the names.
"""

import enum
import pickletools
from typing import Any, NamedTuple

from t5x_lite.files.messages import first_line

MAX_BYTES = 2**19  # three times the pickle of umT5 XXL; this bounds memory and time
SOURCE = "get the weights from a source that you trust, or as safetensors"


class Storage(NamedTuple):
    """A storage that tensors share: the name of its dtype, its key in the file, and its number of elements."""

    dtype: str
    key: str
    size: int


class Place(NamedTuple):
    """The location of a tensor: its storage, and its offset, shape and strides there, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Name(enum.Enum):
    """Functions, which `_reduced` imitates without calling them, and storage classes, named after their dtypes."""

    DICT = "collections OrderedDict"
    TENSOR = "torch._utils _rebuild_tensor_v2"
    PARAMETER = "torch._utils _rebuild_parameter"
    float64 = "torch DoubleStorage"
    float32 = "torch FloatStorage"
    float16 = "torch HalfStorage"
    bfloat16 = "torch BFloat16Storage"
    int64 = "torch LongStorage"
    int32 = "torch IntStorage"
    int16 = "torch ShortStorage"
    int8 = "torch CharStorage"
    uint8 = "torch ByteStorage"
    bool = "torch BoolStorage"


NAMES = {name.value: name for name in Name}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


class NotTensorsError(ValueError):
    """A pickle uses something that a dict of tensors does not need."""


def read_places(content: bytes, where: str) -> dict[str, Place]:
    """Returns the places of the tensors in a pickled dict, of at most MAX_BYTES, by name.

    Raises:
      ValueError: prefixed with `where`, if the pickle is damaged, holds anything but a dict of tensors, or uses more
        than that needs.
    """
    assert len(content) <= MAX_BYTES
    machine = _Machine()
    try:
        for instruction, argument, _ in pickletools.genops(content):
            machine.follow(instruction.name, argument)
        result = machine.stack.pop()
    except NotTensorsError as error:
        raise ValueError(f"{where} {error}, which a dict of tensors does not need: {SOURCE}") from error
    # pickletools warns of backslashes in names.
    except (ValueError, LookupError, DeprecationWarning) as error:
        reason = f"{type(error).__name__}: {first_line(error, 100)}"
        raise ValueError(f"{where} has a damaged pickle ({reason}): download it again") from error
    if type(result) is not dict:
        raise ValueError(f"{where} holds {_kind(result)}, not a dict of tensors: save a model's state_dict() alone")
    for name, place in result.items():
        if type(place) is not Place:
            raise ValueError(
                f"{where} has {name!r:.100}, {_kind(place)}, not a tensor: save a model's state_dict() alone"
            )
    return result


class _Machine:
    """Executes instructions. As in CPython, a mark begins a new stack, whose values a later instruction takes."""

    def __init__(self):
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def follow(self, instruction: str, argument: Any) -> None:
        match instruction:
            case "PROTO" | "STOP":
                return
            case "MARK":
                self.outer.append(self.stack)
                self.stack = []
                return
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
                return
        value = self.value(instruction, argument)  # which may end the stack
        self.stack.append(value)

    def value(self, instruction: str, argument: Any) -> Any:
        """Returns what an instruction puts on the stack, in place of what it takes from there."""
        match instruction:
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                return argument
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE":
                return CONSTANTS[instruction]
            case "EMPTY_DICT":
                return {}
            case "TUPLE":
                return tuple(self.pop_mark())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                return tuple(self.pop(int(instruction[-1])))
            case "BINGET" | "LONG_BINGET":
                return self.memo[argument]
            case "GLOBAL":
                return _named(argument)
            case "BINPERSID":
                return _storage(self.stack.pop())
            case "REDUCE":
                return _reduced(*self.pop(2))
            case "BUILD":
                return _built(*self.pop(2))
            case "SETITEM" | "SETITEMS":
                items = self.pop(2) if instruction == "SETITEM" else self.pop_mark()
                return _with_items(self.stack.pop(), items)
        raise NotTensorsError(f"has the instruction {instruction}")

    def pop(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def pop_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.outer.pop()
        return values


def _named(name: str) -> Name:
    if name not in NAMES:
        raise NotTensorsError(f"names {name.replace(' ', '.')!r:.200}")
    return NAMES[name]


def _storage(identity: Any) -> Storage:
    match identity:
        case ("storage", Name() as kind, str(key), str(), size) if kind.value.endswith("Storage") and _are_sizes(size):
            return Storage(kind.name, key, size)
    raise ValueError(f"{_kind(identity)} in place of a storage")


def _reduced(function: Any, arguments: Any) -> Any:
    """Returns what stands for the result of a call."""
    match function, arguments:
        case Name.DICT, ():
            return {}
        case Name.TENSOR, (Storage() as storage, offset, tuple(shape), tuple(strides), bool(), dict()):
            if _are_sizes(offset, *shape, *strides):
                return Place(storage, offset, shape, strides)
        case Name.PARAMETER, (Place() as place, bool(), dict()):
            return place
    called = function.value.replace(" ", ".") if type(function) is Name else _kind(function)
    raise NotTensorsError(f"calls {called} in an unusual way")


def _built(target: Any, state: Any) -> dict[str, Any]:
    """Drops the attributes of a dict, such as the versions of the modules in a state_dict."""
    if type(target) is not dict or type(state) is not dict:
        raise NotTensorsError(f"sets the state of {_kind(target)}")
    return target


def _with_items(target: Any, items: list[Any]) -> dict[str, Any]:
    if type(target) is not dict or len(items) % 2:
        raise ValueError(f"{len(items)} values for {_kind(target)}")
    for name, value in zip(items[::2], items[1::2], strict=True):
        if type(name) is not str or name in target:
            raise ValueError(f"the name {name!r:.60} twice" if type(name) is str else f"{_kind(name)} as a name")
        target[name] = value
    return target


def _are_sizes(*values: Any) -> bool:
    return all(type(value) is int and 0 <= value < 2**63 for value in values)


def _kind(value: Any) -> str:
    """Returns what a value is, with its article."""
    kind = {Name: "name", Place: "tensor", Storage: "storage"}.get(type(value), type(value).__name__)
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
