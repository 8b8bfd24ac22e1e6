"""Signals: what Ctrl-C and its like mean to a command that builds, drills or takes apart."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def raised_as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt as Ctrl-C does, so that what was made goes again.

    SIGHUP stays ignored where it is: that is what nohup(1) asks for.
    """
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    with _handled(signal.default_int_handler, ENDING if hangs_up else ENDING[:2]):
        yield


@contextmanager
def held_off() -> Iterator[None]:
    """Ctrl-C and its like are ignored: for the second in which a lab is taken apart."""
    with _handled(signal.SIG_IGN, ENDING):
        yield


@contextmanager
def _handled(handler: signal._HANDLER, numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Set the handler of signals; only a program's main thread can, another changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
