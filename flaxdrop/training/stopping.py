"""When to stop before the end: a signal, or a time budget that is spent."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Tells a training whether to stop, and why.

    The first SIGINT, SIGTERM or SIGHUP asks to stop at the next step. A SIGINT after another signal
    ends the process at once, whatever it is doing, as a SIGKILL would: nothing finished is lost.

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
        """Takes signals as requests to stop."""

        def note(number: int, _: FrameType | None) -> None:
            if self._signal is None:
                self._signal = signal.Signals(number)
                _say(
                    f"{self._signal.name}: stops at the next step, a compilation is awaited;"
                    " Ctrl-C ends it at once"
                )

        before = {number: signal.signal(number, note) for number in _SIGNALS}
        # Python calls `note` when the main thread is back from C++, and once for two signals. Their
        # numbers come through this socket at once, and all of them.
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        thread = threading.Thread(target=_leave_at_second, args=(reader,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            writer.close()
            thread.join()
            reader.close()


def _leave_at_second(reader: socket.socket) -> None:
    """Ends the process at a SIGINT that is not the first signal; returns when nothing can come."""
    signals = 0
    while received := reader.recv(1):
        signals += received[0] in _SIGNALS
        if signals > 1 and received[0] == signal.SIGINT:
            _say("interrupted")
            _leave(128 + signal.SIGINT)


def _leave(status: int) -> None:
    # Without awaiting what compiles in other threads.
    os._exit(status)


def _say(words: str) -> None:
    # A signal may come while Python writes to the same stream, which must not be entered again.
    os.write(2, f"\n{words}\n".encode())
