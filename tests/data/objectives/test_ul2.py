"""Tests t5x_lite/data/objectives/ul2.py"""

import numpy as np
import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.objectives.language_modeling import PrefixLM
from t5x_lite.data.objectives.span_corruption import SpanCorruption
from t5x_lite.data.objectives.ul2 import ul2_denoisers
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from tests.data.objectives.reconstruction import fill_in, without_padding

MODE_IDS = {mode: tuple(byte + 3 for byte in mode.encode()) for mode in ("[NLU]", "[S2S]", "[NLG]")}


def make(sentinels=130, tokenizer=None, inputs_length=512, targets_length=None):
    return ul2_denoisers(
        TaskConfig(objective="ul2"),
        tokenizer or ByteTokenizer(sentinels),
        inputs_length=inputs_length,
        targets_length=targets_length,
        seed=5,
    )


def test_the_denoisers_are_those_of_the_papers_table():
    mixture = make()
    found = [(d.prefix_ids, d.mean_span_length, d.noise_density) for _, d in mixture if isinstance(d, SpanCorruption)]
    regular, extreme = MODE_IDS["[NLU]"], MODE_IDS["[NLG]"]
    assert sorted(found) == sorted(
        [
            (regular, 3, 0.15), (regular, 8, 0.15),
            (extreme, 3, 0.5), (extreme, 8, 0.5), (extreme, 64, 0.15), (extreme, 64, 0.5),
        ]
    )  # fmt: skip
    assert [(d.prefix_ids, d.targets_share) for _, d in mixture if isinstance(d, PrefixLM)] == [
        (MODE_IDS["[S2S]"], 0.25)
    ]
    assert len(mixture) == 7


def test_a_fifth_is_sequential_and_the_rest_is_shared_evenly_between_regular_and_extreme():
    rates = {mode: sum(rate for rate, d in make() if d.prefix_ids == ids) for mode, ids in MODE_IDS.items()}
    assert rates == pytest.approx({"[NLU]": 0.4, "[S2S]": 0.2, "[NLG]": 0.4})
    by_mode = {mode: {rate for rate, d in make() if d.prefix_ids == ids} for mode, ids in MODE_IDS.items()}
    assert by_mode == {"[NLU]": {0.2}, "[S2S]": {0.2}, "[NLG]": {0.1}}


def test_chunks_are_the_published_ones_for_what_the_mode_token_leaves():
    """512 places beside the five bytes of a mode token."""
    denoisers = [denoiser for _, denoiser in make(inputs_length=517)]
    chunks = {(d.noise_density, d.mean_span_length): d.chunk_length for d in denoisers if isinstance(d, SpanCorruption)}
    assert chunks == {
        (0.15, 3): 568, (0.15, 8): 588, (0.5, 3): 766, (0.5, 8): 908, (0.15, 64): 600, (0.5, 64): 1006
    }  # fmt: skip
    assert [d.chunk_length for d in denoisers if isinstance(d, PrefixLM)] == [511]
    assert {(d.inputs_length, d.targets_length, d.seed, d.eos_id) for d in denoisers} == {(517, 512, 5, 1)}


@pytest.mark.parametrize("inputs_length", [8, 9, 11, 20, 45, 100, 517])
def test_no_denoiser_loses_anything(inputs_length):
    rng = np.random.default_rng(inputs_length)
    for _, denoiser in make(inputs_length=inputs_length):
        tokens_BL = rng.integers(1_000, 9_000, (3, denoiser.chunk_length))
        batch = denoiser(tokens_BL, np.arange(3))
        assert batch["inputs"].shape == (3, inputs_length)
        assert batch["targets"].shape == (3, denoiser.targets_length)
        for tokens_L, inputs_S, targets_T in zip(tokens_BL, batch["inputs"], batch["targets"], strict=True):
            inputs, targets = without_padding(inputs_S), without_padding(targets_T)
            assert tuple(inputs[:5]) == denoiser.prefix_ids
            if isinstance(denoiser, PrefixLM):
                assert inputs[5:] + targets == tokens_L.tolist()
            else:
                assert fill_in(inputs[5:], targets, 258, 130) == tokens_L.tolist()


def test_targets_are_as_long_as_the_longest_need_and_longer_if_asked():
    longest = 0  # at 103 those of the two with short spans and half of the tokens: 98, and 97 for the long spans
    for _, denoiser in make(inputs_length=103):
        targets_BT = denoiser(np.full((400, denoiser.chunk_length), 9), np.arange(400))["targets"]
        longest = max(longest, (targets_BT > 0).sum(axis=1).max())
    assert {denoiser.targets_length for _, denoiser in make(inputs_length=103)} == {longest}
    assert {d.targets_length for _, d in make(inputs_length=103, targets_length=177)} == {177}
    with pytest.raises(ValueError, match=rf"targets_length is {longest - 1}, but .* 103 yields {longest} targets"):
        make(inputs_length=103, targets_length=longest - 1)


def test_more_spans_than_sentinels_are_refused():
    fields = r"inputs_length 517 .*span length 3 needs 128 sentinels, .*num_sentinels is 127: use more sentinels"
    with pytest.raises(ValueError, match=fields):
        make(sentinels=127, inputs_length=517)
    assert len(make(sentinels=128, inputs_length=517)) == 7


def test_inputs_with_no_room_beside_the_mode_token_are_refused():
    with pytest.raises(ValueError, match=r"inputs_length is 7, .* the 5 ids of \[.{3}\] .*: use 8 or more"):
        make(inputs_length=7)


def test_a_vocabulary_that_cannot_tell_the_modes_apart_is_refused():
    class WithoutCapitals(ByteTokenizer):
        def encode(self, text):
            return [self.unk_id] * len(text)

    with pytest.raises(
        ValueError, match=r"the mode tokens \[NLG\], \[NLU\], \[S2S\] .* the same ids: use a vocabulary"
    ):
        make(tokenizer=WithoutCapitals(130))
