"""The folders drawn in README.md, enforced: an import may only point down. And the sizes CONTRIBUTING.md allows."""

import ast

from tests.paths import ROOT

PACKAGE = ROOT / "t5x_lite"
LAYERS = (
    "config",
    "parallel files",
    "model data optim",
    "tasks checkpoints perf",
    "inference",
    "evaluation",
    "training serving",
    "commands",
    "cli __init__",
    "__main__",
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names.split()}
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 500, 60, 6
TREES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def imports(tree: ast.Module) -> list[list[str]]:
    """Returns the dotted parts of every module that a file imports, wherever in it."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name.split(".") for name in names]


def test_imports_point_down_and_commands_are_imported_by_cli_and_dispatch_alone():
    for path, tree in TREES.items():
        here = path.relative_to(PACKAGE).with_suffix("").parts
        for package, *parts in imports(tree):
            if package == "jax":
                assert here[0] != "data", f"{path} imports jax: text becomes batches without it"
            if package != "t5x_lite" or parts[0] not in LEVEL:
                continue
            assert here[0] == parts[0] or LEVEL[parts[0]] < LEVEL[here[0]], f"{path} imports {'.'.join(parts)}"
            if parts[0] == "commands" and here not in (("cli",), ("commands", "dispatch")):
                assert here[1] == parts[1], f"{path} imports the command {parts[1]}"


def test_files_functions_and_signatures_stay_small():
    for path, tree in TREES.items():
        assert path.read_text().count("\n") <= MAX_FILE_LINES, f"{path} is too long"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{path}: {node.name} is too long"
                parameters = [arg for arg in node.args.args + node.args.kwonlyargs if arg.arg not in ("self", "cls")]
                assert len(parameters) <= MAX_PARAMETERS, f"{path}: {node.name} takes {len(parameters)} parameters"


def test_the_root_has_no_loose_modules_the_readme_draws_the_folders_and_tests_mirror_them():
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    modules = {"cli", "__init__", "__main__"}
    assert entries == LEVEL.keys() - modules | {f"{name}.py" for name in modules} | {"py.typed"}
    drawing = [line.split() for line in (ROOT / "README.md").read_text().splitlines()]
    for names in LAYERS[:-2]:
        folders = [f"{name}/" for name in names.split()]
        assert any(row[: len(folders)] == folders for row in drawing), f"README.md does not draw {folders} on one line"
    for path in TREES:
        if path.name != "__init__.py":
            relative = path.relative_to(PACKAGE)
            assert (ROOT / "tests" / relative.parent / f"test_{relative.name}").exists(), f"{relative} has no test file"
