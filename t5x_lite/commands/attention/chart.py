# SPDX-License-Identifier: Apache-2.0
"""A PNG of all attention maps, a row per layer and a column per head; requires matplotlib (the plot extra).

Shape letters: L layers, N heads, Q queries, K keys. Lengths are in inches; x points right and y down.
"""

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from t5x_lite.commands.attention.contents import Contents, Map
from t5x_lite.files.pictures import can_draw

DPI = 100
LABEL, LABEL_PITCH = {"fontsize": 6.5, "family": "monospace"}, 0.1  # of token names: font, and minimum distance
LABEL_LENGTH, CHARACTER_WIDTH = 18, 0.058
CELL, MIN_SIDE, MAX_SIDE = 0.13, 0.6, 5.2  # sides of a weight and of a map; 512 weights get a pixel each
MAX_WIDTH, MAX_HEIGHT = 60.0, 150.0  # of all maps in a row, and in a column
GAP, MARGIN, TITLE = 0.12, 0.3, 0.8
KEY = "queries run down, keys across; white is weight 0, darkest is 1, on a square-root scale"


def check_can_draw(path: object) -> None:
    """Raises ValueError if matplotlib, which the picture at `path` needs, is not installed."""
    if not can_draw():
        raise ValueError(
            f"--output {path} is a picture, but matplotlib is not installed: run pip install 't5x-lite[plot]', or name "
            "a file that ends in .html"
        )


def png(contents: Contents) -> bytes:
    """Returns a PNG with a grid of maps per kind of attention, all on one colour scale.

    Tokens are labelled to the left of and below each grid; where space is short, only every nth one.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    longest = longest_side(contents.maps)
    grids = [_Grid(one, longest) for one in contents.maps]
    width = max(5.0, *(grid.width for grid in grids)) + 2 * MARGIN
    height = TITLE + sum(grid.height + MARGIN for grid in grids) + MARGIN
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes: Any = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    _write(axes, MARGIN, TITLE / 2, contents.title[: int(width / 0.09)], fontsize=11, va="center")
    _write(axes, MARGIN, TITLE / 2 + 0.2, KEY, fontsize=7, va="center", color="#666666")
    top = TITLE
    for grid in grids:
        grid.draw(axes, MARGIN, top)
        top += grid.height + MARGIN
    file = io.BytesIO()
    with warnings.catch_warnings():
        # matplotlib's font lacks many scripts; the HTML page shows them all.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas.print_png(file)
    return file.getvalue()


def longest_side(maps: Sequence[Map]) -> float:
    """Returns the maximum side of a map such that all maps fit into MAX_WIDTH and MAX_HEIGHT."""
    across, down = max(len(one.heads) for one in maps), sum(len(one.layers) for one in maps)
    return min(MAX_SIDE, MAX_WIDTH / across, MAX_HEIGHT / down)


def cell_side(num_tokens: int, longest: float) -> float:
    """Returns the side of one weight in a map with `num_tokens` weights and at most `longest` inches per side."""
    return min(max(CELL, MIN_SIDE / num_tokens), longest / num_tokens)


class _Grid:
    """Layout and drawing of the maps of one kind."""

    def __init__(self, one: Map, longest: float):
        self.one = one
        L, N, Q, K = one.weights_LNQK.shape
        self.cell_width, self.cell_height = cell_side(K, longest), cell_side(Q, longest)
        self.left, self.bottom = (
            max(len(_short(token)) for token in tokens) * CHARACTER_WIDTH + 0.08 for tokens in (one.queries, one.keys)
        )
        self.top = 0.55  # the title and the head numbers
        self.map_width, self.map_height = K * self.cell_width, Q * self.cell_height
        self.step_x, self.step_y = self.map_width + GAP, self.map_height + GAP
        self.width = self.left + N * self.step_x + 0.25
        self.height = self.top + L * self.step_y + self.bottom

    def draw(self, axes: Any, x: float, y: float) -> None:
        from matplotlib.colors import PowerNorm
        from matplotlib.patches import Rectangle

        one, right = self.one, x + self.width - 0.25
        _write(axes, x, y + 0.12, one.name, fontsize=10, va="center", weight="bold")
        _write(axes, x + self.left, y + 0.34, "head", fontsize=7, va="center", ha="right", color="#666666")
        for layer, number in enumerate(one.layers):
            top = y + self.top + layer * self.step_y
            _write(axes, right, top + self.map_height / 2, f"layer {number}", fontsize=7, rotation=270, va="center")
            for place, token in _named(one.queries, self.cell_height):
                _write(axes, x + self.left - 0.04, top + place, token, ha="right", va="center_baseline", **LABEL)
            for head in range(len(one.heads)):
                left = x + self.left + head * self.step_x
                axes.imshow(
                    one.weights_LNQK[layer, head],
                    cmap="Blues",
                    norm=PowerNorm(0.5, 0, 1),  # makes small weights visible
                    extent=(left, left + self.map_width, top + self.map_height, top),
                    aspect="auto",
                    interpolation="nearest" if min(self.cell_width, self.cell_height) * DPI >= 1 else "auto",
                )
                size = self.map_width, self.map_height
                axes.add_patch(Rectangle((left, top), *size, fill=False, edgecolor="#999999", linewidth=0.5))
        last = y + self.top + (len(one.layers) - 1) * self.step_y + self.map_height
        for head, number in enumerate(one.heads):
            left = x + self.left + head * self.step_x
            center = left + self.map_width / 2
            _write(axes, center, y + self.top - 0.09, str(number), fontsize=7, ha="center", va="center")
            for place, token in _named(one.keys, self.cell_width):
                _write(axes, left + place, last + 0.04, token, rotation=90, ha="center", va="top", **LABEL)


def _named(tokens: Sequence[str], cell: float) -> Iterator[tuple[float, str]]:
    """Yields the centre and the label of every nth token, where n is the smallest that leaves room for labels."""
    every = math.ceil(LABEL_PITCH / cell - 1e-9)
    for number in range(0, len(tokens), every):
        yield (number + 0.5) * cell, _short(tokens[number])


def _short(token: str) -> str:
    return token if len(token) <= LABEL_LENGTH else token[: LABEL_LENGTH - 1] + "\u2026"


def _write(axes: Any, x: float, y: float, text: str, **how: Any) -> None:
    axes.text(x, y, text, parse_math=False, **how)
