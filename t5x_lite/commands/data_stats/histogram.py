# SPDX-License-Identifier: Apache-2.0
"""Histograms of lengths on a logarithmic axis, as SVG; requires matplotlib (the plot extra)."""

import io
import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS_PER_OCTAVE = 4
# Makes the same bytes on every machine; text stays text, in the viewer's fonts.
STYLE = ["default", "tableau-colorblind10", {"svg.hashsalt": "t5x_lite", "svg.fonttype": "none"}]

Panels = Mapping[str, Mapping[str, np.ndarray]]  # lengths by series, by panel title
Limits = Mapping[str, tuple[str, int]]  # label and x of a dashed line, by series


def histogram(panels: Panels, limits: Limits) -> str:
    """Returns an SVG document of histograms with a shared logarithmic x axis, one panel each."""
    from matplotlib import style

    file = io.StringIO()
    with style.context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the viewer has its own fonts
        draw(panels, limits).savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def draw(panels: Panels, limits: Limits) -> "Figure":
    """Draws the histograms and the limits in the colours of the current style."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 0.4 + 2.4 * len(panels)), layout="constrained")
    rows = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    rows[0].set_xscale("log", base=2)
    rows[0].xaxis.set_major_formatter("{x:,.0f}")
    for axes, (title, series) in zip(rows, panels.items(), strict=True):
        axes.set_title(title, loc="left", pad=24, parse_math=False)
        axes.margins(x=0.02)
        axes.tick_params(labelbottom=True)
        axes.grid(axis="y", alpha=0.3)
        for index, (name, lengths) in enumerate(series.items()):
            color = f"C{index}"
            axes.stairs(*bars(lengths), fill=True, fc=(color, 0.2), ec=color, linewidth=1, label=name)
            if name in limits:
                label, x = limits[name]
                axes.axvline(x, color=color, linestyle=(3 * index, (3, 3)), label=label)  # equal limits alternate
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=9, frameon=False, borderpad=0)
    figure.supxlabel("tokens", fontsize=10)
    figure.supylabel("% per quarter octave", fontsize=10)
    return figure


def bars(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the heights of a histogram's bars, and their edges; lengths below 1 count as 1.

    Heights are percentages. Bars span a quarter of an octave where integers allow. Heights of other bars are normalised
    to that width, so that areas are comparable.
    """
    lengths = np.maximum(lengths, 1)
    steps = np.arange(math.ceil(math.log2(int(lengths.max()) + 1) * BINS_PER_OCTAVE) + 1)
    edges = np.unique(np.round(2 ** (steps / BINS_PER_OCTAVE)).astype(np.int64))
    first, last = np.searchsorted(edges, (lengths.min(), lengths.max()), side="right")
    edges = edges[first - 1 : last + 1]
    counts, _ = np.histogram(lengths, edges)  # the last edge is above all lengths
    return 100 * counts / len(lengths) / (np.diff(np.log2(edges)) * BINS_PER_OCTAVE), edges
