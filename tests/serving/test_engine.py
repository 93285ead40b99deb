"""Tests t5x_lite/serving/engine.py"""

import threading

import pytest

from t5x_lite.serving import engine as engine_module
from t5x_lite.serving.batch import Failed
from t5x_lite.serving.engine import Compiling, Engine, NotServing, QueueFull
from tests.serving.models import SECONDS, Listener, alone, options, pretrained

# What the server decodes takes long to compile, and is tested where the server can be.
pytest.importorskip("starlette", reason="the extra serve is not installed")

NEW = 6


def started(load=pretrained, **fields) -> Engine:
    engine, loaded = Engine(options(**fields)), threading.Event()
    engine.start(load, loaded.set)
    assert loaded.wait(SECONDS)
    return engine


@pytest.fixture
def make():
    engines = []

    def make_one(*args, **fields):
        engines.append(started(*args, **fields))
        return engines[-1]

    yield make_one
    for engine in engines:
        engine.close(SECONDS)
        assert not engine._worker.is_alive()


def submit(engine, *listeners):
    engine.submit([listener.job for listener in listeners])


def until_first_batch(engine, gate):
    """Occupies the model."""
    listener = Listener("first", max_new_tokens=NEW)
    submit(engine, listener)
    while not gate.batches:
        threading.Event().wait(0.001)
    return listener


def test_every_text_gets_its_own_answer_from_many_threads(make):
    engine, answers = make(), {}

    def ask(text):
        listener = Listener(text, max_new_tokens=NEW)
        submit(engine, listener)
        answers[text] = listener.text()

    texts = [chr(97 + number) * (1 + number % 5) + "?" for number in range(24)]
    threads = [threading.Thread(target=ask, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {text: alone(text, max_new_tokens=NEW) for text in texts}
    assert len(set(answers.values())) > 9  # mixed up ones would be noticed


def test_waiting_jobs_become_batches_of_at_most_batch_size_in_order(make, held):
    sizes = []
    engine = make(batch_size=3)
    engine._on_batch = sizes.append
    until_first_batch(engine, held)
    listeners = [Listener(str(number), max_new_tokens=NEW) for number in range(5)]
    submit(engine, *listeners)
    held.set()
    for listener in listeners:
        listener.last()
    assert sizes == [1, 3, 2]
    assert held.batches[1] == [listener.job for listener in listeners[:3]]


def test_compatible_jobs_of_the_queue_are_batched_first(make, held):
    engine = make()
    until_first_batch(engine, held)
    greedy, beams, another = Listener("a"), Listener("b", num_beams=2), Listener("c")
    submit(engine, greedy, beams, another)
    held.set()
    assert beams.last().is_last
    assert held.batches[1:] == [[greedy.job, another.job], [beams.job]]


def test_a_batch_has_at_most_batch_size_sequences(make, held):
    engine = make(batch_size=4)
    until_first_batch(engine, held)
    listeners = [Listener(str(n), max_new_tokens=NEW, num_beams=2) for n in range(3)]
    submit(engine, *listeners)
    held.set()
    listeners[-1].last()
    assert [len(jobs) for jobs in held.batches] == [1, 2, 1]


def test_a_free_model_waits_a_little_for_more(make, held):
    held.set()
    engine = make(batch_wait_ms=10_000, batch_size=2)
    first, second = Listener("a", max_new_tokens=NEW), Listener("b", max_new_tokens=NEW)
    submit(engine, first)
    submit(engine, second)
    second.last()
    assert [len(jobs) for jobs in held.batches] == [2]


def test_a_free_model_does_not_wait_if_the_sequences_of_its_jobs_fill_a_batch(make):
    engine = make(batch_wait_ms=10_000_000, batch_size=4)
    wide = Listener("a", max_new_tokens=2, num_beams=4)
    submit(engine, wide)
    wide.last()  # one job, but four sequences


def test_a_full_queue_takes_all_of_a_request_or_none(make, held):
    engine = make(max_queue=2)
    until_first_batch(engine, held)
    submit(engine, Listener("a"))
    with pytest.raises(QueueFull, match="1 prompts are waiting, and 2 more would exceed max_queue 2"):
        submit(engine, Listener("b"), Listener("c"))
    assert engine.num_waiting == 1


def test_a_job_cancelled_in_the_queue_makes_room_and_is_never_decoded(make, held):
    engine = make(max_queue=1)
    until_first_batch(engine, held)
    left, other = Listener("a"), Listener("b")
    submit(engine, left)
    engine.cancel([left.job])
    assert engine.num_waiting == 0
    submit(engine, other)
    held.set()
    assert other.last().is_last
    assert not left.heard()


def test_a_batch_that_fails_fails_its_jobs_alone(make, monkeypatch, caplog):
    engine, run_batch = make(), engine_module.run_batch

    def fail(pretrained, jobs, *more):
        monkeypatch.setattr(engine_module, "run_batch", run_batch)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine_module, "run_batch", fail)
    first, second = Listener("a", max_new_tokens=NEW), Listener("b", max_new_tokens=NEW)
    submit(engine, first)
    assert first.last() == Failed("error", "the model failed (RuntimeError): see the server's log")
    submit(engine, second)
    assert second.text() == alone("b", max_new_tokens=NEW)
    assert "out of memory" in caplog.text


def test_jobs_are_rejected_before_the_model_is_loaded():
    gate = threading.Event()
    engine = Engine(options())
    engine.start(lambda: gate.wait(SECONDS) and pretrained())
    with pytest.raises(NotServing, match="is loading"):
        submit(engine, Listener("a"))
    with pytest.raises(NotServing, match="is loading"):
        _ = engine.pretrained
    gate.set()
    engine.close(SECONDS)


def test_a_failure_to_load_the_model_is_reported():
    def load():
        raise ValueError("no such run")

    engine = started(load)
    assert engine.state == "failed"
    assert str(engine.error) == "no such run"
    engine.close(0)


def test_closing_does_not_wait_for_a_model_that_is_loading():
    gate = threading.Event()
    engine = Engine(options())
    engine.start(lambda: gate.wait(SECONDS) and pretrained())
    engine.close(SECONDS)
    assert not gate.is_set()
    assert engine.state == "closing"
    gate.set()
    engine.close(SECONDS)  # waits for the thread


def test_closing_finishes_accepted_jobs_and_rejects_new_ones(make, held):
    engine = make()
    first, waiting = until_first_batch(engine, held), Listener("b", max_new_tokens=NEW)
    submit(engine, waiting)
    closing = threading.Thread(target=engine.close, args=[SECONDS])
    closing.start()
    while engine.state == "ready":
        threading.Event().wait(0.001)
    with pytest.raises(NotServing, match="shutting down"):
        submit(engine, Listener("c"))
    held.set()
    closing.join(SECONDS)
    assert first.text() == alone("first", max_new_tokens=NEW)
    assert waiting.text() == alone("b", max_new_tokens=NEW)


def test_jobs_unfinished_at_the_end_of_closing_fail(make, held, monkeypatch):
    monkeypatch.setattr(engine_module, "CANCEL_SECONDS", 0.0)
    engine = make()
    running, waiting = until_first_batch(engine, held), Listener("b")
    submit(engine, waiting)
    engine.close(0.01)
    for listener in (running, waiting):
        assert listener.last().reason == "closed"
    held.set()


def test_warm_up_ends_before_the_engine_is_ready(make, monkeypatch):
    states = []
    monkeypatch.setattr(engine_module, "warm_up", lambda *args, **kwargs: states.append((engine_of[0].state, kwargs)))
    engine_of = [Engine(options(warm_up_tokens=20))]
    loaded = threading.Event()
    engine_of[0].start(pretrained, loaded.set)
    assert loaded.wait(SECONDS)
    assert states == [("loading", {"most_rows": 4, "num_tokens": 20})]
    engine_of[0].close(SECONDS)


@pytest.fixture
def slow_compiler(monkeypatch):
    """Programs wait to be compiled until the event is set; its list `asked` has those that are."""
    gate, compile_program = threading.Event(), engine_module.compile_program
    gate.asked = []

    def compile_later(pretrained, program, programs):
        gate.asked.append(program)
        assert gate.wait(SECONDS)
        compile_program(pretrained, program, programs)

    monkeypatch.setattr(engine_module, "compile_program", compile_later)
    yield gate
    gate.set()


def with_greedy_program(make) -> Engine:
    engine = make(batch_size=1)
    engine_module.run_batch(
        engine.pretrained, [Listener("a").job], engine_module.program_of([Listener("a").job], 1), engine.programs
    )
    return engine


def test_a_job_does_not_wait_for_the_programs_of_others(make, slow_compiler):
    engine = with_greedy_program(make)
    beams, greedy = Listener("a", num_beams=1, max_new_tokens=500), Listener("b", max_new_tokens=NEW)
    submit(engine, beams)
    submit(engine, greedy)
    assert greedy.text() == alone("b", max_new_tokens=NEW)
    assert not beams.heard()
    slow_compiler.set()
    assert beams.last().is_last


def test_a_job_that_needs_one_program_too_many_is_refused_with_what_is_compiled(make, slow_compiler, monkeypatch):
    monkeypatch.setattr("t5x_lite.serving.programs.MOST_PENDING", 1)
    engine = with_greedy_program(make)
    submit(engine, Listener("a", max_new_tokens=100))
    with pytest.raises(Compiling, match=r"need a program that is not compiled.*use n up to 1 with max_tokens up to 64"):
        submit(engine, Listener("a", max_new_tokens=200))
    submit(engine, Listener("b", max_new_tokens=101))  # needs the same as the first
    assert engine.num_waiting == 2
    assert len(engine._compiler._pending) == 1


def test_closing_does_not_leave_a_job_without_a_program_unanswered(make, slow_compiler, monkeypatch):
    monkeypatch.setattr(engine_module, "CANCEL_SECONDS", 0.5)
    engine = make()
    waiting = Listener("a")
    submit(engine, waiting)
    engine.close(0.01)
    assert waiting.last().reason == "closed"
    assert not engine._worker.is_alive()
