"""Tests t5x_lite/serving/batch.py"""

import itertools

import jax
import numpy as np
import pytest

from t5x_lite.config import MeshConfig
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.inference.engine import Request, answer_batch
from t5x_lite.model.sentence_head import Dense, SentenceHead
from t5x_lite.parallel.mesh import make_mesh, replicated
from t5x_lite.serving import batch
from t5x_lite.serving.batch import (
    NOT_FINITE,
    Failed,
    batch_sizes,
    group_of,
    padded_inputs,
    power_of_two,
    run_batch,
    warm_up,
)
from tests.serving.models import CFG, TOKENIZER, Listener, alone, pretrained

# What the server decodes takes long to compile, and is tested where the server can be.
pytest.importorskip("starlette", reason="the extra serve is not installed")

TEXTS = ["one", "the second of the texts", "3"]


def run(*listeners, name="encoder_decoder", most_rows=9):
    run_batch(pretrained(name), [listener.job for listener in listeners], most_rows=most_rows)
    return listeners


@pytest.mark.parametrize(("number", "power"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (16, 16), (17, 32)])
def test_numbers_are_rounded_up_to_powers_of_two(number, power):
    assert power_of_two(number) == power


@pytest.mark.parametrize(("most", "sizes"), [(1, [1]), (4, [1, 4]), (6, [1, 4, 6]), (16, [1, 4, 16])])
def test_batches_have_few_sizes(most, sizes):
    assert batch_sizes(most) == sizes


def test_inputs_are_padded_to_a_power_of_two_of_at_least_32_tokens():
    short, long = Listener("abc"), Listener("x" * 40)
    assert padded_inputs([short.job], 2, pad_id=0).shape == (2, 32)
    inputs_BS = padded_inputs([short.job, long.job], 4, pad_id=2)
    assert inputs_BS.shape == (4, 64)
    assert inputs_BS[0, :4].tolist() == short.job.ids
    assert set(inputs_BS[0, 4:].tolist()) == {2}
    assert set(inputs_BS[2:].ravel().tolist()) == {2}


def test_jobs_that_need_different_programs_are_not_batched():
    plain = group_of(Listener("a").job)
    assert plain == group_of(Listener("b" * 60, temperature=0.5, max_new_tokens=9, num_top=1).job)
    for other in (
        Listener("a", num_beams=2),
        Listener("a", temperature=1.0, num_return_sequences=2),
        Listener("a", no_repeat_ngram_size=3),
        Listener("a", embeds=True),
        Listener("a" * 64),
    ):
        assert group_of(other.job) != plain
    assert group_of(Listener("a" * 64).job) == group_of(Listener("a" * 127).job)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        pytest.param({"num_beams": 3}, marks=pytest.mark.slow),
        pytest.param({"repetition_penalty": 1.5}, marks=pytest.mark.slow),
    ],
    ids=["greedy", "beams", "penalty"],
)
def test_each_job_of_a_batch_gets_the_result_it_gets_alone(settings):
    listeners = [Listener(text, max_new_tokens=new, **settings) for text, new in zip(TEXTS, (6, 9, 11), strict=True)]
    for listener, text, new in zip(run(*listeners), TEXTS, (6, 9, 11), strict=True):
        assert listener.text() == alone(text, max_new_tokens=new, **settings)


def test_tokens_come_a_few_at_a_time_and_do_not_change():
    [listener] = run(Listener("one", max_new_tokens=10))
    sequences = [event.sequences[0] for event in listener.heard()]
    assert [grown.num_tokens for grown in sequences] == [4, 8, 10]
    assert [grown.finish for grown in sequences] == [None, None, "length"]
    for before, after in itertools.pairwise(sequences):
        assert after.ids[: len(before.ids)] == before.ids


def test_a_short_output_does_not_wait_for_longer_ones_in_its_batch():
    short, long = Listener("one", max_new_tokens=2), Listener("two", max_new_tokens=12)
    order = []
    short.job.notify = lambda event: order.append(("short", event.is_last))
    long.job.notify = lambda event: order.append(("long", event.is_last))
    run(short, long)
    assert order == [("short", True), ("long", False), ("long", False), ("long", True)]


def test_a_stop_token_is_counted_but_not_part_of_the_output():
    first = run(Listener("one", max_new_tokens=6))[0].last().sequences[0].ids
    stop = first[3]
    [listener] = run(Listener("one", max_new_tokens=6, stop_tokens=(stop,)))
    grown = listener.last().sequences[0]
    assert grown.ids == first[: first.index(stop)]
    assert (grown.num_tokens, grown.finish) == (first.index(stop) + 1, "stop")


def test_log_probabilities_do_not_depend_on_the_batch():
    listeners = run(*[Listener(text, max_new_tokens=6) for text in TEXTS])
    for text, listener in zip(TEXTS, listeners, strict=True):
        request = Request(text, GenerationConfig(max_new_tokens=6))
        expected = answer_batch(pretrained(), [request], batch_size=1, scores=True)[0].sequences[0]
        grown = listener.last().sequences[0]
        assert len(grown.log_probs) == len(grown.ids)
        np.testing.assert_allclose(grown.log_probs, expected.log_probs[: len(grown.ids)], rtol=1e-4)


def test_sequences_of_one_seed_are_reproducible_and_differ():
    settings = {"max_new_tokens": 8, "temperature": 1.0, "num_return_sequences": 3, "seed": 5}
    drawn = [run(Listener("one", **settings), Listener("two", **settings))[0].last().sequences for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len({tuple(grown.ids) for grown in drawn[0]}) == 3


def test_a_cancelled_job_ends_its_batch_early(monkeypatch):
    looks = []
    monkeypatch.setattr(batch, "_snapshot", lambda *args, look=batch._snapshot: looks.append(1) or look(*args))
    listener, other = Listener("one", max_new_tokens=100), Listener("two", max_new_tokens=7)
    heard = []

    def leave(event):
        heard.append(event)
        listener.job.cancelled = True

    listener.job.notify = leave
    run(listener, other)
    assert len(heard) == 1
    assert len(looks) == 2
    assert other.last().sequences[0].num_tokens == 7


def test_a_cancelled_beam_search_ends_early(monkeypatch):
    looks = []
    monkeypatch.setattr(batch, "_snapshot", lambda *args, look=batch._snapshot: looks.append(1) or look(*args))
    listener, other = Listener("one", max_new_tokens=100, num_beams=2), Listener("two", max_new_tokens=7, num_beams=2)
    listener.job.cancelled = True
    run(listener, other)
    assert len(looks) == 2
    assert not listener.heard()
    assert other.last().is_last


def with_nan():
    """The model with an embedding row, that of the letter x, that is no number."""
    own, [letter] = pretrained(), TOKENIZER.encode("x")
    damaged = jax.tree.map(lambda leaf: leaf.at[letter].set(np.nan) if len(leaf) == CFG.vocab_size else leaf, own.model)
    return own._replace(model=damaged)


@pytest.mark.parametrize("settings", [{}, {"num_beams": 2}, {"embeds": True}], ids=["greedy", "beams", "embedding"])
def test_a_text_whose_outputs_are_not_numbers_fails_alone(settings):
    damaged, whole = Listener("axb", **settings), Listener("ab", **settings)
    run_batch(with_nan(), [damaged.job, whole.job], most_rows=9)
    assert damaged.heard() == [NOT_FINITE]
    assert not isinstance(whole.last(), Failed)


def test_an_embedding_is_the_normalized_mean_of_the_encoders_outputs():
    listeners = run(*[Listener(text, embeds=True) for text in TEXTS])
    for listener in listeners:
        ids_1S = np.asarray([listener.job.ids], np.int32)
        mean_D = np.asarray(pretrained().model.encode(ids_1S))[0].mean(axis=0)
        values_E = listener.last().values_E
        assert values_E.shape == (CFG.emb_dim,)
        np.testing.assert_allclose(values_E, mean_D / np.linalg.norm(mean_D), rtol=1e-3, atol=1e-5)


def test_a_models_own_head_makes_the_embedding():
    kernel_DE = np.random.default_rng(0).normal(size=(CFG.emb_dim, 6)).astype(np.float32)
    own = pretrained("encoder")
    own = own._replace(head=SentenceHead(pooling="first", dense=(Dense(kernel_DE=kernel_DE),), normalise=False))
    listener = Listener("one", embeds=True)
    run_batch(own, [listener.job], most_rows=4)
    first_D = np.asarray(own.model(np.asarray([listener.job.ids], np.int32)))[0, 0]
    np.testing.assert_allclose(listener.last().values_E, first_D @ kernel_DE, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["masked_lm", "encoder"])
def test_an_encoder_only_model_embeds(name):
    [listener] = run(Listener("one", embeds=True), name=name)
    np.testing.assert_allclose(np.linalg.norm(listener.last().values_E), 1, rtol=1e-5)


@pytest.mark.parametrize("settings", [{"max_new_tokens": 6}, {"max_new_tokens": 6, "num_beams": 2}])
def test_a_model_on_a_mesh_answers_and_embeds_as_on_one_device(settings):
    mesh = make_mesh(MeshConfig(data=2, fsdp=4))
    on_mesh = pretrained()._replace(model=jax.device_put(pretrained().model, replicated(mesh)))
    listeners, embeds = [Listener(text, **settings) for text in TEXTS], Listener("one", embeds=True)
    run_batch(on_mesh, [listener.job for listener in listeners], most_rows=9)
    run_batch(on_mesh, [embeds.job], most_rows=4)
    assert [listener.text() for listener in listeners] == [alone(text, **settings) for text in TEXTS]
    [expected] = run(Listener("one", embeds=True))
    np.testing.assert_allclose(embeds.last().values_E, expected.last().values_E, atol=1e-6)


def test_a_decoder_only_model_continues_the_text():
    [listener] = run(Listener("one", max_new_tokens=6), name="causal_lm")
    expected = answer_batch(pretrained("causal_lm"), [Request("one", GenerationConfig(max_new_tokens=6))], batch_size=1)
    assert listener.text() == expected[0].sequences[0].text


def test_warm_up_runs_every_size_greedy_and_sampled(monkeypatch):
    seen = []

    def see(pretrained, jobs, *, most_rows):
        seen.append((len(jobs), len(jobs[0].ids), jobs[0].config and jobs[0].config.temperature))

    monkeypatch.setattr(batch, "run_batch", see)
    warm_up(pretrained(), most_rows=3, num_tokens=9)
    assert seen == [(rows, 9, temperature) for rows in (1, 3) for temperature in (0.0, 1.0)]
