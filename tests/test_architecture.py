"""The layers drawn in README.md, enforced: an import may only point down. And the sizes CONTRIBUTING.md allows."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "t5x_lite"
LAYERS = (
    "atomic axes config cost",
    "attention_views compiler_options distributed kernels line_files metrics optim plot report stopping trees",
    "data model sharding",
    "checkpoint decode inputs interop run_directory tasks train_step",
    "evaluation pretrained program",
    "answering prompting starting",
    "attention conversion data_statistics inference inspection interactive measurement model_listing preparation "
    "scoring serving tokenizer_training",
    "aot training",
    "cli __init__",
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names.split()}
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 500, 60, 6
SOURCES = sorted(PACKAGE.rglob("*.py"))


def part(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: pathlib.Path) -> set[str]:
    """The parts of the package that a file imports from."""
    nodes = ast.walk(ast.parse(path.read_text()))
    modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    nodes = ast.walk(ast.parse(path.read_text()))
    modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    nodes = ast.walk(ast.parse(path.read_text()))
    names = [
        f"t5x_lite.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "t5x_lite"
        for alias in node.names
        if alias.name in LEVEL
    ]
    return {module.split(".")[1] for module in [*modules, *names] if module.startswith("t5x_lite.")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = part(path)
    for there in imported(path):
        assert here == there or LEVEL[there] < LEVEL[here], f"{path} imports {there}"


def test_the_readme_draws_the_same_layers():
    drawing = (ROOT / "README.md").read_text()
    for level, names in enumerate(LAYERS):
        row = next(line for line in drawing.splitlines() if line.strip().startswith(f"{level}  "))
        for name in names.replace("__init__", "").split():
            assert name in row.split(), f"{name} is missing from row {level} of the drawing in README.md"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{node.name} is too long"
            parameters = [arg for arg in node.args.args + node.args.kwonlyargs if arg.arg not in ("self", "cls")]
            assert len(parameters) <= MAX_PARAMETERS, f"{node.name} takes {len(parameters)} parameters"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_has_tests_in_the_same_place(path):
    if path.name != "__init__.py":
        relative = path.relative_to(PACKAGE)
        assert (ROOT / "tests" / relative.parent / f"test_{relative.name}").exists()
