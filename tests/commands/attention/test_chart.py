"""Tests t5x_lite/commands/attention/chart.py"""

import importlib.util
import io

import numpy as np
import pytest

from t5x_lite.commands.attention import chart
from t5x_lite.commands.attention.chart import cell_side, check_can_draw, longest_side, png
from t5x_lite.files.pictures import can_draw
from tests.commands.attention import examples

needs_matplotlib = pytest.mark.skipif(not can_draw(), reason="matplotlib (extra plot) is not installed")


def one_map(num_layers: int, num_heads: int, num_queries: int, num_keys: int):
    return (
        examples.contents()
        .maps[1]
        ._replace(
            weights_LNQK=np.zeros((num_layers, num_heads, num_queries, num_keys), np.float32),
            layers=tuple(range(num_layers)),
            heads=tuple(range(num_heads)),
            queries=("q",) * num_queries,
            keys=("k",) * num_keys,
            predicts=("",) * num_queries,
        )
    )


def pixels(contents) -> np.ndarray:
    from matplotlib.image import imread

    return imread(io.BytesIO(png(contents)))[..., :3]


def is_dark(image: np.ndarray) -> np.ndarray:
    """Where the colour of weight 1 is, dark blue."""
    return (image[..., 2] - image[..., 0] > 0.2) & (image[..., 0] < 0.1)


@needs_matplotlib
def test_the_weights_are_where_they_belong():
    one = one_map(2, 3, 4, 5)
    contents = examples.contents()._replace(maps=(one,))
    empty = pixels(contents)
    assert not is_dark(empty).any()
    centers = {}
    for place in [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0), (1, 2, 3, 4)]:
        one.weights_LNQK[:] = 0
        one.weights_LNQK[place] = 1
        found = np.argwhere(is_dark(pixels(contents)))
        height, width = np.ptp(found, axis=0) + 1
        assert (height, width) == (pytest.approx(15, abs=1.5), pytest.approx(13, abs=1.5))  # 0.6 inches of 4; of 5
        centers[place] = found.mean(axis=0)
    origin = centers[0, 0, 0, 0]
    steps = {place: tuple(np.round(center - origin)) for place, center in centers.items()}
    down, right = 72, 77  # a map and the gap
    expected = {(0, 0, 0, 1): (0, 13), (0, 0, 1, 0): (15, 0), (0, 1, 0, 0): (0, right), (1, 0, 0, 0): (down, 0)}
    expected[1, 2, 3, 4] = (down + 3 * 15, 2 * right + 4 * 13)
    for place, step in expected.items():
        np.testing.assert_allclose(steps[place], step, atol=2)


@needs_matplotlib
def test_all_maps_are_on_one_scale():
    one = one_map(2, 3, 4, 5)
    contents = examples.contents()._replace(maps=(one,))
    one.weights_LNQK[:, :, 1, 2] = 0.25
    quarter = pixels(contents)
    assert not is_dark(quarter).any()
    one.weights_LNQK[1, 2, 1, 2] = 1
    whole = pixels(contents)
    changed = np.argwhere((quarter != whole).any(axis=-1))
    assert (np.ptp(changed, axis=0) < 16).all()  # the one cell, and no other for its sake


@needs_matplotlib
def test_tokens_of_any_kind_are_drawn():
    image = pixels(examples.contents())
    assert image.min() < 0.1
    assert image.shape[0] > image.shape[1] * 0.5


@needs_matplotlib
def test_a_title_is_not_a_formula():
    plain = pixels(examples.contents()._replace(title="a x a"))
    assert (plain != pixels(examples.contents()._replace(title="a $ a"))).any()
    png(examples.contents()._replace(title="$x^{2$"))  # would be refused as TeX


def test_a_picture_has_a_size_that_can_be_opened():
    deep = [one_map(24, 16, 60, 60)] * 3
    longest = longest_side(deep)
    assert longest * 24 * 3 <= chart.MAX_HEIGHT + 1e-9
    assert longest_side([one_map(1, 64, 3, 3)]) * 64 <= chart.MAX_WIDTH + 1e-9
    assert longest_side([one_map(2, 3, 4, 5)]) == chart.MAX_SIDE
    assert cell_side(60, longest) * 60 == pytest.approx(longest)
    assert cell_side(1, longest) == chart.MIN_SIDE
    assert cell_side(10, chart.MAX_SIDE) == chart.CELL


def test_labels_are_skipped_where_there_is_no_room():
    tokens = [str(number) for number in range(7)]
    assert [token for _, token in chart._named(tokens, 0.1)] == tokens
    assert [token for _, token in chart._named(tokens, 0.04)] == ["0", "3", "6"]
    assert [place for place, _ in chart._named(tokens, 0.04)] == pytest.approx([0.02, 0.14, 0.26])


def test_a_missing_matplotlib_is_one_message_with_the_remedy(monkeypatch):
    check = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else check(name))
    assert not can_draw()
    with pytest.raises(ValueError, match=r"--output x.png is a picture.*pip install 't5x-lite\[plot\]'"):
        check_can_draw("x.png")


@needs_matplotlib
def test_an_installed_matplotlib_is_found():
    check_can_draw("x.png")
