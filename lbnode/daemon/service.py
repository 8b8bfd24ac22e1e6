"""What a daemon tells the service manager that started it: ready, alive, stopping (sd_notify(3)).

Datagrams to the socket that the environment names; without one, nothing is said. The variables are taken out of the
environment, so that no child speaks in the daemon's name.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

import structlog

log = structlog.get_logger()

SOCKET = "NOTIFY_SOCKET"
WATCHDOG = "WATCHDOG_USEC"
WATCHDOG_PROCESS = "WATCHDOG_PID"
MICROSECONDS = 1e6


class ServiceManager:
    """The way to the service manager. `interval_s`: how often it wants to hear that the daemon lives, None: never."""

    def __init__(self, address: str, interval_s: float | None) -> None:
        self.interval_s = interval_s
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._is_ready = False
        self._alive_at = float("-inf")

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """Return the one that `environment` names, which then names it no more."""
        address = environment.pop(SOCKET, "")
        period = environment.pop(WATCHDOG, "")
        process = environment.pop(WATCHDOG_PROCESS, "")
        is_watched = bool(address) and period.isdecimal() and process in ("", str(os.getpid()))
        return cls(address, int(period) / MICROSECONDS / 3 if is_watched else None)

    def alive(self) -> None:
        """Say that the daemon's loop turns: ready, the first time; later often enough for the watchdog."""
        now = time.monotonic()
        if not self._is_ready:
            self._is_ready = True
            self._say("READY=1")
        if self.interval_s is not None and now - self._alive_at >= self.interval_s / 2:
            self._alive_at = now
            self._say("WATCHDOG=1")

    def stopping(self, for_s: float) -> None:
        """Say that the daemon ends, and that it may take `for_s` seconds from now."""
        self._say(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(for_s * MICROSECONDS)}")

    def _say(self, words: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
                door.connect(self._address)
                door.sendall(words.encode())
        except OSError as error:
            log.warning("service manager", said=words, error=str(error))
