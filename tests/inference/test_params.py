"""Tests t5x_lite/inference/params.py"""

import dataclasses

import numpy as np
import pytest

from t5x_lite.config.generation import GenerationConfig
from t5x_lite.inference.params import (
    NO_ID,
    DecodeSpec,
    SamplingParams,
    batch_key,
    make_decode_spec,
    make_sampling_params,
)

PLAIN = GenerationConfig()
INSTEAD_OF_THE_SPEC = ("num_beams_B", "no_repeat_ngram_size_B")
NUMBERS = {  # a SamplingParams field, the config's, its values for three examples
    "max_new_B": ("max_new_tokens", [7, 64, 300], np.int32),
    "min_new_B": ("min_new_tokens", [0, 5, 2], np.int32),
    "temperature_B": ("temperature", [0.5, 1.0, 2.0], np.float32),
    "top_k_B": ("top_k", [0, 40, 3], np.int32),
    "top_p_B": ("top_p", [1.0, 0.25, 0.5], np.float32),
    "min_p_B": ("min_p", [0.125, 0.0, 0.5], np.float32),
    "length_penalty_B": ("length_penalty", [0.5, -1.0, 2.0], np.float32),
    "repetition_penalty_B": ("repetition_penalty", [1.0, 1.5, 0.75], np.float32),
}


def seeds(*pairs):
    configs = [GenerationConfig(seed=seed) for seed, _ in pairs]
    return make_sampling_params(configs, [stream for _, stream in pairs], eos_id=1).seed_B


def spec(*configs, **given):
    return make_decode_spec(configs, **{"vocab_size": 99, "num_steps": 21} | given)


@pytest.mark.parametrize("name", NUMBERS)
def test_each_example_has_its_values_in_the_dtype_of_the_program(name):
    field, values, dtype = NUMBERS[name]
    # A temperature, without which there is no top_k, top_p or min_p.
    configs = [GenerationConfig(**{"temperature": 1.0, field: value}) for value in values]
    numbers_B = getattr(make_sampling_params(configs, range(3), eos_id=1), name)
    assert (numbers_B.tolist(), numbers_B.dtype) == (values, dtype)


def test_every_field_has_a_row_per_example():
    arrays = [array for array in make_sampling_params([PLAIN] * 5, range(5), eos_id=1) if array is not None]
    assert [len(array) for array in arrays] == [5] * (len(SamplingParams._fields) - len(INSTEAD_OF_THE_SPEC))


def test_the_same_seed_and_stream_sample_the_same_in_any_row():
    assert seeds((3, 0), (3, 8), (4, 8))[1] == seeds((3, 8))[0]


def test_another_seed_or_stream_samples_differently():
    pairs = [(seed, stream) for seed in (0, 1, 2, 77, 2**32 - 1) for stream in (0, 1, 2, 77, 2**40)]
    assert len(set(seeds(*pairs).tolist())) == len(pairs)


def test_a_seed_samples_the_same_in_all_versions():
    found = seeds((12, 345), (345, 12))
    assert (found.tolist(), found.dtype) == ([1160464420, 2292552566], np.uint32)  # NumPy keeps SeedSequence's results


def test_lists_of_ids_are_padded_to_a_power_of_two():
    configs = [GenerationConfig(banned_tokens=ids) for ids in ((5, 6, 7), (), (8,))]
    banned_BW = make_sampling_params(configs, range(3), eos_id=1).banned_BW
    assert banned_BW.tolist() == [[5, 6, 7, NO_ID], [NO_ID] * 4, [8, NO_ID, NO_ID, NO_ID]]
    assert banned_BW.dtype == np.int32


@pytest.mark.parametrize(("longest", "width"), [(0, 0), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (9, 16)])
def test_few_widths_are_compiled(longest, width):
    configs = [GenerationConfig(banned_tokens=(4,) * longest), PLAIN]
    assert make_sampling_params(configs, range(2), eos_id=1).banned_BW.shape == (2, width)


def test_eos_stops_every_example_whatever_else_does():
    configs = [PLAIN, GenerationConfig(stop_tokens=(9, 8))]
    assert make_sampling_params(configs, range(2), eos_id=3).stop_BW.tolist() == [[3, -1, -1, -1], [3, 9, 8, -1]]


def test_forced_prefixes_are_padded():
    assert make_sampling_params([PLAIN] * 2, range(2), eos_id=1, forced=[[], [7, 6, 5]]).forced_BF.tolist() == [
        [-1, -1, -1, -1],
        [7, 6, 5, -1],
    ]
    assert make_sampling_params([PLAIN] * 2, range(2), eos_id=1).forced_BF.shape == (2, 0)


def test_every_example_needs_a_stream():
    with pytest.raises(ValueError, match="shorter"):
        make_sampling_params([PLAIN] * 3, range(2), eos_id=1)


def test_a_spec_omits_unused_features():
    assert spec(PLAIN, PLAIN) == DecodeSpec(vocab_size=99, num_steps=21)


DRAWING = GenerationConfig(temperature=0.5)


@pytest.mark.parametrize(
    ("field", "value", "part"),
    [
        ("temperature", 0.7, {}),
        ("top_k", 5, {"has_top_k": True}),
        ("top_p", 0.9, {"has_top_p": True}),
        ("min_p", 0.1, {"has_min_p": True}),
        ("min_new_tokens", 2, {"has_min_new": True}),
        ("repetition_penalty", 0.9, {"has_repetition_penalty": True}),
    ],
)
def test_a_spec_has_the_features_that_any_example_uses_and_no_others(field, value, part):
    expected = DecodeSpec(vocab_size=99, num_steps=21, samples=True, **part)
    assert spec(PLAIN, dataclasses.replace(DRAWING, **{field: value}), DRAWING) == expected


def test_a_spec_has_the_settings_shared_by_the_batch():
    one = GenerationConfig(num_beams=5, num_return_sequences=2, no_repeat_ngram_size=3, beam_variant="hf")
    found = spec(one, one, scores=True, vocab_size=None)
    assert found == DecodeSpec(
        vocab_size=None, num_steps=21, num_sequences=5, no_repeat_ngram_size=3, scores=True, beam_variant="hf"
    )
    assert spec(GenerationConfig(num_beams=2)).beam_variant == "t5x"
    assert spec(GenerationConfig(temperature=1.0, num_return_sequences=4)).num_sequences == 4


def test_specs_are_hashable_and_compare_by_value():
    assert hash(spec(PLAIN)) == hash(spec(GenerationConfig(max_new_tokens=3, seed=8, banned_tokens=(4,))))
    assert spec(PLAIN) != spec(DRAWING)


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_beams", 3), ("no_repeat_ngram_size", 2), ("num_return_sequences", 2), ("scores_as", "sampled")],
)
def test_examples_that_need_different_programs_are_not_batched(field, value):
    base = PLAIN if field != "num_return_sequences" else DRAWING
    assert batch_key(base) != batch_key(dataclasses.replace(base, **{field: value}))


def test_the_beam_variant_matters_only_with_beams():
    hf, t5x = (GenerationConfig(num_beams=2, beam_variant=rules) for rules in ("hf", "t5x"))
    assert batch_key(hf) != batch_key(t5x)
    assert batch_key(dataclasses.replace(hf, num_beams=1)) == batch_key(PLAIN)


def test_examples_with_other_numbers_are_batched_together():
    given = {"temperature": 0.3, "top_k": 4, "top_p": 0.5, "seed": 9, "max_new_tokens": 3, "repetition_penalty": 2.0}
    assert batch_key(GenerationConfig(**given)) == batch_key(PLAIN)
