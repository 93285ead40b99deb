"""Pickles that would run code, exhaust memory, or lie about a file, by name."""

import functools
import importlib
import operator
import os
import pickle
import struct

from t5x_lite.checkpoints.torch_pickle import MAX_BYTES
from tests.checkpoints.torch_files import EMPTY, ORDERED_DICT, START, STOP, name, number, pickled, storage, tensor
from tests.checkpoints.torch_files import text as t

PLACE = storage("0", 15)
GOOD = tensor(PLACE, [3, 5])


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.how = function, arguments

    def __reduce__(self):
        return self.how


def calls(canary):
    """Calls by name that would write the file `canary`, or reach such functions."""
    command = f"echo x > {canary}"
    python = f"open({str(canary)!r}, 'w').close()"
    return {
        "os.system": Calls(os.system, command),
        "os.popen": Calls(os.popen, command),
        "os.execv": Calls(os.execv, "/bin/sh", ["sh", "-c", command]),
        "eval": Calls(eval, python),
        "exec": Calls(exec, python),
        "compile": Calls(compile, python, "x", "exec"),
        "open": Calls(open, str(canary), "w"),
        "import": Calls(__import__, "antigravity"),
        "import_module": Calls(importlib.import_module, "antigravity"),
        "getattr": Calls(getattr, "", "join"),
        "partial": Calls(functools.partial, os.system, command),
        "attrgetter": Calls(operator.attrgetter, "system"),
        "methodcaller": Calls(operator.methodcaller, "write_text", "x"),
        "nested": Calls(map, Calls(operator.attrgetter, "x"), [1]),
        "nested eval": Calls(eval, Calls(str, python)),
        "loads": Calls(pickle.loads, pickle.dumps(Calls(os.system, command))),
        "bytearray": Calls(bytearray, 10**9),
        "list": Calls(list, range(10**9)),
    }


def made_by_pickle(canary):
    """The calls as pickle writes them, alone, in a list and in a dict, in every protocol."""
    for what, call in calls(canary).items():
        for protocol in range(6):
            yield f"{what}, protocol {protocol}", pickle.dumps(call, protocol)
        yield f"{what} in a list", pickle.dumps([call], 2)
        yield f"{what} beside numbers", pickle.dumps({"a": 1, "b": call}, 2)


SYSTEM = name("posix", "system") + b"(" + t("true") + b"tR"
CALL = name("builtins", "eval") + t("1") + b"\x85R"


def places():
    """Where a tensor's dict would run code."""
    yield "a value", pickled({"a": SYSTEM})
    yield "a value behind a tensor", pickled({"a": GOOD, "b": CALL})
    yield "a name", START + b"}(" + CALL + GOOD + b"u."
    yield "hooks", pickled({"a": tensor(PLACE, [3, 5], more=b"\x89" + CALL)})
    yield "metadata", pickled({"a": tensor(PLACE, [3, 5], more=b"\x89" + EMPTY + b"}" + t("neg") + b"\x88s")})
    yield "requires_grad", pickled({"a": tensor(PLACE, [3, 5], more=CALL + EMPTY)})
    yield "a storage", pickled({"a": tensor(SYSTEM, [3, 5])})
    yield "a storage's class", pickled({"a": tensor(storage("0", 15, name("builtins", "eval")), [3, 5])})
    yield "a storage's id", pickled({"a": CALL + b"Q"})
    yield "the state of a dict", pickled({"a": GOOD}, CALL + b"b")
    yield "the state of a tensor", pickled({"a": GOOD + b"}b"})
    yield "the arguments of a dict", START + ORDERED_DICT + CALL + b"R."
    yield "an unused value", START + CALL + b"0}."
    yield "a parameter", pickled({"a": name("torch._utils", "_rebuild_parameter") + CALL + b"\x88" + EMPTY + b"\x87R"})


def names():
    """Names that are near those that torch writes, or that its functions would reach."""
    for module, function in [
        ("torch", "load"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch._utils", "_rebuild_qtensor"),
        ("torch._utils", "_rebuild_tensor_v3"),
        ("torch._utils", "_import_dotted_name"),
        ("torch._tensor", "_rebuild_from_type_v2"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.storage", "UntypedStorage"),
        ("torch.jit", "load"),
        ("torch", "ComplexFloatStorage"),
        ("torch", "QInt8Storage"),
        ("collections", "OrderedDict.fromkeys"),
        ("collections", "OrderedDict "),
        ("collections OrderedDict", ""),
        ("Collections", "OrderedDict"),
        ("collections", "Counter"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "load"),
        ("copyreg", "_reconstructor"),
        ("__main__", "Calls"),
        ("__builtin__", "eval"),
        ("builtins", "getattr"),
        ("os", "system"),
        ("nt", "system"),
        ("", ""),
        ("\x1b[2J", "\x07"),
    ]:
        yield f"{module}.{function}", pickled({"a": name(module, function) + b")R"})
        yield f"{module}.{function} from the stack", pickled({"a": t(module) + t(function) + b"\x93)R"})
    yield "a name of numbers", pickled({"a": b"K\x01K\x02\x93)R"})
    yield "a name of repeated text", pickled({"a": t("os") + b"q\x01" + t("system") + b"q\x020" + b"h\x01h\x02\x93)R"})
    yield "a name without an end", START + b"c" + b"x" * 5_000
    yield "a name that is not UTF-8", START + b"c\xff\n\xff\n."


def instructions():
    """Instructions that torch does not write, or that do not fit together."""
    for what, code in {
        "INST": b"(" + t("1") + b"ibuiltins\neval\n",
        "OBJ": b"(" + name("collections", "OrderedDict") + b"o",
        "NEWOBJ": ORDERED_DICT + b")\x81",
        "NEWOBJ_EX": ORDERED_DICT + b")}\x92",
        "EXT1": b"\x82\x01",
        "EXT2": b"\x83\x01\x00",
        "EXT4": b"\x84\x01\x00\x00\x00",
        "PERSID": b"Pstorage\n",
        "DUP": b"}2",
        "POP": b"}}0",
        "POP_MARK": b"}(1",
        "STRING": b"S'\\q'\n",
        "INT": b"I1\n",
        "LONG": b"L" + b"9" * 5_000 + b"L\n",
        "LONG4": b"\x8b" + struct.pack("<i", 2**31 - 1),
        "a negative LONG4": b"\x8b" + struct.pack("<i", -1),
        "a long LONG1": b"\x8a\xff" + b"\xff" * 255,
        "FLOAT": b"F1\n",
        "BINFLOAT": b"G" + b"\0" * 8,
        "UNICODE": b"V\\u0041\n",
        "BINUNICODE": b"X" + struct.pack("<I", 2**32 - 1),
        "BINUNICODE8": b"\x8d" + struct.pack("<Q", 2**63),
        "BINBYTES8": b"\x8e" + struct.pack("<Q", 2**63),
        "BYTEARRAY8": b"\x96" + struct.pack("<Q", 2**62),
        "BINSTRING": b"T" + struct.pack("<i", -5),
        "NEXT_BUFFER": b"\x97",
        "EMPTY_SET": b"\x8f",
        "EMPTY_LIST": b"]",
        "an unknown instruction": b"\xff",
        "protocol 200": b"\x80\xc8",
        "GET": b"g1\n",
        "a BINGET of nothing": b"h\x07",
        "a LONG_BINGET of nothing": b"j" + b"\xff" * 4,
        "a BINPUT of nothing": b"q\x01",
        "a TUPLE without a mark": b"}t",
        "a SETITEMS without a mark": b"}u",
        "a SETITEM of nothing": b"s",
        "a SETITEM of a tuple": b")" + t("a") + b"Ns",
        "odd SETITEMS": b"}(" + t("a") + b"u",
        "a name that is a number": b"}K\x01Ns",
        "a name that is a tuple": b"}))s",
        "a name twice": b"}(" + t("a") + GOOD + t("a") + GOOD + b"u",
        "a REDUCE of text": t("x") + b")R",
        "a REDUCE of a storage's class": name("torch", "FloatStorage") + number(10**12) + b"\x85R",
        "a REDUCE of a tensor": GOOD + b")R",
        "a REDUCE without a tuple": ORDERED_DICT + b"NR",
        "a REDUCE of a dict with arguments": ORDERED_DICT + b"}\x85R",
        "a BUILD of text": t("x") + b"}b",
        "a BUILD of a class": ORDERED_DICT + b"}b",
        "a BUILD of a storage": PLACE + b"}b",
        "nothing": b"",
        "no dict": GOOD,
        "a text": t("x"),
        "a class": ORDERED_DICT,
        "itself": b"}q\x01" + t("a") + b"h\x01s",
        "a dict in a dict": b"}" + t("a") + b"}" + t("b") + GOOD + b"ss",
        "a storage as a value": b"}" + t("a") + PLACE + b"s",
        "a number as a value": b"}" + t("a") + b"K\x01s",
    }.items():
        yield what, START + code + STOP
    yield "no STOP", START + b"}"
    yield "nothing at all", b""


def ids():
    """Persistent ids of storages that are none."""
    kind = name("torch", "FloatStorage")
    for what, code in {
        "a number": b"K\x01",
        "None": b"N",
        "a dict": b"}",
        "an empty tuple": b")",
        "text": t("storage"),
        "another kind": b"(" + t("module") + kind + t("0") + t("cpu") + b"K\x0ft",
        "a class as text": b"(" + t("storage") + t("FloatStorage") + t("0") + t("cpu") + b"K\x0ft",
        "a function as its class": b"(" + t("storage") + ORDERED_DICT + t("0") + t("cpu") + b"K\x0ft",
        "a key that is a number": b"(" + t("storage") + kind + b"K\x00" + t("cpu") + b"K\x0ft",
        "a device that is a tuple": b"(" + t("storage") + kind + t("0") + b")K\x0ft",
        "a size that is text": b"(" + t("storage") + kind + t("0") + t("cpu") + t("15") + b"t",
        "a size that is true": b"(" + t("storage") + kind + t("0") + t("cpu") + b"\x88t",
        "a size below zero": b"(" + t("storage") + kind + t("0") + t("cpu") + number(-1) + b"t",
        "too few": b"(" + t("storage") + kind + t("0") + b"K\x0ft",
        "too many": b"(" + t("storage") + kind + t("0") + t("cpu") + b"K\x0fNt",
        "nested ids": PLACE,
    }.items():
        yield f"a storage's id: {what}", pickled({"a": tensor(code + b"Q", [3, 5])})


def sizes():
    """Tensors that are not in the file."""
    for what, code in {
        "a storage elsewhere": tensor(storage("../../../etc/passwd", 15), [3, 5]),
        "a huge storage": tensor(storage("0", 2**62), [3, 5]),
        "a huge shape": tensor(PLACE, [2**62, 2**62]),
        "a shape below zero": tensor(PLACE, [-3, 5]),
        "a repeated number": tensor(PLACE, [2**40], [0]),
        "an offset behind the end": tensor(PLACE, [3, 5], offset=2**40),
        "an offset below zero": tensor(PLACE, [3, 5], offset=-1),
        "strides below zero": tensor(PLACE, [3, 5], [-5, -1]),
        "huge strides": tensor(PLACE, [3, 5], [2**62, 2**62]),
        "a hundred dimensions": tensor(PLACE, [1] * 100),
        "fewer strides": tensor(PLACE, [3, 5], [1]),
        "no tuple": name("torch._utils", "_rebuild_tensor_v2") + b"(" + PLACE + b"K\x00K\x03K\x01\x89" + EMPTY + b"tR",
        "nested sizes": name("torch._utils", "_rebuild_tensor_v2") + b"(" + PLACE + b"K\x00))\x85)\x89" + EMPTY + b"tR",
        "true as a size": name("torch._utils", "_rebuild_tensor_v2")
        + b"("
        + PLACE
        + b"K\x00\x88\x85\x88\x85\x89"
        + EMPTY
        + b"tR",
    }.items():
        yield what, pickled({"a": code})


def exhausting():
    """Pickles that would take much memory or time, or recurse."""
    many = MAX_BYTES - 20
    yield "half a million marks", START + b"(" * many + STOP
    yield "half a million dicts", START + b"}" * many + STOP
    yield "dicts in dicts", START + (b"}" + t("a")) * (many // 8) + b"N" + b"s" * (many // 8) + STOP
    yield "tuples in tuples", START + b")" + b"\x85" * many + b")R" + STOP
    yield "tuples in tuples as a name", START + b"})" + b"\x85" * (many // 8) + b"Ns" + STOP
    yield "tuples in tuples as an id", START + b")" + b"\x85" * (many // 8) + b"Q" + STOP
    yield "half a million memories", START + b"}" + b"\x94" * many + STOP
    yield "a doubling tuple", START + b")" + b"q\x01h\x01\x86" * 400 + STOP
    yield "a memory far away", START + b"}r" + b"\xff" * 4 + b"0" + STOP
    yield "a long text", START + t("x" * 2**18) + b"q\x01" + b"h\x01\x86" * 10 + STOP
    yield "more bytes than are read", START + b"N" * MAX_BYTES + STOP
    yield "frames", START + (b"\x95" + b"\xff" * 8) * 50_000 + STOP


def hostile_pickles(canary):
    """All pickles by name."""
    for kind in (made_by_pickle(canary), places(), names(), instructions(), ids(), sizes(), exhausting()):
        yield from kind
