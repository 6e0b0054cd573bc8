"""Ctrl-C and SIGTERM as a wish that a loop grants at its next safe point, with everything saved."""

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

    @property
    def signal_name(self) -> str:
        """``SIGINT`` or ``SIGTERM``; empty while nobody asked."""
        return "" if self.signal_number is None else signal.Signals(self.signal_number).name


@contextmanager
def stop_on_signals() -> Generator[StopRequest]:
    """Note the first SIGINT or SIGTERM instead of dying of it; a second one acts as ever.

    Outside the main thread, where Python delivers no signals, the request simply never comes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _frame: FrameType | None) -> None:
        request.signal_number = number
        for caught, handler in before.items():
            signal.signal(caught, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
