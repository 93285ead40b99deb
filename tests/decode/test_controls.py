"""Tests t5x_lite/decode/controls.py."""

import numpy as np

from t5x_lite.config import GenerationConfig
from t5x_lite.decode.controls import batches_with, make_controls, make_plan

ONE = GenerationConfig(max_new_tokens=7, stop_tokens=(9, 8, 5), banned_tokens=(6,))
OTHER = GenerationConfig(max_new_tokens=3, min_new_tokens=2, temperature=0.5, top_k=70, top_p=0.25, min_p=0.125, seed=4)


def plan(*configs):
    return make_plan(configs, vocab_size=30, num_steps=11)


def test_each_example_has_its_own_numbers():
    controls = make_controls([ONE, OTHER], [0, 1], eos_id=1, forced=[[4, 3, 2], []])
    assert controls.max_new_B.tolist() == [7, 3]
    assert controls.min_new_B.tolist() == [0, 2]
    assert controls.temperature_B.tolist() == [0.0, 0.5]
    assert controls.top_k_B.tolist() == [0, 70]
    assert controls.top_p_B.tolist() == [1.0, 0.25]
    assert controls.min_p_B.tolist() == [0.0, 0.125]
    assert controls.stop_BW.tolist() == [[1, 9, 8, 5], [1, -1, -1, -1]]
    assert controls.banned_BW.tolist() == [[6], [-1]]
    assert controls.forced_BF.tolist() == [[4, 3, 2, 0], [0, 0, 0, 0]]


def test_lists_are_as_long_as_a_power_of_two_so_that_few_lengths_are_compiled():
    widths = {make_controls([ONE], [0], eos_id=1, forced=[range(2, 2 + n)]).forced_BF.shape[1] for n in range(9)}
    assert widths == {0, 1, 2, 4, 8}


def test_a_seed_and_a_stream_make_one_stream_of_random_numbers():
    def seed(config, stream):
        return make_controls([config], [stream], eos_id=1).seed_B[0]

    assert seed(OTHER, 3) == seed(OTHER, 3)
    assert len({seed(config, stream) for config in (ONE, OTHER) for stream in range(50)}) == 100
    assert make_controls([ONE], [0], eos_id=1).seed_B.dtype == np.uint32


def test_what_no_example_asks_for_is_left_out():
    nothing = plan(GenerationConfig(), GenerationConfig(max_new_tokens=5, stop_tokens=(4,)))
    assert nothing == (30, 11, 1, False, 0, False, False, False, False, 0, False, "")
    both = plan(ONE, OTHER)
    assert (both.draws, both.has_top_p, both.has_min_p, both.has_min_new) == (True,) * 4
    assert (both.repetition, both.ngram, both.beam_rules) == (False, 0, "")
    assert plan(GenerationConfig(repetition_penalty=1.5)).repetition


def test_programs_are_compiled_for_powers_of_two_of_top_k():
    def most(top_k):
        return plan(GenerationConfig(temperature=1.0, top_k=top_k)).most_top_k

    assert [most(top_k) for top_k in (1, 64, 65, 1000)] == [64, 64, 128, 1024]


def test_sequences_are_beams_or_samples():
    assert plan(GenerationConfig(num_beams=5, num_return_sequences=2)).num_sequences == 5
    assert plan(GenerationConfig(temperature=1.0, num_return_sequences=3)).num_sequences == 3
    assert plan(GenerationConfig(num_beams=2, beam_rules="hf")).beam_rules == "hf"


def test_examples_of_one_batch_share_the_shape_of_the_search_alone():
    assert batches_with(ONE) == batches_with(OTHER)
    others = [
        GenerationConfig(num_beams=2),
        GenerationConfig(num_beams=2, beam_rules="hf"),
        GenerationConfig(no_repeat_ngram_size=2),
        GenerationConfig(temperature=1.0, num_return_sequences=2),
    ]
    assert len({batches_with(config) for config in [ONE, *others]}) == 5
