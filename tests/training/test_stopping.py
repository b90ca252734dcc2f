import signal

import pytest

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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_to_stop(number):
    stop = Stop(budget=0)
    with stop.listening():
        signal.raise_signal(number)
        assert stop.reason == f"stopped by {number.name}"
    assert stop.exit_status == 128 + number


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_does_not_wait(first):
    stop = Stop()
    with stop.listening():
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGTERM)  # patient
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ValueError, match="inside"), Stop().listening():
        raise ValueError("inside")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
