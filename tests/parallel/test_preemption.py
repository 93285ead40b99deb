"""Tests t5x_lite/parallel/preemption.py"""

import os
import signal
import threading

import pytest

from t5x_lite.parallel import interrupts
from t5x_lite.parallel.preemption import StopSignal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_becomes_a_request_to_stop(number, capsys):
    with StopSignal() as stop:
        stop.begin()
        assert stop.requested is None
        os.kill(os.getpid(), number)
        assert stop.requested == number.name
    assert "saving after this step" in capsys.readouterr().err


def test_sigterm_ends_a_command_until_the_first_step():
    with interrupts.restartable():
        with StopSignal() as stop:
            assert signal.getsignal(signal.SIGTERM) is interrupts.stop
            stop.begin()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested == "SIGTERM"
        assert signal.getsignal(signal.SIGTERM) is interrupts.stop


def test_a_second_ctrl_c_stops_at_once():
    with StopSignal() as stop:
        stop.begin()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_stops_at_once_before_the_first_step():
    with StopSignal() as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_previous_handlers_are_restored(number):
    before = signal.getsignal(number)
    with StopSignal() as stop:
        stop.begin()
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_signals_are_left_alone():
    def enter():
        with StopSignal() as stop:
            requests.append(stop.requested)

    requests = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert requests == [None]
