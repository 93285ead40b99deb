# SPDX-License-Identifier: Apache-2.0
"""An interactive HTML page of attention maps that needs neither a network nor a server.

Shape letters: L layers, N heads, Q queries, K keys.
"""

import base64
import html
import importlib.resources
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from t5x_lite.commands.attention.contents import Contents, Map, Step

LEVELS = 255  # quantisation levels of a weight's square root
TEMPLATE = "page.html"
PLACEHOLDER = re.compile(r"@@([A-Z]+)@@")


def page(contents: Contents) -> str:
    """Returns a self-contained HTML document."""
    parts = {
        "TITLE": html.escape(contents.title),
        "FACTS": "".join(
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(fact)}</dd>" for name, fact in contents.facts.items()
        ),
        "STEPS": _table(contents.steps),
        "DATA": _json_in_html({"levels": LEVELS, "maps": [_map(one) for one in contents.maps]}),
    }
    template = importlib.resources.files("t5x_lite.commands.attention").joinpath(TEMPLATE).read_text(encoding="utf-8")
    # One pass, so that tokens that look like placeholders are kept.
    return PLACEHOLDER.sub(lambda match: parts[match[1]], template)


def quantized(weights: np.ndarray) -> np.ndarray:
    """Quantises each weight to a byte: its square root in steps of 1/255.

    A linear scale would lose uniform attention over 512 keys, where a weight of 0.002 is half a step. The error of a
    weight w is at most sqrt(w) / 255, so small weights have small errors.
    """
    return np.rint(np.sqrt(np.clip(weights, 0, 1)) * LEVELS).astype(np.uint8)


def _map(one: Map) -> dict[str, Any]:
    fields = one._asdict()
    weights = fields.pop("weights_LNQK")
    return fields | {"weights": base64.b64encode(quantized(weights).tobytes()).decode("ascii")}


def _json_in_html(value: Any) -> str:
    """Returns JSON that can neither close the enclosing script element nor open a comment."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(steps: Sequence[Step]) -> str:
    if not steps:
        return "<p>Nothing is predicted here.</p>"
    columns = ("place", "reads", "token", "probability", "most probable")
    heads = "".join(f'<th scope="col">{name}</th>' for name in columns)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(map(_row, steps))}</tbody></table>"


def _row(step: Step) -> str:
    place = str(step.place) if step.place >= 0 else ""
    chosen, probability = step.chosen
    bar = f'<span class="bar"><i style="width:{100 * probability:.1f}%"></i></span>{probability:.4f}'
    best = "".join(f'<span class="candidate">{_token(token)} {p:.4f}</span> ' for token, p in step.candidates)
    cells = (place, _token(step.reads), _token(chosen), bar, best)
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _token(text: str) -> str:
    return f"<code>{html.escape(text)}</code>" if text else ""
