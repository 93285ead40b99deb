"""Tests t5x_lite/serving/listening.py"""

import asyncio

import pytest

from t5x_lite.serving.batch import Embedded, Failed, Grown, Job, Progress
from t5x_lite.serving.engine import NotServing, QueueFull
from t5x_lite.serving.listening import ClientLeft, Listening
from t5x_lite.serving.refusals import Refused

MORE, LAST = Progress([Grown([5], [], 1, None)]), Progress([Grown([5, 6], [], 2, "length")])


class FakeEngine:
    """Takes jobs and does nothing."""

    def __init__(self, error=None):
        self.jobs, self.error = [], error

    def submit(self, jobs):
        if self.error:
            raise self.error
        self.jobs = jobs

    def give_up(self, jobs):
        for job in jobs:
            job.given_up = True


async def stays():
    await asyncio.Event().wait()


def listen(play, *, num_jobs=2, receive=stays, seconds=60.0, error=None):
    """Runs `play(listening, jobs)`; returns what it returns, and the jobs."""
    engine = FakeEngine(error)

    async def run():
        listening = Listening(engine, receive, seconds=seconds)
        jobs = [Job(ids=[1], notify=print) for _ in range(num_jobs)]
        try:
            listening.submit(jobs)
            return await play(listening, jobs)
        finally:
            await listening.close()

    return asyncio.run(run()), engine.jobs


async def all_of(listening):
    return [heard async for heard in listening.events()]


def test_events_are_heard_with_the_number_of_their_job_until_each_had_its_last():
    async def play(listening, jobs):
        for job, event in ((jobs[1], MORE), (jobs[0], LAST), (jobs[0], LAST), (jobs[1], LAST), (jobs[1], MORE)):
            job.notify(event)
        return await all_of(listening)

    heard, jobs = listen(play)
    assert heard == [(1, MORE), (0, LAST), (1, LAST)]
    assert all(job.given_up for job in jobs)


def test_other_threads_are_heard():
    async def play(listening, jobs):
        await asyncio.to_thread(jobs[0].notify, Embedded([1.0]))
        return await all_of(listening)

    assert listen(play, num_jobs=1)[0] == [(0, Embedded([1.0]))]


def test_a_job_that_is_given_up_is_waited_for_no_more():
    async def play(listening, jobs):
        jobs[0].notify(MORE)
        heard = []
        async for number, event in listening.events():
            heard.append((number, event))
            listening.give_up(number)
        return heard

    assert listen(play, num_jobs=1)[0] == [(0, MORE)]


@pytest.mark.parametrize(("reason", "status"), [("closed", 503), ("error", 500)])
def test_a_failure_is_refused_with_its_status(reason, status):
    async def play(listening, jobs):
        jobs[1].notify(Failed(reason, "why"))
        with pytest.raises(Refused, match="why") as caught:
            await all_of(listening)
        return caught.value.status

    assert listen(play)[0] == status


@pytest.mark.parametrize(("error", "status"), [(QueueFull("full"), 429), (NotServing("not yet"), 503)])
def test_what_the_engine_does_not_take_is_refused(error, status):
    with pytest.raises(Refused, match=str(error)) as caught:
        listen(None, error=error)
    assert caught.value.status == status


def test_time_runs_out():
    async def play(listening, jobs):
        jobs[0].notify(MORE)
        await all_of(listening)

    with pytest.raises(Refused, match=r"no answer within 0\.05 seconds") as caught:
        listen(play, seconds=0.05)
    assert caught.value.status == 504


def test_a_client_that_leaves_ends_it():
    messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    async def play(listening, jobs):
        with pytest.raises(ClientLeft):
            await all_of(listening)

    _, jobs = listen(play, receive=receive)
    assert all(job.given_up for job in jobs)


def test_a_job_that_ends_after_the_loop_harms_nobody():
    async def play(listening, jobs):
        return None

    _, jobs = listen(play)
    jobs[0].notify(LAST)
