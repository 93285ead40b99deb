"""Tests t5x_lite/serving/choices.py"""

import pytest

from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.serving.batch import Output
from t5x_lite.serving.choices import Choice

TOKENIZER = ByteTokenizer(100)


def streamed(text: str, *, step: int, finish="stop", log_probs=False, stops=()):
    """The pieces of a text whose tokens come `step` at a time, and the choice."""
    ids = TOKENIZER.encode(text)
    surfaces = TOKENIZER.surfaces() if log_probs else None
    choice, pieces = Choice(TOKENIZER, surfaces=surfaces, stops=stops), []
    counts = [*range(step, len(ids), step), len(ids)]
    for count in counts:
        is_last = count == len(ids)
        chances = [-0.5 * i for i in range(count)] if log_probs else []
        pieces.append(choice.update(Output(ids[:count], chances, count, finish if is_last else None)))
    return pieces, choice


def joined(pieces) -> str:
    return "".join(piece.text for piece in pieces)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("text", ["plain text", "ümläute, 10 € and 🙂🙂!", "€", ""])
def test_the_deltas_of_a_text_join_to_the_text(text, step):
    pieces, choice = streamed(text, step=step)
    assert joined(pieces) == text
    assert [piece.finish for piece in pieces] == [None] * (len(pieces) - 1) + ["stop"]
    assert choice.num_tokens == len(text.encode())


def test_text_is_sent_before_its_end():
    pieces, _ = streamed("a" * 20, step=5)
    assert [len(piece.text) for piece in pieces] == [2, 5, 5, 8]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 100])
def test_the_first_stop_string_ends_a_text_and_is_never_sent(step):
    pieces, choice = streamed("one END two STOP three", step=step, finish="length", stops=("STOP", "END"))
    assert joined(pieces) == "one "
    assert choice.finish == "stop"
    assert [piece.finish for piece in pieces if piece.text][-1] in (None, "stop")


def test_the_beginning_of_a_stop_string_is_sent_if_it_is_not_completed():
    pieces, choice = streamed("one EN two E", step=1, finish="length", stops=("END",))
    assert joined(pieces) == "one EN two E"
    assert choice.finish == "length"
    assert all(not joined(pieces[:i]).endswith(("E", "EN")) for i in range(len(pieces)))


def test_nothing_comes_after_a_stop_string():
    choice = Choice(TOKENIZER, stops=("b",))
    ids = TOKENIZER.encode("abcdefgh")
    assert choice.update(Output(ids[:6], [], 6, None)).text == "a"
    after = choice.update(Output(ids, [], 8, "length"))
    assert (after.text, after.finish, choice.num_tokens) == ("", "stop", 6)


@pytest.mark.parametrize("step", [1, 3, 100])
def test_each_token_comes_once_with_its_log_probability_and_offset(step):
    pieces, _ = streamed("ab cde", step=step, log_probs=True)
    assert [token for piece in pieces for token in piece.tokens] == list("ab cde")
    assert [value for piece in pieces for value in piece.log_probs] == [0, -0.5, -1, -1.5, -2, -2.5]
    assert [place for piece in pieces for place in piece.offsets] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("step", [1, 4, 100])
def test_tokens_after_a_stop_string_are_left_out(step):
    pieces, _ = streamed("ab|cd", step=step, log_probs=True, stops=("|",))
    assert [token for piece in pieces for token in piece.tokens] == ["a", "b"]
