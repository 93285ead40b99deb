# SPDX-License-Identifier: Apache-2.0
"""Line charts as SVG, without a plotting library."""

import html
import math
from collections.abc import Mapping, Sequence

COLORS = ("#4269d0", "#ff725c", "#3ca951", "#a463f2", "#9c6b4e")
WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 46, 48

Points = Sequence[tuple[float, float]]


def line_chart(series: Mapping[str, Points], *, title: str, x_label: str, y_label: str) -> str:
    """Returns a line chart as an SVG document, with a named line per series; non-finite points are left out."""
    finite = {name: [point for point in points if all(map(math.isfinite, point))] for name, points in series.items()}
    xs = [x for points in finite.values() for x, _ in points] or [0.0, 1.0]
    ys = [y for points in finite.values() for _, y in points] or [0.0, 1.0]
    x_ticks, y_ticks = _round_ticks(min(xs), max(xs)), _round_ticks(min(ys), max(ys))

    def place_x(x: float) -> float:
        return LEFT + (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (WIDTH - LEFT - RIGHT)

    def place_y(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_label),
        f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{html.escape(y_label)}</text>',
        f'<text x="{LEFT}" y="20" font-size="15">{html.escape(title)}</text>',
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


def _text(x: float, y: float, content: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(content)}</text>'


def _round_ticks(low: float, high: float) -> list[float]:
    """Returns about six round numbers that span [low, high]."""
    if high <= low:
        low, high = low - 0.5, low + 0.5
    rough = (high - low) / 6
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 12) for index in range(first, last + 1)]
