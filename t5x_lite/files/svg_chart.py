# SPDX-License-Identifier: Apache-2.0
"""Line charts and histograms as SVG, without a plotting library."""

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

COLORS = ("#4269d0", "#ff725c", "#3ca951", "#a463f2", "#9c6b4e")
WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 46, 48
PANEL_HEIGHT = 230  # of a histogram, including its title and axis
BINS_PER_OCTAVE = 4
MAX_LOG_TICKS = 13  # so that their labels do not touch

Points = Sequence[tuple[float, float]]


def line_chart(series: Mapping[str, Points], *, title: str, x_label: str, y_label: str) -> str:
    """Returns a line chart as an SVG document.

    Args:
      series: (x, y) points by name; non-finite points are left out.
      title: the text above the chart.
      x_label: the label of the horizontal axis.
      y_label: the label of the vertical axis.
    """
    finite = {name: [point for point in points if all(map(math.isfinite, point))] for name, points in series.items()}
    xs = [x for points in finite.values() for x, _ in points] or [0.0, 1.0]
    ys = [y for points in finite.values() for _, y in points] or [0.0, 1.0]
    x_ticks, y_ticks = _ticks(min(xs), max(xs)), _ticks(min(ys), max(ys))

    def place_x(x: float) -> float:
        return LEFT + (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (WIDTH - LEFT - RIGHT)

    def place_y(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (HEIGHT - TOP - BOTTOM)

    parts = [
        *_canvas(HEIGHT),
        f'<text x="{LEFT}" y="20" font-size="15">{html.escape(title)}</text>',
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_label),
        _upright_text(16, HEIGHT / 2, y_label),
    ]
    for y in y_ticks:
        parts.append(f'<path d="M{LEFT} {place_y(y):.1f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>')
        parts.append(_text(LEFT - 6, place_y(y) + 4, f"{y:g}", anchor="end"))
    parts += [_text(place_x(x), HEIGHT - BOTTOM + 18, f"{x:g}") for x in x_ticks]
    for index, (name, points) in enumerate(finite.items()):
        color = COLORS[index % len(COLORS)]
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.8"/>')
        parts.append(f'<text x="{LEFT + 8 + 170 * index}" y="{TOP - 8}" fill="{color}">{html.escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def histogram(
    panels: Mapping[str, Mapping[str, np.ndarray]],
    *,
    x_label: str,
    y_label: str,
    limits: Mapping[str, tuple[str, int]],
) -> str:
    """Returns histograms over a shared logarithmic axis, one panel each, as an SVG document.

    Bars span a quarter of an octave where integers allow it, and show percentages of the series. Wider or narrower bars
    are scaled to that width, so that areas can be compared.

    Args:
      panels: integers by series, by panel title; values under 1 count as 1.
      x_label: the label of the horizontal axis.
      y_label: the label of the vertical axis.
      limits: (label, x) of a dashed line, by series.
    """
    height = PANEL_HEIGHT * len(panels) + 24  # for the axis label below the last panel
    marks = [x for name, (_, x) in limits.items() if any(name in series for series in panels.values())]
    numbers = [np.maximum(values, 1) for series in panels.values() for values in series.values() if len(values)]
    extremes = [int(extreme) for values in numbers for extreme in (values.min(), values.max())]
    ticks = _log_ticks(min([*extremes, *marks], default=1), max([*extremes, *marks], default=10))
    parts = [
        *_canvas(height),
        _text((LEFT + WIDTH - RIGHT) / 2, height - 10, x_label),
        _upright_text(16, height / 2, y_label),
    ]
    for index, (title, series) in enumerate(panels.items()):
        shown = {name: limits[name] for name in series if name in limits}
        panel = "\n".join(_panel(title, series, ticks, shown))
        parts.append(f'<g transform="translate(0 {index * PANEL_HEIGHT})">\n{panel}\n</g>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(
    title: str, series: Mapping[str, np.ndarray], x_ticks: Sequence[int], limits: Mapping[str, tuple[str, int]]
) -> list[str]:
    """Returns the elements of one panel, from y = 0 to PANEL_HEIGHT."""
    outlines = {name: _outline(values) for name, values in series.items()}
    floor, ceiling = PANEL_HEIGHT - 30, TOP
    y_ticks = _ticks(0, max((y for points in outlines.values() for _, y in points), default=1.0), num=4)

    def place_x(x: float) -> float:
        x = min(max(x, x_ticks[0]), x_ticks[-1])  # bars may extend beyond the axis
        return LEFT + math.log(x / x_ticks[0]) / math.log(x_ticks[-1] / x_ticks[0]) * (WIDTH - LEFT - RIGHT)

    def place_y(y: float) -> float:
        return floor - y / y_ticks[-1] * (floor - ceiling)

    parts = [f'<text x="{LEFT}" y="20" font-size="15">{html.escape(title)}</text>']
    for y in y_ticks:
        parts.append(f'<path d="M{LEFT} {place_y(y):.1f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>')
        parts.append(_text(LEFT - 6, place_y(y) + 4, f"{y:g}", anchor="end"))
    for label, x in ((f"{x:,}", place_x(x)) for x in x_ticks):
        parts.append(_text(min(x, WIDTH - 4 - 3.5 * len(label)), floor + 18, label))  # keeps labels inside
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
    corners = [(float(edges[0]), 0.0)]
    for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
        corners += [(float(left), float(height)), (float(right), float(height))]
    return [*corners, (float(edges[-1]), 0.0)]


def _canvas(height: int) -> list[str]:
    """Returns the opening of a document, with a white background."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12" fill="#333">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]


def _upright_text(x: float, y: float, text: str) -> str:
    return f'<text transform="translate({x} {y}) rotate(-90)" text-anchor="middle">{html.escape(text)}</text>'


def _text(x: float, y: float, text: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _ticks(low: float, high: float, num: int = 6) -> list[float]:
    """Returns about `num` round numbers that enclose [low, high]."""
    if high <= low:
        low, high = low - 0.5, low + 0.5
    rough = (high - low) / num
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _log_ticks(low: int, high: int) -> list[int]:
    """Returns ticks 1, 2, 5, 10, 20, ... that enclose [low, high]; only powers of ten if there would be too many."""
    decades = [10**power for power in range(len(str(high)) + 1)]
    for steps in ((1, 2, 5), (1,)):
        ticks = [step * decade for decade in decades for step in steps]
        first = max(i for i, tick in enumerate(ticks) if tick <= max(low, 1))
        last = next(i for i, tick in enumerate(ticks) if tick > high)
        ticks = ticks[first : last + 1]
        if len(ticks) <= MAX_LOG_TICKS:
            break
    return ticks
