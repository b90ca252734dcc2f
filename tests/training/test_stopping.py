import signal
import subprocess
import sys
import threading
import time

import pytest

from flaxdrop.training import stopping
from flaxdrop.training.stopping import Stop


def test_without_budget_and_signal_it_goes_on():
    stop = Stop()
    with stop.listening():
        assert stop.reason is None
    assert stop.exit_status == 0


def test_a_budget_that_is_spent():
    assert Stop(budget=3600).reason is None
    stop = Stop(budget=0)
    assert stop.reason == "the time budget is spent"
    assert stop.exit_status == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_to_stop(number):
    stop = Stop(budget=0)
    with stop.listening():
        signal.raise_signal(number)
        assert stop.reason == f"stopped by {number.name}"
    assert stop.exit_status == 128 + number


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_interrupt_leaves_at_once(first, monkeypatch, capfd):
    left = threading.Event()
    monkeypatch.setattr(stopping, "_leave", lambda status: left.set() if status == 130 else None)
    with Stop().listening():
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGTERM)  # patient
        assert not left.wait(0.05)
        signal.raise_signal(signal.SIGINT)
        assert left.wait(10)
    assert f"{first.name}: stops at the next step" in capfd.readouterr().err


def test_two_interrupts_while_the_main_thread_computes_leave_at_once():
    program = """
import ctypes, os, signal, threading, time
from flaxdrop.training.stopping import Stop
def twice():
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
with Stop().listening():
    threading.Timer(0.2, twice).start()
    for _ in range(60):
        ctypes.CDLL(None).usleep(1_000_000)
"""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 130
    assert time.monotonic() - began < 40
    assert "Traceback" not in done.stderr


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ValueError, match="inside"), Stop().listening():
        raise ValueError("inside")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
