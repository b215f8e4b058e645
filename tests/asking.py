"""Clients that ask on while a gateway stops, and whether they themselves came to their turn meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.conftest import LOOPBACK

_GET = b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n"
# Half of how long a gateway that stops waits for a request on a connection that seems idle.
_HELD_S = 0.12


@dataclass
class Asking:
    """What clients saw that each ask again and again on one connection, until a reply says that it is the last.

    told_s: when such replies came, by the monotonic clock. held_s: for how long this process had no turn.
    """

    port: int
    answers: list[bytes] = field(default_factory=list)
    told_s: list[float] = field(default_factory=list)
    cut_off: list[str] = field(default_factory=list)
    held_s: float = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def join(self) -> None:
        """One more client begins."""
        self._tasks.append(asyncio.create_task(self._ask()))

    def require_nobody_cut_off(self) -> None:
        """Skips where the machine kept this process waiting for longer than any gateway could wait for its clients."""
        if self.held_s >= _HELD_S and self.cut_off and "ConnectionRefusedError" not in self.cut_off:
            pytest.skip(f"the clients had no turn for {self.held_s:.2f} s, and {len(self.cut_off)} came too late")
        assert self.cut_off == []

    async def _ask(self) -> None:
        is_last = False
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
            while not is_last:
                writer.write(_GET)
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                is_last = b"\r\nConnection: close\r\n" in head
                self.answers.append(head[9:12])
                await asyncio.sleep(0.02)  # or whoever comes late waits its turn for longer than the delay
            self.told_s.append(time.monotonic())
            writer.close()
        except (asyncio.IncompleteReadError, ConnectionError) as err:
            self.cut_off.append(type(err).__name__)

    async def _watch(self) -> None:
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(0.01)
            self.held_s = max(self.held_s, time.monotonic() - before_s)

    @classmethod
    @asynccontextmanager
    async def on(cls, port: int, clients: int) -> "AsyncIterator[Asking]":
        """Yields when they have had as many answers as they are; ends when each was told of its last, or cut off."""
        asking = cls(port)
        watching = asyncio.create_task(asking._watch())
        for _ in range(clients):
            asking.join()
        try:
            while len(asking.answers) < clients:
                await asyncio.sleep(0.01)
            asking.held_s = 0
            yield asking
            await asyncio.gather(*asking._tasks)
        finally:
            for task in (watching, *asking._tasks):
                task.cancel()
