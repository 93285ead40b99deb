# SPDX-License-Identifier: Apache-2.0
"""The docstrings of installed packages: text for a first pretraining run without a download.

They are megabytes of real English technical prose that every installation has. They are read with `ast`, so nothing is
imported or run.
"""

import ast
import contextlib
import gc
import importlib.util
import inspect
import pathlib
import sysconfig
import warnings
from collections.abc import Iterator, Sequence

# The largest packages, by import name, that every installation of t5x_lite has.
DEFAULT_PACKAGES = (
    "stdlib",
    "jax",
    "numpy",
    "scipy",
    "flax",
    "optax",
    "orbax",
    "grain",
    "tensorflow_datasets",
    "pyarrow",
)
STDLIB = "stdlib"
# Tests have few docstrings, and those of the standard library contain invalid Python.
LEFT_OUT_DIRECTORIES = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"})

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
STATEMENT_LISTS = ("body", "orelse", "handlers", "finalbody", "cases")


def read_docstrings(packages: Sequence[str] | None = None, min_characters: int = 200) -> list[str]:
    """Returns the distinct docstrings of modules, classes and functions in installed packages, tests excluded.

    Args:
      packages: top-level import names, or `stdlib`; None is DEFAULT_PACKAGES.
      min_characters: the minimum length of a docstring after its indentation is removed.

    Returns:
      Docstrings in the order of `packages`, then of the path within the package, then of the file.

    Raises:
      ValueError: if a package is not installed or has no Python source, or there are no docstrings at all.
    """
    packages = DEFAULT_PACKAGES if packages is None else tuple(packages)
    documents: dict[str, None] = {}  # a dict keeps the first of duplicates, in order
    with _no_garbage_collection():
        for package in packages:
            for path in _python_files(package):
                for docstring in _docstrings_of_file(path, min_characters):
                    documents.setdefault(docstring)
    if not documents:
        raise ValueError(
            f"task.packages {', '.join(packages)} have no docstring of at least task.min_characters {min_characters}: "
            "name other packages or lower min_characters"
        )
    return list(documents)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Pauses garbage collection: syntax trees have no cycles, and looking for them takes 30% of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _python_files(package: str) -> Iterator[pathlib.Path]:
    """Yields the source files of a package, sorted by their path within it."""
    if package == STDLIB:
        roots = [sysconfig.get_path("stdlib")]
    else:
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None:
            raise ValueError(
                f"task.packages names {package!r}, which is not an installed top-level package: install it or leave it "
                "out"
            )
        if spec.submodule_search_locations is None and str(spec.origin).endswith(".py"):
            yield pathlib.Path(str(spec.origin))
            return
        roots = list(spec.submodule_search_locations or ())
    files = []
    for root in map(pathlib.Path, roots):
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).parts
            if not LEFT_OUT_DIRECTORIES.intersection(parts) and not parts[-1].endswith("_test.py"):
                files.append((parts, path))
    if not files:
        raise ValueError(f"task.packages names {package!r}, which has no Python source files: leave it out")
    yield from (path for _, path in sorted(files))


def _docstrings_of_file(path: pathlib.Path, min_characters: int) -> Iterator[str]:
    """Yields the docstrings of a file, in order; none if this Python cannot parse it."""
    try:
        source = path.read_bytes().decode()
        # Parsing takes nine tenths of the time: skip files without a triple-quoted string of that length.
        quoted = source.split('"""')[1::2] + source.split("'''")[1::2]
        if not any(len(text) >= min_characters for text in quoted):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SyntaxWarning and DeprecationWarning of other people's code
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # ValueError: not UTF-8 (a UnicodeDecodeError), or null bytes
        return
    for node in _statements(tree):
        if isinstance(node, DOCUMENTED):
            docstring = ast.get_docstring(node, clean=False) or ""
            if len(docstring.strip()) >= min_characters:
                text = inspect.cleandoc(docstring).encode(errors="ignore").decode()  # "\ud800" cannot be encoded
                if len(text.strip()) >= min_characters:
                    yield text


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields statements and their containers in the order of the file; `ast.walk` visits ten times as many nodes."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        children = [
            child for name in STATEMENT_LISTS for child in getattr(node, name, ()) if isinstance(child, ast.AST)
        ]
        stack.extend(reversed(children))
