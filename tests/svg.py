"""Reads the SVG documents that charts are tested by."""

import xml.etree.ElementTree as ElementTree

SVG = "{http://www.w3.org/2000/svg}"


def lines(document):
    """Returns the points of each polyline."""
    root = ElementTree.fromstring(document)
    return [
        [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        for line in root.iter(f"{SVG}polyline")
    ]
