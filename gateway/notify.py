"""Tells systemd how the process is (`Type=notify`): datagrams to the socket that NOTIFY_SOCKET names.

Nobody else is told anything: without that variable nothing is sent. What cannot be sent is let go, since a gateway that
serves is worth more than one that says so.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

_LOOK_EVERY_S = 0.1
_WATCHDOG_AT_LEAST_S = 0.02


class Supervisor:
    """Whoever started the process and wants to hear of it. environment, pid: those of this process."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        # '@' stands for the zero byte that names in Linux's abstract namespace begin with.
        self._path = "\0" + name[1:] if name.startswith("@") else name if name.startswith("/") else ""
        is_for_us = environment.get("WATCHDOG_PID") in (None, "", str(pid))
        self.beat_s = _beat_s(environment.get("WATCHDOG_USEC", "")) if is_for_us and self._path else None
        self._is_ready = False

    async def keep_told(self, is_ready: Callable[[], bool]) -> None:
        """Say when `is_ready` becomes true, and all the time, twice in each interval, that the event loop turns."""
        if not self._path:
            return
        if self.beat_s is None:
            await self._until_ready(is_ready)
            return
        await asyncio.gather(self._until_ready(is_ready), self._beat(self.beat_s))

    def stopping(self) -> None:
        """Say that the orderly end has begun."""
        self._tell("STOPPING=1\nSTATUS=finishing what runs")

    def waiting(self) -> None:
        """Say that there is something to wait for."""
        self._tell("STATUS=waiting for the signing keys")

    def ready(self) -> None:
        """Say, once, that all of it serves."""
        if not self._is_ready:
            self._is_ready = True
            self._tell("READY=1\nSTATUS=serving")

    def beat(self) -> None:
        """Say that the process lives; `beat_s` is how often to, None where nobody listens for it."""
        self._tell("WATCHDOG=1")

    async def _until_ready(self, is_ready: Callable[[], bool]) -> None:
        if not is_ready():
            self.waiting()
            while not is_ready():  # noqa: ASYNC110  # keys come and grow old with time, and no event tells of it
                await asyncio.sleep(_LOOK_EVERY_S)
        self.ready()

    async def _beat(self, every_s: float) -> None:
        while True:
            self.beat()
            await asyncio.sleep(every_s)

    def _tell(self, text: str) -> None:
        if not self._path:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.setblocking(False)
            out.sendto(text.encode(), self._path)


def _beat_s(microseconds: str) -> float | None:
    """Half the interval after which systemd takes silence for death; None where it does not watch."""
    if not (microseconds.isascii() and microseconds.isdigit()) or not int(microseconds):
        return None
    return max(int(microseconds) / 2_000_000, _WATCHDOG_AT_LEAST_S)
