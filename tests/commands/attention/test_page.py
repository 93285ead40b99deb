"""Tests t5x_lite/commands/attention/page.py"""

import base64
import html.parser
import json
import re

import numpy as np
import pytest

from t5x_lite.commands.attention.page import LEVELS, page, quantized
from tests.commands.attention import examples
from tests.commands.attention.examples import KEYS, PREDICTS, QUERIES, K, L, N, Q


class Elements(html.parser.HTMLParser):
    """What a browser would find: the text within each kind of element, and every attribute."""

    def __init__(self, document: str):
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self.attributes: list[tuple[str, str, str | None]] = []
        self._open: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.texts.setdefault(tag, []).append("")
        if tag not in ("meta", "link", "img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        for tag in set(self._open):
            self.texts[tag][-1] += data


@pytest.fixture(scope="module")
def document():
    return page(examples.contents())


@pytest.fixture(scope="module")
def elements(document):
    return Elements(document)


@pytest.fixture(scope="module")
def data(elements):
    return json.loads(elements.texts["script"][0])


def test_tokens_come_through_the_page_as_they_are(data):
    own, cross = data["maps"]
    assert (own["name"], cross["name"]) == ("decoder self-attention", "cross-attention")
    assert (tuple(own["queries"]), tuple(own["keys"])) == (QUERIES, QUERIES)
    assert (tuple(cross["queries"]), tuple(cross["keys"])) == (QUERIES, KEYS)
    assert tuple(cross["predicts"]) == PREDICTS
    assert (cross["layers"], cross["heads"], own["layers"]) == ([0, 7], [1, 2, 11], [3])


def test_weights_can_be_read_back_in_their_order(data):
    expected_LNQK = examples.contents().maps[1].weights_LNQK
    read = np.frombuffer(base64.b64decode(data["maps"][1]["weights"]), np.uint8).reshape(L, N, Q, K)
    actual_LNQK = (read / data["levels"]) ** 2
    assert (np.abs(actual_LNQK - expected_LNQK) <= np.sqrt(expected_LNQK) / LEVELS + 1e-5).all()


def test_smaller_weights_have_smaller_quantization_errors():
    weights = np.linspace(0, 1, 100_001)
    off = np.abs((quantized(weights) / LEVELS) ** 2 - weights)
    assert (off <= np.sqrt(weights) / LEVELS + 4e-6).all()
    assert quantized(np.array([0.0, 1.0, 1 + 1e-6])).tolist() == [0, 255, 255]
    assert quantized(np.array([1 / 512])) > 0


def test_no_token_or_text_becomes_markup(document, elements):
    assert len(elements.texts["script"]) == 2  # the data, and what shows them
    assert "alert(1)" not in elements.texts["script"][1]
    assert "i" in elements.texts  # the bars
    assert "title" not in elements.texts["i"]
    assert elements.texts["title"] == ["<i>title</i> & more"]
    assert elements.texts["h1"] == ["<i>title</i> & more"]
    assert elements.texts["dd"] == ["<script>alert(2)</script>"]
    assert "b" not in elements.texts
    assert "<!--" not in document.split("</head>")[1]


def test_the_table_lists_each_step(elements):
    assert "Nothing is predicted here." not in elements.texts["section"][1]
    cells = elements.texts["td"]
    assert [cell.split() for cell in cells] == [
        ["6"], ["<pad>"], ["<b>"], ["0.6250"], ["<b>", "0.6250", "\u2581&", "0.2500"],
        [], [], ["$x^2"], ["0.0312"], ["<b>", "0.6250"],
    ]  # fmt: skip
    assert [value for tag, name, value in elements.attributes if (tag, name) == ("i", "style")] == [
        "width:62.5%",
        "width:3.1%",
    ]


def test_without_steps_the_page_says_so():
    assert "Nothing is predicted here." in Elements(page(examples.contents(steps=()))).texts["p"]


def test_the_page_needs_nothing_from_elsewhere(document, elements):
    assert not [found for found in elements.attributes if found[1] in ("src", "href")]
    assert "link" not in elements.texts
    assert not re.search(r"https?:|@import|url\(|fetch\(|\bimport\b", document)


def test_every_element_the_script_asks_for_is_there(elements):
    found = {value for _, name, value in elements.attributes if name == "id"}
    asked = set(re.findall(r'\$\("(\w+)"\)', elements.texts["script"][1]))
    assert {"data", "cells", "overview", "tip"} <= asked
    assert asked <= found


def test_no_placeholder_is_left_but_those_that_are_tokens(document):
    assert document.count("@@") == 2 * sum("@@DATA@@" in one.keys for one in examples.contents().maps)


def test_a_large_page_stays_small():
    one = examples.contents().maps[1]
    tokens = tuple(f"token {i}" for i in range(60))
    large = one._replace(
        weights_LNQK=np.full((8, 6, 60, 60), 1 / 60, np.float32),
        layers=tuple(range(8)),
        heads=tuple(range(6)),
        queries=tokens,
        keys=tokens,
        predicts=tokens,
    )
    assert len(page(examples.contents()._replace(maps=(large,) * 3))) < 1_000_000
