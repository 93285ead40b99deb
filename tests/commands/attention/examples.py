"""An example's attention and probabilities, with tokens that HTML, JSON and TeX would take for their own."""

import numpy as np

from t5x_lite.commands.attention.contents import Candidate, Contents, Map, Step

L, N, Q, K = 2, 3, 4, 5
QUERIES = ("<pad>", "</script><script>alert(1)</script>", "$x^2", "\"a&b'")
KEYS = ("\u2581the", "@@DATA@@", "<!--", "\u65e5\u672c", "\u2028")
PREDICTS = ("<b>", "", "$x^2", "</s>")


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Softmax weights, some of them very small."""
    exp = np.exp(4 * np.random.default_rng(seed).normal(size=shape))
    return (exp / exp.sum(axis=-1, keepdims=True)).astype(np.float32)


def contents(steps: tuple[Step, ...] | None = None) -> Contents:
    cross = Map("cross-attention", weights(L, N, Q, K), (0, 7), (1, 2, 11), QUERIES, KEYS, PREDICTS)
    causal = np.tril(np.ones((Q, Q), np.float32)) / np.arange(1, Q + 1, dtype=np.float32)[:, None]
    own = Map(
        "decoder self-attention", np.broadcast_to(causal, (1, N, Q, Q)), (3,), (0, 1, 2), QUERIES, QUERIES, PREDICTS
    )
    if steps is None:
        best = Candidate("<b>", 0.625), Candidate("\u2581&", 0.25)
        steps = (Step(6, "<pad>", best[0], best), Step(-1, "", Candidate("$x^2", 0.03125), best[:1]))
    return Contents("<i>title</i> & more", {"text": "<script>alert(2)</script>"}, (own, cross), steps)
