"""When to stop before the end: a signal, or a time budget that is spent."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Tells a training whether to stop, and why.

    The first SIGINT or SIGTERM asks to stop at the next step; a second SIGINT interrupts at once.

    Args:
      budget: seconds from now, or None.
    """

    def __init__(self, budget: float | None = None) -> None:
        self._deadline = None if budget is None else time.monotonic() + budget
        self._signal: signal.Signals | None = None

    @property
    def reason(self) -> str | None:
        """Why to stop now; None: go on."""
        if self._signal:
            return f"stopped by {self._signal.name}"
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "the time budget is spent"
        return None

    @property
    def exit_status(self) -> int:
        """Of a process that stopped: 128 + the signal's number; 0 when its time was spent."""
        return 128 + self._signal if self._signal else 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes SIGINT and SIGTERM as requests to stop."""

        def note(number: int, _: FrameType | None) -> None:
            if self._signal and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._signal = signal.Signals(number)

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
