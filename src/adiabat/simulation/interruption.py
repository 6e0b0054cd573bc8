"""Ctrl-C and SIGTERM as a wish that a loop grants at its next safe point."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether, and by which signal, the process was asked to stop.

    Attributes:
        signal_number: the signal, or None.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def __bool__(self) -> bool:
        """True once a signal has come."""
        return self.signal_number is not None


@contextmanager
def stop_on_signals() -> Generator[StopRequest]:
    """Note SIGINT and SIGTERM instead of dying of them; a second Ctrl-C interrupts at once.

    Outside the main thread, where Python delivers no signals, the request simply never comes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        if request:
            raise KeyboardInterrupt
        request.signal_number = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
