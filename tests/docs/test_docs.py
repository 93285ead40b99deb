"""Runs the code of the tutorials and how-to pages, page by page, each in a directory of its own.

```python and ```bash blocks are run in order. A block with a caption is the content of the file that the caption names,
and a ```diff block is applied to a copy of the package. A block that cannot be run here says so to the reader in its
first line: `# Not run by the tests: REASON`. Training is cut to a few steps.
"""

import dataclasses
import pathlib
import re
import shutil
import subprocess

import pytest

import t5x_lite
from tests import runs
from tests.docs.pages import make_command, make_flan
from tests.paths import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(
    page.relative_to(DOCS).as_posix() for kind in ("tutorials", "howto") for page in (DOCS / kind).glob("*.md")
)
BLOCK = re.compile(r"^```(?:\{code-block\} )?(\w+)\n(?::caption: (\S+)\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"# Not run by the tests: \w.{9,}")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    language: str
    caption: str
    code: str

    @property
    def runs(self) -> bool:
        """Whether a reader is meant to run it."""
        return self.language in ("python", "bash") and not self.caption


def blocks(page: str) -> list[Block]:
    return [Block(*parts) for parts in BLOCK.findall((DOCS / page).read_text())]


def test_there_are_pages():
    assert {page.partition("/")[0] for page in PAGES} == {"tutorials", "howto"}


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_understood_and_says_so_if_it_is_not_run(page):
    assert len(blocks(page)) == (DOCS / page).read_text().count("\n```") // 2, "a block that BLOCK does not match"
    for block in blocks(page):
        if "Not run by the tests" in block.code:
            assert NOT_RUN.match(block.code), f"give a reason in the first line of:\n{block.code}"
        elif block.language == "python":
            compile(block.code, page, "exec")
        elif block.language == "bash":
            subprocess.run(["bash", "-n"], input=block.code, text=True, check=True)
        elif block.language == "diff":
            apply_diff(block.code, ROOT)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A directory like a checkout's root, with a tiny model in place of Flan-T5."""
    for name in ("configs", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    make_flan("flan-t5-small")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if "Size of the change" in (DOCS / page).read_text()])
def test_the_size_of_a_change_is_stated_as_it_is(page):
    new = [block.code for block in blocks(page) if block.caption.startswith("t5x_lite/")]
    changed = [
        re.findall(r"^\+(?!\+\+)", block.code, re.MULTILINE) for block in blocks(page) if block.language == "diff"
    ]
    files = f"{len(changed)} changed file" + "s" * (len(changed) > 1)
    lines = f"{sum(map(len, changed))} line" + "s" * (sum(map(len, changed)) > 1)
    stated = f"1 new file of {new[0].count(chr(10))} lines; {files}, {lines}"
    assert stated in (DOCS / page).read_text(), stated


def apply_diff(code: str, folder: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Returns a file and its text after the changes of a diff without line numbers; each hunk must fit exactly once."""
    header, *hunks = re.split(r"^@@.*\n", code, flags=re.MULTILINE)
    path = folder / re.search(r"^\+\+\+ b/(\S+)", header, re.MULTILINE)[1]
    text = path.read_text()
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] != sign) for sign in "+-")
        assert text.count(old) == 1, f"{path} does not have these lines once:\n{old}"
        text = text.replace(old, new)
    return path, text


def quick_start(folder: pathlib.Path) -> t5x_lite.RunConfig:
    """The run of the quick start, which the commands of `make_command` continue: but for the steps, as they have it."""
    cfg = runs.config(folder / "runs" / "quickstart", num_steps=2)
    optimizer, evaluation = (
        dataclasses.replace(cfg.optimizer, warmup_steps=2),
        dataclasses.replace(cfg.eval, num_batches=1),
    )
    return dataclasses.replace(cfg, optimizer=optimizer, eval=evaluation)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, folder):
    code = blocks(page)
    if any(block.language == "diff" for block in code):
        shutil.copytree(ROOT / "t5x_lite", folder / "t5x_lite", ignore=shutil.ignore_patterns("__pycache__"))
    if page == "tutorials/first_run.md":
        t5x_lite.train(quick_start(folder))
    environment, names = make_command(folder), {}
    for block in code:
        if NOT_RUN.match(block.code):
            continue
        if block.caption:
            path = folder / block.caption
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code)
        elif block.language == "diff":
            path, text = apply_diff(block.code, folder)
            path.write_text(text)
        elif block.language == "python":
            exec(compile(block.code, page, "exec"), names)
        elif block.language == "bash":
            done = subprocess.run(
                ["bash", "-euo", "pipefail"], input=block.code, text=True, capture_output=True, env=environment
            )
            assert done.returncode == 0, f"{block.code}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
