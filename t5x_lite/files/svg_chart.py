# SPDX-License-Identifier: Apache-2.0
"""Line charts as SVG, without a plotting library, and elements shared with other charts."""

import html
import math
from collections.abc import Callable, Mapping, Sequence

COLORS = ("#4269d0", "#ff725c", "#3ca951", "#a463f2", "#9c6b4e")
WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 46, 48

Points = Sequence[tuple[float, float]]


def line_chart(series: Mapping[str, Points], *, title: str, x_label: str, y_label: str) -> str:
    """Returns a line chart as an SVG document, with a named line per series; non-finite points are left out."""
    finite = {name: [point for point in points if all(map(math.isfinite, point))] for name, points in series.items()}
    xs = [x for points in finite.values() for x, _ in points] or [0.0, 1.0]
    ys = [y for points in finite.values() for _, y in points] or [0.0, 1.0]
    x_ticks, y_ticks = round_ticks(min(xs), max(xs)), round_ticks(min(ys), max(ys))

    def place_x(x: float) -> float:
        return LEFT + (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (WIDTH - LEFT - RIGHT)

    def place_y(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (HEIGHT - TOP - BOTTOM)

    parts = title_and_grid(title, y_ticks, place_y)
    parts += [text(place_x(x), HEIGHT - BOTTOM + 18, f"{x:g}") for x in x_ticks]
    for index, (name, points) in enumerate(finite.items()):
        color = COLORS[index % len(COLORS)]
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.8"/>')
        parts.append(f'<text x="{LEFT + 8 + 170 * index}" y="{TOP - 8}" fill="{color}">{html.escape(name)}</text>')
    return document(HEIGHT, parts, x_label, y_label)


def document(height: int, parts: Sequence[str], x_label: str, y_label: str) -> str:
    """Returns an SVG document with a white background and labelled axes."""
    frame = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12" fill="#333">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        text((LEFT + WIDTH - RIGHT) / 2, height - 10, x_label),
        f'<text transform="translate(16 {height / 2}) rotate(-90)" text-anchor="middle">{html.escape(y_label)}</text>',
    ]
    return "\n".join([*frame, *parts, "</svg>\n"])


def title_and_grid(title: str, y_ticks: Sequence[float], place_y: Callable[[float], float]) -> list[str]:
    """Returns a chart's title and its labelled horizontal grid lines."""
    parts = [f'<text x="{LEFT}" y="20" font-size="15">{html.escape(title)}</text>']
    for y in y_ticks:
        parts.append(f'<path d="M{LEFT} {place_y(y):.1f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>')
        parts.append(text(LEFT - 6, place_y(y) + 4, f"{y:g}", anchor="end"))
    return parts


def text(x: float, y: float, content: str, *, anchor: str = "middle") -> str:
    """Returns an SVG text element."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(content)}</text>'


def round_ticks(low: float, high: float, num: int = 6) -> list[float]:
    """Returns about `num` round numbers that span [low, high]."""
    if high <= low:
        low, high = low - 0.5, low + 0.5
    rough = (high - low) / num
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 12) for index in range(first, last + 1)]
