# SPDX-License-Identifier: Apache-2.0
"""Histograms of lengths on a logarithmic axis, as SVG."""

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

from t5x_lite.files.svg_chart import COLORS, LEFT, RIGHT, TOP, WIDTH, document, round_ticks, text, title_and_grid

PANEL_HEIGHT = 230  # including its title and axis
BINS_PER_OCTAVE = 4
MAX_LOG_TICKS = 13  # more labels would touch


def histogram(
    panels: Mapping[str, Mapping[str, np.ndarray]], *, x_label: str, y_label: str, limits: Mapping[str, tuple[str, int]]
) -> str:
    """Returns an SVG document of histograms with a shared logarithmic x axis, one panel each.

    Bars show percentages of a series and span a quarter of an octave where integers allow. Heights of other bars are
    normalised to that width, so that areas are comparable.

    Args:
      panels: integers by series, by panel title; values below 1 count as 1.
      limits: label and x of a dashed line, by series.
    """
    height = PANEL_HEIGHT * len(panels) + 24  # for the axis label below the last panel
    marks = [x for name, (_, x) in limits.items() if any(name in series for series in panels.values())]
    numbers = [np.maximum(values, 1) for series in panels.values() for values in series.values() if len(values)]
    extremes = [int(extreme) for values in numbers for extreme in (values.min(), values.max())]
    ticks = _log_ticks(min([*extremes, *marks], default=1), max([*extremes, *marks], default=10))
    parts = []
    for index, (title, series) in enumerate(panels.items()):
        shown = {name: limits[name] for name in series if name in limits}
        panel = "\n".join(_panel(title, series, ticks, shown))
        parts.append(f'<g transform="translate(0 {index * PANEL_HEIGHT})">\n{panel}\n</g>')
    return document(height, parts, x_label, y_label)


def _panel(
    title: str, series: Mapping[str, np.ndarray], x_ticks: Sequence[int], limits: Mapping[str, tuple[str, int]]
) -> list[str]:
    """Returns the SVG elements of one panel, from y = 0 to PANEL_HEIGHT."""
    outlines = {name: _outline(values) for name, values in series.items()}
    floor, ceiling = PANEL_HEIGHT - 30, TOP
    y_ticks = round_ticks(0, max((y for points in outlines.values() for _, y in points), default=1.0), num=4)

    def place_x(x: float) -> float:
        x = min(max(x, x_ticks[0]), x_ticks[-1])  # bars may extend beyond the axis
        return LEFT + math.log(x / x_ticks[0]) / math.log(x_ticks[-1] / x_ticks[0]) * (WIDTH - LEFT - RIGHT)

    def place_y(y: float) -> float:
        return floor - y / y_ticks[-1] * (floor - ceiling)

    parts = title_and_grid(title, y_ticks, place_y)
    for label, x in ((f"{x:,}", place_x(x)) for x in x_ticks):
        parts.append(text(min(x, WIDTH - 4 - 3.5 * len(label)), floor + 18, label))  # keeps labels inside
    for index, (name, points) in enumerate(outlines.items()):
        color = COLORS[index % len(COLORS)]
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="{color}" fill-opacity="0.2" stroke="{color}"/>')
        legend = name
        if name in limits:
            label, x = limits[name]
            legend += f" (dashed: {label})"
            dashes = f'stroke-dasharray="5 5" stroke-dashoffset="{5 * index}"'  # equal limits alternate
            line = f"M{place_x(x):.1f} {ceiling}V{floor}"
            parts.append(f'<path d="{line}" stroke="{color}" stroke-width="1.8" {dashes}/>')
        place = LEFT + 8 + (WIDTH - LEFT - RIGHT) / max(len(outlines), 2) * index
        parts.append(f'<text x="{place:.1f}" y="{TOP - 8}" fill="{color}">{html.escape(legend)}</text>')
    return parts


def _outline(values: np.ndarray) -> list[tuple[float, float]]:
    """Returns the outline of a histogram's bars from left to right, starting and ending at height 0."""
    if not len(values):
        return []
    numbers = np.maximum(values, 1)
    steps = np.arange(math.ceil(math.log2(int(numbers.max()) + 1) * BINS_PER_OCTAVE) + 1)
    edges = np.unique(np.round(2 ** (steps / BINS_PER_OCTAVE)).astype(np.int64))
    edges = edges[np.searchsorted(edges, numbers.min(), side="right") - 1 :]
    counts, _ = np.histogram(numbers, edges - 0.5)  # the last edge is above all numbers
    heights = 100 * counts / len(numbers) / (np.diff(np.log2(edges)) * BINS_PER_OCTAVE)
    return list(zip(np.repeat(edges, 2).tolist(), [0.0, *np.repeat(heights, 2).tolist(), 0.0], strict=True))


def _log_ticks(low: int, high: int) -> list[int]:
    """Returns ticks 1, 2, 5, 10, 20, ... enclosing [low, high], or only powers of ten if there are too many."""
    decades = [10**power for power in range(len(str(high)) + 1)]
    for steps in ((1, 2, 5), (1,)):
        ticks = [step * decade for decade in decades for step in steps]
        first = max(i for i, tick in enumerate(ticks) if tick <= max(low, 1))
        last = next(i for i, tick in enumerate(ticks) if tick > high)
        ticks = ticks[first : last + 1]
        if len(ticks) <= MAX_LOG_TICKS:
            break
    return ticks
