"""Tests t5x_lite/serving/subscription.py"""

import asyncio

import pytest

pytest.importorskip("pydantic", reason="the extra serve is not installed")

from t5x_lite.serving.batch import Embedded, Failed, Job, Output, Progress
from t5x_lite.serving.engine import NotServing, QueueFull
from t5x_lite.serving.schema import RequestError
from t5x_lite.serving.subscription import ClientDisconnected, Subscription

MORE, LAST = Progress([Output([5], [], 1, None)]), Progress([Output([5, 6], [], 2, "length")])


class FakeEngine:
    """Takes jobs and does nothing."""

    def __init__(self, error=None):
        self.jobs, self.error = [], error

    def submit(self, jobs):
        if self.error:
            raise self.error
        self.jobs = jobs

    def cancel(self, jobs):
        for job in jobs:
            job.cancelled = True


async def stays():
    await asyncio.Event().wait()


def listen(play, *, num_jobs=2, receive=stays, seconds=60.0, error=None):
    """Runs `play(subscription, jobs)`; returns what it returns, and the jobs."""
    engine = FakeEngine(error)

    async def run():
        subscription = Subscription(engine, receive, seconds=seconds)
        jobs = [Job(ids=[1], notify=print) for _ in range(num_jobs)]
        try:
            subscription.submit(jobs)
            return await play(subscription, jobs)
        finally:
            await subscription.close()

    return asyncio.run(run()), engine.jobs


async def all_of(subscription):
    return [heard async for heard in subscription.events()]


def test_events_come_with_the_number_of_their_job_until_all_are_finished():
    async def play(subscription, jobs):
        for job, event in ((jobs[1], MORE), (jobs[0], LAST), (jobs[0], LAST), (jobs[1], LAST), (jobs[1], MORE)):
            job.notify(event)
        return await all_of(subscription)

    heard, jobs = listen(play)
    assert heard == [(1, MORE), (0, LAST), (1, LAST)]
    assert all(job.cancelled for job in jobs)


def test_events_of_other_threads_are_delivered():
    async def play(subscription, jobs):
        await asyncio.to_thread(jobs[0].notify, Embedded([1.0]))
        return await all_of(subscription)

    assert listen(play, num_jobs=1)[0] == [(0, Embedded([1.0]))]


def test_a_cancelled_job_is_not_waited_for():
    async def play(subscription, jobs):
        jobs[0].notify(MORE)
        heard = []
        async for number, event in subscription.events():
            heard.append((number, event))
            subscription.cancel(number)
        return heard

    assert listen(play, num_jobs=1)[0] == [(0, MORE)]


@pytest.mark.parametrize(("reason", "status"), [("closed", 503), ("error", 500)])
def test_a_failed_job_raises_its_status(reason, status):
    async def play(subscription, jobs):
        jobs[1].notify(Failed(reason, "why"))
        with pytest.raises(RequestError, match="why") as caught:
            await all_of(subscription)
        return caught.value.status

    assert listen(play)[0] == status


@pytest.mark.parametrize(("error", "status"), [(QueueFull("full"), 429), (NotServing("not yet"), 503)])
def test_a_rejection_by_the_engine_raises_its_status(error, status):
    with pytest.raises(RequestError, match=str(error)) as caught:
        listen(None, error=error)
    assert caught.value.status == status


def test_time_runs_out():
    async def play(subscription, jobs):
        jobs[0].notify(MORE)
        await all_of(subscription)

    with pytest.raises(RequestError, match=r"took longer than 0\.05 seconds") as caught:
        listen(play, seconds=0.05)
    assert caught.value.status == 504


def test_a_disconnect_ends_the_subscription():
    messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    async def play(subscription, jobs):
        with pytest.raises(ClientDisconnected):
            await all_of(subscription)

    _, jobs = listen(play, receive=receive)
    assert all(job.cancelled for job in jobs)


def test_a_job_may_finish_after_the_event_loop():
    async def play(subscription, jobs):
        return None

    _, jobs = listen(play)
    jobs[0].notify(LAST)
