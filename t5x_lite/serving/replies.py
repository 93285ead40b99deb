# SPDX-License-Identifier: Apache-2.0
"""OpenAI's responses: the JSON of texts, of their pieces, of vectors and of models.

Shape letters: D embedding.
"""

import base64
import secrets
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from t5x_lite.serving.choices import Piece


class Reply:
    """What all parts of a response to one completion say alike.

    Args:
      model_name: as clients call it.
    """

    def __init__(self, model_name: str):
        self._head = {
            "id": f"cmpl-{secrets.token_hex(16)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model_name,
        }

    def whole(self, pieces: Sequence[Sequence[Piece]], usage: dict[str, int]) -> dict[str, Any]:
        """Returns the whole response.

        Args:
          pieces: of each choice, which together are its text.
          usage: of `usage`.
        """
        choices = [choice(_joined(of_choice), index) for index, of_choice in enumerate(pieces)]
        return {**self._head, "choices": choices, "usage": usage}

    def part(self, piece: Piece, index: int, *, says_usage: bool) -> dict[str, Any]:
        """Returns an event of a stream; `says_usage` tells whether one of them has the usage."""
        return {**self._head, "choices": [choice(piece, index)], **({"usage": None} if says_usage else {})}

    def end(self, usage: dict[str, int]) -> dict[str, Any]:
        """Returns the event of a stream that has the usage."""
        return {**self._head, "choices": [], "usage": usage}


def choice(piece: Piece, index: int) -> dict[str, Any]:
    """Returns one of `choices`."""
    log_probs = None
    if piece.tokens:
        log_probs = {
            "tokens": piece.tokens,
            "token_logprobs": piece.log_probs,
            "top_logprobs": None,
            "text_offset": piece.offsets,
        }
    return {"text": piece.text, "index": index, "logprobs": log_probs, "finish_reason": piece.finish}


def usage(num_prompt_tokens: int, num_new_tokens: int | None = None) -> dict[str, int]:
    """Returns how many tokens were read and decoded; None is of a request that decodes nothing."""
    decoded = {} if num_new_tokens is None else {"completion_tokens": num_new_tokens}
    return {"prompt_tokens": num_prompt_tokens, **decoded, "total_tokens": num_prompt_tokens + (num_new_tokens or 0)}


def embeddings(model_name: str, vectors: Sequence[np.ndarray], num_tokens: int, *, as_base64: bool) -> dict[str, Any]:
    """Returns the response to a request for vectors.

    Args:
      model_name: as clients call it.
      vectors: values_D of each text, float32.
      num_tokens: of all texts.
      as_base64: whether a vector is its little-endian bytes in base64, in place of a list of numbers.
    """

    def shown(values_D: np.ndarray) -> Any:
        if as_base64:
            return base64.b64encode(values_D.astype("<f4").tobytes()).decode()
        return values_D.tolist()

    data = [{"object": "embedding", "index": i, "embedding": shown(values_D)} for i, values_D in enumerate(vectors)]
    return {"object": "list", "data": data, "model": model_name, "usage": usage(num_tokens)}


def model(model_name: str, created: int) -> dict[str, Any]:
    """Returns what is told of a model; `created` is a time in seconds."""
    return {"id": model_name, "object": "model", "created": created, "owned_by": "t5x_lite"}


def _joined(pieces: Sequence[Piece]) -> Piece:
    return Piece(
        "".join(piece.text for piece in pieces),
        [token for piece in pieces for token in piece.tokens],
        [log_prob for piece in pieces for log_prob in piece.log_probs],
        [offset for piece in pieces for offset in piece.offsets],
        pieces[-1].finish,
    )
