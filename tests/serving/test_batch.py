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
    MIN_LENGTH,
    NOT_FINITE,
    Failed,
    batch_sizes,
    group_of,
    power_of_two,
    program_of,
    run_batch,
    warm_up,
)
from t5x_lite.serving.programs import FILTERED, GREEDY, SAMPLING, Programs
from tests.serving.models import CFG, TOKENIZER, Listener, alone, pretrained

# What the server decodes takes long to compile, and is tested where the server can be.
pytest.importorskip("starlette", reason="the extra serve is not installed")

TEXTS = ["one", "the second of the texts", "3"]


def run(*listeners, model=None, name="encoder_decoder", most_rows=9):
    jobs = [listener.job for listener in listeners]
    run_batch(model or pretrained(name), jobs, program_of(jobs, most_rows), Programs(9))
    return listeners


@pytest.mark.parametrize(("number", "power"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (16, 16), (17, 32)])
def test_numbers_are_rounded_up_to_powers_of_two(number, power):
    assert power_of_two(number) == power


@pytest.mark.parametrize(("most", "sizes"), [(1, [1]), (4, [1, 4]), (6, [1, 4, 6]), (16, [1, 4, 16])])
def test_batches_have_few_sizes(most, sizes):
    assert batch_sizes(most) == sizes


def test_sizes_are_rounded_up_to_few():
    jobs = [Listener("x" * 40, max_new_tokens=20).job, Listener("abc").job]
    program = program_of(jobs, 16)
    assert (program.length, program.num_rows, program.num_steps, program.num_sequences) == (64, 4, 64, 1)
    assert program_of([Listener("a").job], 16).length == MIN_LENGTH
    widths = [program_of([Listener("a", num_beams=beams).job], 16)[:2] for beams in (2, 3, 4, 5, 9, 16)]
    assert widths == [(2, "t5x"), (4, "t5x"), (4, "t5x"), (8, "t5x"), (16, "t5x"), (16, "t5x")]
    assert program_of([Listener("a", num_beams=5).job], 6).num_sequences == 6


def test_jobs_that_need_different_programs_are_not_batched():
    plain = group_of(Listener("a").job, 9)
    assert plain == group_of(Listener("b" * 60, temperature=0.5, max_new_tokens=9, num_top=1).job, 9)
    for other in (
        Listener("a", num_beams=2),
        Listener("a", temperature=1.0, num_return_sequences=2),
        Listener("a", embeds=True),
        Listener("a" * 64),
    ):
        assert group_of(other.job, 9) != plain
    assert group_of(Listener("a" * 64).job, 9) == group_of(Listener("a" * 127).job, 9)


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
    for listener, text, new in zip(run(*listeners, most_rows=12), TEXTS, (6, 9, 11), strict=True):
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
    run(damaged, whole, model=with_nan())
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
    run(listener, model=own)
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
    run(*listeners, model=on_mesh)
    run(embeds, model=on_mesh)
    assert [listener.text() for listener in listeners] == [alone(text, **settings) for text in TEXTS]
    [expected] = run(Listener("one", embeds=True))
    np.testing.assert_allclose(embeds.last().values_E, expected.last().values_E, atol=1e-6)


def test_a_decoder_only_model_continues_the_text():
    [listener] = run(Listener("one", max_new_tokens=6), name="causal_lm")
    expected = answer_batch(pretrained("causal_lm"), [Request("one", GenerationConfig(max_new_tokens=6))], batch_size=1)
    assert listener.text() == expected[0].sequences[0].text


def test_warm_up_compiles_every_size_greedy_and_sampled(monkeypatch):
    seen = []
    monkeypatch.setattr(batch, "compile_program", lambda pretrained, program, programs: seen.append(program[3:7]))
    warm_up(pretrained(), Programs(9), most_rows=3, num_tokens=9)
    assert seen == [(32, rows, 16, chooser) for rows in (1, 3) for chooser in (GREEDY, SAMPLING)]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.0, "seed": 3},
        {"temperature": 1.0, "seed": 3, "num_return_sequences": 3},
        {"temperature": 1.0, "seed": 3, "top_p": 0.5},
        {"temperature": 1.0, "seed": 3, "top_k": 3},
        {"repetition_penalty": 1.5},
        {"min_new_tokens": 5},
        {"no_repeat_ngram_size": 1},
        {"num_beams": 3, "num_return_sequences": 2},
        {"num_beams": 3, "no_repeat_ngram_size": 2, "beam_variant": "hf"},
    ],
    ids=str,
)
@pytest.mark.slow
def test_an_answer_does_not_depend_on_the_size_of_its_program(settings):
    listener = Listener("one", max_new_tokens=9, **settings)
    needed = program_of([listener.job], 8)
    largest = needed._replace(num_steps=64, length=64, num_rows=3, penalises=True)
    if not needed.beam_variant:
        largest = largest._replace(chooser=FILTERED, num_top=5)
    assert largest.covers(needed)
    run_batch(pretrained(), [listener.job], largest, Programs(9))
    request = Request("one", GenerationConfig(max_new_tokens=9, **settings))
    answer = answer_batch(pretrained(), [request], batch_size=1)[0]
    expected = sorted(sequence.text for sequence in answer.sequences)
    assert sorted(TOKENIZER.decode(output.ids) for output in listener.last().sequences) == expected
