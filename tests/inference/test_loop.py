"""Tests t5x_lite/inference/loop.py"""

import functools

import jax
import numpy as np
import pytest

from t5x_lite.checkpoints.weights import placed
from t5x_lite.config import MeshConfig
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.evaluation.answers import fetched, on_mesh
from t5x_lite.inference.loop import LOCAL, Devices, as_prompts, devices_of, generate_ids, stream_ids
from t5x_lite.model.architectures import Architecture
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.transformer import T5
from t5x_lite.parallel.mesh import make_mesh, replicated
from tests import numpy_t5, tiny
from tests.inference.toys import params_and_spec

MODEL = tiny.drawn(T5, tiny.T5_1_1)
NEW = 6
GREEDY = GenerationConfig(max_new_tokens=NEW)
BEAMS = GenerationConfig(max_new_tokens=NEW, num_beams=3)
DRAWN = GenerationConfig(max_new_tokens=NEW, temperature=1.0, top_k=30, num_return_sequences=2)
LONGER_GREEDY, LONGER_DRAWN = (pytest.param(config, marks=pytest.mark.slow) for config in (GREEDY, DRAWN))


def inputs():
    return tiny.batch()[0]


def generated(config, inputs_BS, *, model=MODEL, architecture="encoder_decoder", devices=None, streams=None):
    params, spec = params_and_spec([config] * len(inputs_BS), num_steps=NEW, scores=True, streams=streams)
    given = [devices] if devices else []
    return generate_ids(model, Architecture(architecture), inputs_BS, params, spec, *given)


def test_greedy_decoding_takes_the_most_probable_token_given_all_before():
    result = generated(GREEDY, inputs())
    for row in range(tiny.B):
        decoder_inputs_1T = np.zeros((1, NEW + 1), np.int32)
        for place in range(NEW):
            logits_V = tiny.logits(MODEL, inputs()[row : row + 1], decoder_inputs_1T)[0, place]
            decoder_inputs_1T[0, place + 1] = np.argmax(logits_V)
            shares_V = np.exp(logits_V - logits_V.max())
            expected = np.log(shares_V.max() / shares_V.sum())
            np.testing.assert_allclose(result.log_probs_BKT[row, 0, place], expected, rtol=1e-4)
        np.testing.assert_array_equal(result.tokens_BKT[row, 0], decoder_inputs_1T[0, 1:])
    np.testing.assert_allclose(result.scores_BK, result.log_probs_BKT.sum(-1), rtol=1e-6)


@pytest.mark.parametrize("config", [LONGER_GREEDY, BEAMS, DRAWN], ids=["greedy", "beams", "drawn"])
def test_an_examples_result_does_not_depend_on_padding_or_on_what_is_beside_it(config):
    inputs_BS = inputs()
    together = generated(config, inputs_BS, streams=[0, 1, 2])
    backwards = generated(config, np.pad(inputs_BS[::-1], ((0, 0), (0, 5))), streams=[2, 1, 0])
    alone = generated(config, inputs_BS[1:2], streams=[1])
    np.testing.assert_array_equal(backwards.tokens_BKT[::-1], together.tokens_BKT)
    np.testing.assert_allclose(backwards.scores_BK[::-1], together.scores_BK, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(alone.tokens_BKT, together.tokens_BKT[1:2])


@pytest.mark.parametrize("config", [LONGER_GREEDY, BEAMS, LONGER_DRAWN], ids=["greedy", "beams", "drawn"])
def test_on_a_mesh_the_result_is_that_of_one_device(config):

    cfg = tiny.dataclasses.replace(tiny.T5_1_1, num_heads=4)
    model = tiny.drawn(T5, cfg)
    inputs_BS = tiny.ids(8, 9)
    expected = generated(config, inputs_BS, model=model)
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    with jax.set_mesh(mesh):
        on_devices = jax.tree.map(lambda leaf, place: jax.device_put(leaf, place.sharding), model, placed(cfg, mesh))
        result = generated(
            config, inputs_BS, model=on_devices, devices=Devices(functools.partial(on_mesh, mesh=mesh), fetched)
        )
    np.testing.assert_array_equal(result.tokens_BKT, expected.tokens_BKT)
    np.testing.assert_allclose(result.scores_BK, expected.scores_BK, rtol=1e-4, atol=1e-5)


def test_several_sequences_come_with_the_best_first():
    for config in (BEAMS, DRAWN):
        assert (np.diff(generated(config, inputs()).scores_BK, axis=1) <= 0).all()


@pytest.mark.parametrize("architecture", ["causal_lm", "prefix_lm"])
def test_a_decoder_continues_its_prompt_greedily_and_with_beams(architecture):
    model = tiny.drawn(Decoder, tiny.T5_1_1)
    inputs_BS = np.array([[7, 8, 9, 6, 1], [5, 4, 1, 0, 0]], np.int32)
    greedy = generated(GREEDY, inputs_BS, model=model, architecture=architecture)
    beams = generated(BEAMS, inputs_BS, model=model, architecture=architecture)
    for row, prompt in enumerate(([0, 7, 8, 9, 6], [0, 5, 4])):

        def log_probs(tokens, prompt=prompt):
            ids_1T = np.array([[*prompt, *tokens[:-1]]])
            prefix_1T = (np.arange(ids_1T.shape[1]) < len(prompt))[None].astype(int)
            logits_TV = numpy_t5.decode(model, ids_1T, prefix_1T if architecture == "prefix_lm" else None)[0]
            logits_TV = logits_TV[len(prompt) - 1 :]
            return logits_TV - np.log(np.exp(logits_TV).sum(-1, keepdims=True))

        tokens_T = greedy.tokens_BKT[row, 0]
        np.testing.assert_array_equal(log_probs(tokens_T).argmax(-1), tokens_T)
        tokens_T = beams.tokens_BKT[row, 0]
        assert 1 not in tokens_T, "none of these ends, so that scores are sums"
        of_tokens_T = np.take_along_axis(log_probs(tokens_T), tokens_T[:, None], axis=1)
        np.testing.assert_allclose(beams.scores_BK[row, 0], of_tokens_T.sum(), rtol=1e-4)
        assert beams.scores_BK[row, 0] >= greedy.scores_BK[row, 0] - 1e-4


def test_streaming_yields_the_tokens_of_generate_ids():
    params, spec = params_and_spec([GREEDY], num_steps=NEW)
    expected = generated(GREEDY, inputs()[:1]).tokens_BKT
    steps = list(stream_ids(MODEL, Architecture(), inputs()[:1], params, spec))
    assert len(steps) == np.count_nonzero(expected)
    for number, tokens_BKT in enumerate(steps, start=1):
        np.testing.assert_array_equal(tokens_BKT[:, :, :number], expected[:, :, :number])
        assert not tokens_BKT[:, :, number:].any()


def test_prompts_are_left_padded_without_eos():
    prompts_BP, length_B = as_prompts(np.array([[7, 8, 1, 0], [9, 6, 7, 5], [1, 0, 0, 0]]), eos_id=1)
    assert prompts_BP.tolist() == [[0, 0, 0, 7, 8], [0, 9, 6, 7, 5], [0, 0, 0, 0, 0]]
    assert length_B.tolist() == [2, 4, 0]


def test_prompts_of_a_model_that_reads_the_eos_of_its_inputs_keep_it():
    prompts_BP, length_B = as_prompts(np.array([[7, 8, 1, 0], [9, 6, 7, 1], [0, 0, 0, 0]]), eos_id=None)
    assert prompts_BP.tolist() == [[0, 0, 7, 8, 1], [0, 9, 6, 7, 1], [0, 0, 0, 0, 0]]
    assert length_B.tolist() == [3, 4, 0]


def test_the_devices_of_a_model_are_those_of_its_parameters():
    model = tiny.model(tiny.T5_1_1)
    assert devices_of(model) == LOCAL
    assert LOCAL.rounded(5) == 5
    mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    devices = devices_of(jax.device_put(model, replicated(mesh)))
    assert devices.rounded(5) == 8
    rows_BS = tiny.ids(8, 3)
    assert devices.place(rows_BS).addressable_shards[0].data.shape == (2, 3)
    np.testing.assert_array_equal(devices.fetch(devices.place(rows_BS)), rows_BS)
