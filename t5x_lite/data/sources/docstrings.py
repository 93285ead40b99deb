# SPDX-License-Identifier: Apache-2.0
"""The docstrings of installed packages: megabytes of English prose for a first pretraining run without a download.

They are parsed with `ast`, so no package is imported.
"""

import ast
import gc
import importlib.util
import inspect
import itertools
import pathlib
import sysconfig
import warnings
from collections.abc import Iterator, Sequence

# Import names of the largest packages among the dependencies of t5x_lite.
LIBRARIES = ("jax", "numpy", "scipy", "flax", "optax", "orbax", "grain", "tensorflow_datasets", "pyarrow")
STDLIB = "stdlib"
# Tests have few docstrings, and the standard library's contain invalid Python on purpose.
LEFT_OUT_DIRECTORIES = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"})

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
STATEMENT_LISTS = ("body", "orelse", "handlers", "finalbody", "cases")


def read_docstrings(packages: Sequence[str] | None = None, min_characters: int = 200) -> list[str]:
    """Returns the distinct docstrings of installed packages, without tests, in order of package, path and line.

    Args:
      packages: top-level import names or `stdlib`; None means `stdlib` and LIBRARIES.
      min_characters: the minimum length of a docstring, without its indentation.

    Raises:
      ValueError: if a package is not installed or has no Python source, or if there are no docstrings at all.
    """
    packages = (STDLIB, *LIBRARIES) if packages is None else tuple(packages)
    was_enabled = gc.isenabled()
    gc.disable()  # it takes 30% of the time, although syntax trees have no cycles
    try:
        paths = itertools.chain.from_iterable(map(python_files, packages))
        # A dict serves as an ordered set.
        documents = dict.fromkeys(text for path in paths for text in _docstrings_of_file(path, min_characters))
    finally:
        if was_enabled:
            gc.enable()
    if not documents:
        raise ValueError(
            f"task.packages {', '.join(packages)} have no docstring: name other packages"
            if min_characters <= 1  # as if set by a command that has no such option
            else f"task.packages {', '.join(packages)} have no docstring of at least task.min_characters "
            f"{min_characters}: name other packages or lower min_characters"
        )
    return list(documents)


def python_files(package: str) -> Iterator[pathlib.Path]:
    """Yields the source files of a package, sorted by path."""
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
    """Yields the docstrings of a file in order; nothing if it cannot be parsed."""
    try:
        source = path.read_bytes().decode()
        # Parsing takes 90% of the time: skip files without a triple-quoted string of that length.
        quoted = source.split('"""')[1::2] + source.split("'''")[1::2]
        if not any(len(text) >= min_characters for text in quoted):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SyntaxWarning and DeprecationWarning from third-party code
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # ValueError: invalid UTF-8 or null bytes
        return
    for node in _statements(tree):
        if isinstance(node, DOCUMENTED):
            docstring = ast.get_docstring(node, clean=False) or ""
            if len(docstring.strip()) >= min_characters:
                text = inspect.cleandoc(docstring).encode(errors="ignore").decode()  # "\ud800" cannot be encoded
                if len(text.strip()) >= min_characters:
                    yield text


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields the statements in source order; `ast.walk` would visit ten times as many nodes."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        children = [
            child for name in STATEMENT_LISTS for child in getattr(node, name, ()) if isinstance(child, ast.AST)
        ]
        stack.extend(reversed(children))
