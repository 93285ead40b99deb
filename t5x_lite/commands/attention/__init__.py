# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite attention`: shows a model's attention maps and token probabilities for one text."""

import contextlib
import json
import pathlib
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from t5x_lite.checkpoints.load import Pretrained, load
from t5x_lite.checkpoints.model_files import model_files
from t5x_lite.commands.attention.chart import check_can_draw, png
from t5x_lite.commands.attention.contents import Contents
from t5x_lite.commands.attention.look import look_at
from t5x_lite.commands.attention.page import page
from t5x_lite.config.commands import AttentionConfig
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.one_writer import one_writer
from t5x_lite.files.pictures import can_draw
from t5x_lite.files.same_file import refuse_overwriting

WIDTH = 200  # columns of the table if stdout is not a terminal


def run(options: AttentionConfig) -> None:
    """Writes the page and the picture, and prints the probabilities."""
    page_path, picture_path = output_paths(options.output)
    refuse_overwriting(filter(None, (page_path, picture_path)), model_files(options.checkpoint), "--output")
    with contextlib.ExitStack() as stack:
        for path in filter(None, (page_path, picture_path)):
            stack.enter_context(one_writer(path, "--output"))
        _show(options, page_path, picture_path)


def _show(options: AttentionConfig, page_path: pathlib.Path | None, picture_path: pathlib.Path | None) -> None:
    pretrained = load(options.checkpoint, step=options.step)
    contents = look_at(pretrained, options)
    files = []
    if page_path is not None:
        write_atomically(page_path, page(contents))
        files.append(str(page_path))
    if picture_path is not None and (can_draw() or page_path is None):
        write_atomically(picture_path, png(contents))
        files.append(str(picture_path))
    if options.json:
        print(json.dumps(_as_json(contents, pretrained, options, files), ensure_ascii=False))
        return
    _print_table(contents)
    print(f"Wrote {' and '.join(files)}")
    if picture_path is not None and str(picture_path) not in files:
        print(f"Left out {picture_path}: matplotlib is not installed (pip install 't5x-lite[plot]')")


def output_paths(output: str) -> tuple[pathlib.Path | None, pathlib.Path | None]:
    """Returns the paths of the page and the picture, each None if not requested."""
    path = pathlib.Path(output)
    if not path.parent.is_dir():
        raise ValueError(f"--output {output} is in a directory that does not exist: create it, or name another file")
    if path.suffix == ".html":
        return path, None
    if path.suffix == ".png":
        check_can_draw(path)
        return None, path
    # Not with_suffix, because names may contain dots.
    return path.with_name(path.name + ".html"), path.with_name(path.name + ".png")


def _print_table(contents: Contents) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False, emoji=False)
    console.print(contents.title, soft_wrap=True)
    for name, fact in contents.facts.items():
        console.print(f"{name}: {fact}", soft_wrap=True)
    console.print()
    if not contents.steps:
        console.print("No token is predicted: mask one in --text with <extra_id_0>.", soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("place", "reads", "token", "probability"):
        table.add_column(column, justify="right" if column in ("place", "probability") else "left", no_wrap=True)
    table.add_column("most probable")
    for step in contents.steps:
        best = "  ".join(f"{one.token} {one.probability:.4f}" for one in step.candidates)
        place = str(step.place) if step.place >= 0 else ""
        table.add_row(place, step.reads, step.chosen.token, f"{step.chosen.probability:.4f}", best)
    console.print(table)


def _as_json(contents: Contents, pretrained: Pretrained, options: AttentionConfig, files: list[str]) -> dict[str, Any]:
    steps = [
        {
            "place": step.place if step.place >= 0 else None,
            "reads": step.reads,
            "token": step.chosen.token,
            "probability": step.chosen.probability,
            "candidates": [one._asdict() for one in step.candidates],
        }
        for step in contents.steps
    ]
    fields = ("name", "layers", "heads", "queries", "keys")
    maps = [{field: getattr(one, field) for field in fields} for one in contents.maps]
    about = {"checkpoint": options.checkpoint, "step": pretrained.step, "architecture": pretrained.architecture.name}
    return about | {"facts": contents.facts, "steps": steps, "maps": maps, "files": files}
