"""Tests t5x_lite/commands/data_stats/histogram.py"""

import itertools
import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from t5x_lite.commands.data_stats.histogram import PANEL_HEIGHT, histogram
from t5x_lite.files.svg_chart import LEFT, RIGHT, TOP, WIDTH
from tests.svg import SVG, lines


def x_axes(document):
    """The labels of each panel's horizontal axis with their places."""
    texts = [list(group.iter(f"{SVG}text")) for group in ElementTree.fromstring(document).iter(f"{SVG}g")]
    lowest = max(float(text.get("y")) for text in texts[0])
    return [{text.text: float(text.get("x")) for text in panel if float(text.get("y")) == lowest} for panel in texts]


def draw(panels, **limits):
    arrays = {title: {name: np.array(values) for name, values in series.items()} for title, series in panels.items()}
    return histogram(arrays, x_label="tokens", y_label="%", limits=limits)


def place(x, low, high):
    return LEFT + math.log(x / low) / math.log(high / low) * (WIDTH - LEFT - RIGHT)


def test_a_histogram_carries_its_words_and_titles():
    document = draw({"a < b": {"inputs": [3, 9]}, "second": {"documents": [30]}}, inputs=("limit 7", 7))
    words = "".join(ElementTree.fromstring(document).itertext())
    assert all(word in words for word in ("a < b", "second", "inputs (dashed: limit 7)", "documents", "tokens", "%"))


def test_bars_stand_where_their_numbers_are_on_a_logarithmic_axis():
    (corners,) = lines(draw({"": {"inputs": [10, 99]}}))  # ticks from 10 to 100
    xs = [x for x, _ in corners]
    floor = max(y for _, y in corners)
    assert xs[0] == pytest.approx(place(10, 10, 100), abs=0.1)
    (first_left, first_right), (last_left, last_right) = [
        (min(group), max(group))
        for group in ([x for x, y in corners[:4] if y < floor], [x for x, y in corners[4:] if y < floor])
    ]
    assert first_left <= place(10, 10, 100) + 0.1 < first_right
    assert last_left < place(99, 10, 100) <= last_right


def test_a_bar_of_the_usual_width_has_the_percentage_of_its_numbers():
    document = draw({"": {"inputs": [16] * 3 + [64]}})  # bars from 16 to 19 and from 64 to 76
    (corners,) = lines(document)
    root = ElementTree.fromstring(document)
    grid = [float(path.get("d").split("H")[0].split()[1]) for path in root.iter(f"{SVG}path")]
    a_percent = (grid[0] - grid[-1]) / 80  # the lines are at 0, 20, 40, 60 and 80
    assert len(grid) == 5

    def height(x):
        return (
            grid[0] - min(y for left, y in corners if left == pytest.approx(place(x, 10, 100), abs=0.1))
        ) / a_percent

    assert height(16) == pytest.approx(75 / (4 * math.log2(19 / 16)), abs=0.2)
    assert height(64) == pytest.approx(25 / (4 * math.log2(76 / 64)), abs=0.2)


def test_wide_bars_of_small_numbers_are_lower_for_it():
    (corners,) = lines(draw({"": {"targets": [1, 2]}}))  # from 1 to 2, and from 2 to 3
    floor = max(y for _, y in corners)
    heights = sorted({round(floor - y, 1) for _, y in corners} - {0.0})
    assert heights[0] / heights[1] == pytest.approx(math.log2(3 / 2), abs=0.02)


def test_a_limit_is_marked_in_the_panels_that_have_its_series_even_beyond_all_numbers():
    panels = {"pairs": {"inputs": [12], "targets": [15]}, "text": {"documents": [17]}}
    root = ElementTree.fromstring(draw(panels, inputs=("limit", 400), documents=("limit", 20)))
    found = [
        [float(path.get("d")[1:].split()[0]) for path in group.iter(f"{SVG}path") if path.get("stroke-dasharray")]
        for group in root.iter(f"{SVG}g")
    ]
    assert found == [
        [pytest.approx(place(400, 10, 500), abs=0.1)],
        [pytest.approx(place(20, 10, 500), abs=0.1)],
    ]


def test_a_limit_below_all_numbers_is_in_the_picture():
    root = ElementTree.fromstring(draw({"": {"inputs": [30]}}, inputs=("limit", 3)))
    (mark,) = [path.get("d") for path in root.iter(f"{SVG}path") if path.get("stroke-dasharray")]
    assert float(mark[1:].split()[0]) == pytest.approx(place(3, 2, 50), abs=0.1)


def test_a_bar_that_ends_beyond_the_axis_is_cut():
    (corners,) = lines(draw({"": {"inputs": [11, 190]}}))  # bars from 181 to 215, and ticks to 200
    assert corners[-1][0] == WIDTH - RIGHT


def test_panels_lie_below_each_other_and_all_of_them_are_in_the_picture():
    document = draw({"one": {"a": [5]}, "two": {"a": [50]}, "three": {"a": [500]}})
    root = ElementTree.fromstring(document)
    places = [float(group.get("transform").split()[1].rstrip(")")) for group in root.iter(f"{SVG}g")]
    assert places == [0, PANEL_HEIGHT, 2 * PANEL_HEIGHT]
    assert float(root.get("viewBox").split()[3]) > 3 * PANEL_HEIGHT
    for corners in lines(document):
        assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y < PANEL_HEIGHT for x, y in corners)


def test_panels_share_their_axis():
    first, second = x_axes(draw({"one": {"a": [5]}, "two": {"a": [500]}}))
    assert first == second
    assert list(first) == ["5", "10", "20", "50", "100", "200", "500", "1,000"]


def test_labels_of_a_long_axis_neither_touch_nor_stick_out():
    (places,) = x_axes(draw({"": {"documents": [1, 900_000]}}))
    ticks = list(places.items())
    assert [label for label, _ in ticks] == ["1", "10", "100", "1,000", "10,000", "100,000", "1,000,000"]
    for (label, x), (after, x_after) in itertools.pairwise(ticks):
        assert x_after - x > 3.5 * (len(label) + len(after))  # half of each
    assert ticks[-1][1] + 3.5 * len(ticks[-1][0]) <= WIDTH


def test_a_series_of_nothing_or_of_zeros_still_makes_a_picture():
    empty, zeros = lines(draw({"": {"a": np.array([], int), "b": [0, 0]}}))
    assert empty == []
    assert len(zeros) == 4
    assert len(lines(draw({"": {"a": np.array([], int)}}))) == 1
