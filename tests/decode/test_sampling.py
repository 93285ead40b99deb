"""Tests t5x_lite/decode/sampling.py."""

import numpy as np

from t5x_lite.decode.sampling import greedy
from tests import tiny

MODEL = tiny.model(tiny.T5_1_1)
NEW = 9


def by_hand(inputs_1S, max_new_tokens, vocab_size=128):
    """Greedy decoding that computes the whole prefix anew for every token."""
    decoder_inputs_1T, tokens = np.zeros((1, max_new_tokens + 1), np.int32), []
    for position in range(max_new_tokens):
        logits_1TV = tiny.logits(MODEL, inputs_1S, decoder_inputs_1T)
        token = int(np.argmax(logits_1TV[0, position, :vocab_size]))
        tokens.append(token)
        if token == 1:
            break
        decoder_inputs_1T[0, position + 1] = token
    return tokens + [0] * (max_new_tokens - len(tokens))


def test_greedy_takes_the_most_probable_token_given_all_before():
    inputs_BS = tiny.batch()[0]
    expected_BT = [by_hand(inputs_BS[row : row + 1], NEW) for row in range(tiny.B)]
    np.testing.assert_array_equal(greedy(MODEL, inputs_BS, max_new_tokens=NEW), expected_BT)


def test_ids_the_tokenizer_does_not_have_are_never_chosen():
    inputs_BS = tiny.batch()[0]
    free_BT = np.asarray(greedy(MODEL, inputs_BS, max_new_tokens=NEW))
    bound_BT = np.asarray(greedy(MODEL, inputs_BS, max_new_tokens=NEW, vocab_size=int(free_BT.max())))
    assert bound_BT.max() < free_BT.max()


def test_nothing_follows_eos():
    kernel_DV = MODEL.logits_kernel[...]
    # A model that prefers EOS from the first token on: its logit is the hidden state's squared length, or nearly.
    eager = tiny.model(tiny.T5_1_1, seed=5)
    tokens_BT = np.asarray(greedy(eager, tiny.batch()[0], max_new_tokens=NEW, vocab_size=2))
    ended = (tokens_BT == 1).cumsum(axis=1) - (tokens_BT == 1)
    assert not (tokens_BT[ended > 0]).any()
    assert kernel_DV.shape == (20, 128)


def test_a_row_does_not_depend_on_the_others():
    inputs_BS = tiny.batch()[0]
    together = np.asarray(greedy(MODEL, inputs_BS, max_new_tokens=NEW))
    backwards = np.asarray(greedy(MODEL, inputs_BS[::-1].copy(), max_new_tokens=NEW))
    np.testing.assert_array_equal(together, backwards[::-1])
