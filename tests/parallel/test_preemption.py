"""Tests t5x_lite/parallel/preemption.py"""

import os
import signal
import threading

import pytest

from t5x_lite.parallel.preemption import StopSignal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_becomes_a_request_to_stop(number, capsys):
    with StopSignal() as stop:
        assert stop.requested is None
        os.kill(os.getpid(), number)
        assert stop.requested == number.name
    assert "saving after this step" in capsys.readouterr().err


def test_a_second_ctrl_c_stops_at_once():
    with StopSignal():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_previous_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_signals_are_left_alone():
    def enter():
        with StopSignal() as stop:
            requests.append(stop.requested)

    requests = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert requests == [None]
