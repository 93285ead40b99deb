"""Tests t5x_lite/checkpoints/torch_pickle.py; fuzz_torch_zip.py shows that hostile pickles run nothing."""

import pathlib
import pickle

import pytest

from t5x_lite.checkpoints.torch_pickle import Place, Storage, read_places
from tests.checkpoints.hostile_pickles import hostile_pickles
from tests.checkpoints.torch_files import EMPTY, ORDERED_DICT, START, STOP, name, pickled, storage, tensor, text

PLACE = storage("7", 15)
EXPECTED = Place(Storage("float32", "7", 15), 2, (3, 4), (4, 1))
GOOD = tensor(PLACE, [3, 4], offset=2)


def test_the_place_of_each_tensor_is_read():
    other = tensor(storage("8", 2, "BFloat16Storage"), [])
    places = read_places(pickled({"a": GOOD, "b": other}), "x")
    assert places == {"a": EXPECTED, "b": Place(Storage("bfloat16", "8", 2), 0, (), ())}


def test_a_parameter_is_the_tensor_in_it():
    parameter = name("torch._utils", "_rebuild_parameter") + b"(" + GOOD + b"\x88" + EMPTY + b"tR"
    assert read_places(pickled({"a": parameter}), "x") == {"a": EXPECTED}


def test_the_metadata_of_a_state_dict_is_dropped():
    state = b"}" + text("_metadata") + EMPTY + b"(" + text("") + b"}" + text("version") + b"K\x01s" + b"usb"
    content = START + EMPTY + b"(" + text("a") + GOOD + b"u" + state + STOP
    assert read_places(content, "x") == {"a": EXPECTED}


def test_values_are_remembered_and_repeated():
    remembered = GOOD + b"r\x09\x00\x00\x00q\x08"
    repeated = text("b") + b"h\x09" + text("c") + b"j\x08\x00\x00\x00"
    content = START + b"}q\x00(" + text("a") + remembered + repeated + b"u" + STOP
    assert read_places(content, "x") == {"a": EXPECTED, "b": EXPECTED, "c": EXPECTED}


@pytest.mark.parametrize("value", [0, 255, 256, 65_536, 2**31, 2**40])
def test_numbers_of_any_size_are_read(value):
    assert read_places(pickled({"a": tensor(PLACE, [3], offset=value)}), "x")["a"].offset == value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            pickled({"a": name("os", "system") + text("x") + b"\x85R"}),
            r"x names 'os.system', which .* not need: get the",
        ),
        (pickle.dumps(print, 2), "x names '__builtin__.print'"),
        (pickle.dumps({}, 4), "x has the instruction MEMOIZE"),  # of protocols that torch's own safe reader refuses too
        (
            START + b"(" + text("1") + b"ibuiltins\neval\n.",
            "x has the instruction INST, which a dict of tensors does not",
        ),
        (
            START + b"\xff.",
            r"x has a damaged pickle \(ValueError: at position 2, opcode b'\\xff' unknown\): download it again",
        ),
        (START + b"X\xff\xff\xff\xff.", "x has a damaged pickle .ValueError: expected 4294967295 bytes"),
        (START + ORDERED_DICT + b"}\x85R.", "x calls collections.OrderedDict in an unusual way, which a dict of"),
        (pickled({"a": b"}"}), "x has 'a', a dict, not a tensor: save a model's state_dict"),
        (pickled({"model": GOOD, "epoch": b"K\x03"}), "x has 'epoch', an int, not a tensor"),
        (START + GOOD + STOP, "x holds a tensor, not a dict of tensors"),
        (pickled({"a": GOOD + b"}b"}), "x sets the state of a tensor, which a dict"),
        (pickled({"a": b"K\x01Q"}), "an int in place of a storage"),
        (pickled({"a": tensor(PLACE, [-1])}), "x calls torch._utils._rebuild_tensor_v2 in"),
        (
            pickled({"a": tensor(PLACE, [1], more=b"\x89" + EMPTY + EMPTY)}),
            "x calls torch._utils._rebuild_tensor_v2 in",
        ),
        (START + b"}(" + (text("a") + GOOD) * 2 + b"u.", "the name 'a' twice"),
        (pickled({"a": tensor(PLACE, [2**80])}), "x calls torch._utils._rebuild_tensor_v2 in"),
        (START + b"c\\q\nx\n" + STOP, "x (has a damaged pickle|names)"),  # of whose \\q pickletools warns
    ],
)
def test_anything_else_is_refused_by_name(content, message):
    with pytest.raises(ValueError, match=message):
        read_places(content, "x")


def test_there_are_two_hundred_hostile_pickles_of_different_kinds():
    pickles = dict(hostile_pickles(pathlib.Path("/nowhere/canary")))
    assert len(pickles) >= 200
    assert len(set(pickles.values())) >= 200


@pytest.mark.parametrize("call", ["os.system", "eval", "exec"])
def test_python_itself_would_run_them(call, tmp_path):
    content = dict(hostile_pickles(tmp_path / "canary"))[f"{call}, protocol 2"]
    pickle.loads(content)
    assert (tmp_path / "canary").exists()
