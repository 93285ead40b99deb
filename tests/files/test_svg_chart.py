"""Tests t5x_lite/files/svg_chart.py"""

import math
import xml.etree.ElementTree as ElementTree

from t5x_lite.files.svg_chart import line_chart
from tests.svg import lines


def chart(**series):
    return line_chart(series, title="a < b", x_label="step", y_label="nats")


def test_a_chart_is_well_formed_and_carries_its_words():
    text = "".join(ElementTree.fromstring(chart(loss=[(0, 1), (10, 2)])).itertext())
    assert all(word in text for word in ("a < b", "step", "nats", "loss"))


def test_larger_values_lie_higher_and_later_ones_to_the_right():
    ((left, low), (right, high)) = lines(chart(loss=[(0, 1.0), (10, 2.0)]))[0]
    assert left < right
    assert high < low  # SVG counts from the top


def test_points_that_are_not_finite_are_left_out():
    (points,) = lines(chart(loss=[(0, 1.0), (1, math.nan), (2, math.inf), (3, 2.0)]))
    assert len(points) == 2


def test_one_point_or_none_still_make_a_chart():
    assert len(lines(chart(loss=[(3, 1.5)], other=[]))) == 2
