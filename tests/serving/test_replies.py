"""Tests t5x_lite/serving/replies.py"""

import base64

import numpy as np

from t5x_lite.serving.choices import Piece
from t5x_lite.serving.replies import Reply, embeddings, model, usage


def test_a_whole_reply_joins_the_pieces_of_each_choice():
    first = [Piece("a", ["a"], [-1.0], [0], None), Piece("bc", ["b", "c"], [-2.0, -3.0], [1, 2], "length")]
    whole = Reply("mine").whole([first, [Piece("", [], [], [], "stop")]], usage(3, 4))
    assert (whole["object"], whole["model"]) == ("text_completion", "mine")
    assert whole["id"].startswith("cmpl-")
    log_probs = {
        "tokens": ["a", "b", "c"],
        "token_logprobs": [-1.0, -2.0, -3.0],
        "top_logprobs": None,
        "text_offset": [0, 1, 2],
    }
    assert whole["choices"] == [
        {"text": "abc", "index": 0, "logprobs": log_probs, "finish_reason": "length"},
        {"text": "", "index": 1, "logprobs": None, "finish_reason": "stop"},
    ]
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_all_parts_of_a_stream_have_one_id_and_two_replies_do_not():
    reply, piece = Reply("mine"), Piece("a", [], [], [], None)
    part = reply.part(piece, 2, says_usage=False)
    assert part["choices"] == [{"text": "a", "index": 2, "logprobs": None, "finish_reason": None}]
    assert "usage" not in part
    assert reply.part(piece, 2, says_usage=True)["usage"] is None
    end = reply.end(usage(1, 2))
    assert (end["choices"], end["usage"]["total_tokens"]) == ([], 3)
    assert end["id"] == part["id"] != Reply("mine").end({})["id"]


def test_vectors_are_lists_or_little_endian_float32_in_base64():
    vectors = [np.asarray([0.5, -1.25], np.float32), np.asarray([2.0, 3.0], np.float32)]
    lists = embeddings("mine", vectors, 9, as_base64=False)
    assert [row["embedding"] for row in lists["data"]] == [[0.5, -1.25], [2.0, 3.0]]
    assert [row["index"] for row in lists["data"]] == [0, 1]
    assert lists["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    coded = embeddings("mine", vectors, 9, as_base64=True)["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(coded), "<f4").tolist() == [0.5, -1.25]


def test_a_model_says_its_name_and_time():
    assert model("mine", 5) == {"id": "mine", "object": "model", "created": 5, "owned_by": "t5x_lite"}
