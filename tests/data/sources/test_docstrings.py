"""Tests t5x_lite/data/sources/docstrings.py"""

import gc
import subprocess
import sys
import warnings

import pytest

from t5x_lite.data.sources.docstrings import read_docstrings

LONG = "A docstring long enough to be read, about {}."


def docstring(about):
    return LONG.format(about)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that fails when it is imported."""
    root = tmp_path / "fakepackage"
    (root / "tests").mkdir(parents=True)
    (root / "b_module.py").write_text(
        f'"""{docstring("modules")}"""\n'
        "raise ImportError\n"
        "if True:\n"
        "    class Outer:\n"
        f'        """{docstring("classes")}\n\n            indented\n        plain\n        """\n'
        f'        async def method(self):\n            """{docstring("methods")}"""\n'
        f'            def inner():\n                r"""{docstring("inner functions")}"""\n'
        "def short():\n    '''short'''\n"
        f'def function():\n    """{docstring("functions")}"""\n'
        f'def again():\n    """{docstring("modules")}"""\n'
        f'x = """{docstring("no docstring")}"""\n'
    )
    (root / "a_module.py").write_text(f"'''{docstring('the first file')}'''\n")
    (root / "tests" / "test_it.py").write_text(f'"""{docstring("tests")}"""\n')
    (root / "it_test.py").write_text(f'"""{docstring("tests")}"""\n')
    (root / "broken.py").write_text(f'"""{docstring("a syntax error")}"""\nprint "hello"\n')
    (root / "latin1.py").write_bytes(f'"""{docstring("caf")}\xe9"""\n'.encode("latin-1"))
    (root / "nulls.py").write_text(f'"""{docstring("null bytes")}"""\n\0\n')
    (root / "warns.py").write_text(f'"""{docstring("warnings")}"""\nx = "\\d" is 1\n')
    (root / "surrogate.py").write_text(f'"""{docstring("surrogates")}\\ud800"""\n')
    monkeypatch.syspath_prepend(tmp_path)
    return "fakepackage"


def test_docstrings_come_cleaned_once_and_in_the_order_of_paths_and_files(package):
    in_b_module = ["modules", "classes", "methods", "inner functions", "functions"]
    expected = [docstring(about) for about in ("the first file", *in_b_module, "surrogates", "warnings")]
    expected[2] += "\n\n    indented\nplain"
    assert read_docstrings([package], 30) == expected
    assert package not in sys.modules


def test_min_characters_counts_the_cleaned_text(package):
    length = len(docstring("methods"))
    assert docstring("methods") in read_docstrings([package], length)
    assert docstring("methods") not in read_docstrings([package], length + 1)


def test_parsing_other_peoples_files_warns_nobody(package):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_docstrings([package], 30)
    assert not caught


def test_garbage_collection_is_back_on_afterwards():
    read_docstrings(["heapq"], 100)
    assert gc.isenabled()
    with pytest.raises(ValueError, match=r"not_installed"):
        read_docstrings(["not_installed"])
    assert gc.isenabled()


def test_a_module_of_one_file_is_read():
    assert any("smallest element" in text for text in read_docstrings(["heapq"], 100))


def test_an_unknown_package_is_named():
    for name in ("not_installed_at_all", "jax.numpy", ""):
        with pytest.raises(ValueError, match=f"task.packages names '{name}'"):
            read_docstrings(["heapq", name])


def test_a_package_without_python_source_is_named():
    with pytest.raises(ValueError, match=r"task.packages names 'sys', which has no Python source"):
        read_docstrings(["sys"])


def test_an_empty_corpus_names_what_to_change():
    with pytest.raises(ValueError, match=r"task.packages heapq have no docstring of at least task.min_char"):
        read_docstrings(["heapq"], 100_000)


def test_the_order_does_not_depend_on_hash_randomisation():
    code = "from t5x_lite.data.sources.docstrings import *; print(read_docstrings(['json', 'email'], 99))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, check=True,
        ).stdout
        for seed in "12"
    ]  # fmt: skip
    assert len(runs[0]) > 10_000
    assert runs[0] == runs[1]
