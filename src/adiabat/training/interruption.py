"""Ctrl-C and SIGTERM as a request to stop after the current step, with everything saved."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """Whether, and by which signal, the run was asked to stop.

    Attributes:
        signal_name: ``SIGINT`` or ``SIGTERM``; empty while nobody asked.
    """

    signal_name: str = ""


@contextmanager
def stop_on_signals() -> Generator[StopRequest]:
    """Note the first SIGINT or SIGTERM instead of dying by it; a second one acts as ever.

    In a thread other than the main one, which cannot receive signals, nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        request.signal_name = signal.Signals(number).name
        for caught, handler in before.items():
            signal.signal(caught, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
