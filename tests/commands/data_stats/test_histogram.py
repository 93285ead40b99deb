"""Tests t5x_lite/commands/data_stats/histogram.py"""

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from t5x_lite.commands.data_stats.histogram import bars, draw, histogram

PAIRS = {"inputs": np.array([12, 30]), "targets": np.array([15])}
PANELS = {"a < $b_{$": PAIRS, "日本": {"documents": np.array([500])}}
LIMITS = {"inputs": ("limit 7", 7), "targets": ("limit 7 too", 7), "documents": ("limit 9,000", 9_000)}


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib")


@pytest.mark.parametrize("length", [1, 2, 3, 16, 99, 10**6])
def test_a_bar_stands_where_its_number_is(length):
    heights, (left, right) = bars(np.array([length]))
    assert len(heights) == 1
    assert left <= length < right


def test_a_bar_of_the_usual_width_has_the_percentage_of_its_numbers():
    heights, edges = bars(np.array([16] * 3 + [64]))
    height = dict(zip(edges, heights, strict=False))
    assert height[16] == pytest.approx(75 / (4 * math.log2(19 / 16)))  # the bar spans 16 to 19
    assert height[64] == pytest.approx(25 / (4 * math.log2(76 / 64)))
    assert heights @ np.diff(np.log2(edges)) * 4 == pytest.approx(100)


def test_wide_bars_of_small_numbers_are_lower_for_it():
    heights, edges = bars(np.array([1, 2]))
    np.testing.assert_array_equal(edges, [1, 2, 3])
    assert heights[0] / heights[1] == pytest.approx(math.log2(3 / 2))


def test_lengths_of_zero_count_as_one():
    np.testing.assert_array_equal(bars(np.array([0, 0, 1]))[0], [25])


def test_each_panel_has_its_bars_limits_and_legend(matplotlib):
    panels = draw(PANELS, LIMITS).axes
    assert [axes.get_title(loc="left") for axes in panels] == list(PANELS)
    for axes, series in zip(panels, PANELS.values(), strict=True):
        for patch, line, (name, lengths) in zip(axes.patches, axes.lines, series.items(), strict=True):
            for drawn, expected in zip(patch.get_data()[:2], bars(lengths), strict=True):
                np.testing.assert_array_equal(drawn, expected)
            assert line.get_xdata() == [LIMITS[name][1]] * 2
            assert line.get_linestyle() == "--"
            assert patch.get_edgecolor() == matplotlib.colors.to_rgba(line.get_color())
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == [label for name in series for label in (name, LIMITS[name][0])]


def test_series_differ_in_colour_and_equal_limits_in_the_places_of_their_dashes(matplotlib):
    first, second = draw(PANELS, LIMITS).axes[0].lines
    assert first.get_color() != second.get_color()
    (start, dashes), (other_start, other_dashes) = first._unscaled_dash_pattern, second._unscaled_dash_pattern
    assert dashes == other_dashes == (dashes[0],) * 2
    assert other_start - start == dashes[0]


def test_panels_share_a_logarithmic_axis_that_contains_all_lengths_and_limits(matplotlib):
    first, second = draw(PANELS, LIMITS).axes
    assert first.get_xscale() == second.get_xscale() == "log"
    assert first.get_xlim() == second.get_xlim()
    low, high = first.get_xlim()
    assert low < 7
    assert high > 9_000


def test_the_document_carries_its_words_whatever_they_are(matplotlib):
    words = " ".join(ElementTree.fromstring(histogram(PANELS, LIMITS)).itertext())
    labels = [label for label, _ in LIMITS.values()]
    assert all(word in words for word in (*PANELS, *PAIRS, "documents", *labels, "tokens", "%", "2,048"))


def test_the_same_lengths_make_the_same_bytes_and_leave_the_style_as_it_is(matplotlib):
    document = histogram(PANELS, LIMITS)
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 5}):
        assert histogram(PANELS, LIMITS) == document
    assert dict(matplotlib.rcParams) == before


def test_a_series_of_zeros_without_a_limit_still_makes_a_picture(matplotlib):
    ElementTree.fromstring(histogram({"": {"documents": np.zeros(2, int)}}, {}))
