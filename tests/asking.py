"""Clients that ask on while a gateway stops, and whether they themselves came to their turn meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.conftest import LOOPBACK

_GET = b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n"
# Half of how long a gateway that stops waits for a request on a connection that seems idle.
_HELD_S = 0.12


@dataclass
class Asking:
    """What clients saw that each ask again and again on one connection, until a reply says that it is the last."""

    answers: list[bytes] = field(default_factory=list)
    cut_off: list[str] = field(default_factory=list)
    held_s: float = 0
    _tasks: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """Nothing, if this process was kept waiting by the machine for so long that no gateway could wait for it."""
        return self.cut_off if self.held_s < _HELD_S else []

    def join(self, port: int) -> None:
        """One more client begins."""
        self._tasks.append(asyncio.ensure_future(self._ask(port)))

    async def _ask(self, port: int) -> None:
        is_last = False
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            while not is_last:
                writer.write(_GET)
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                is_last = b"\r\nConnection: close\r\n" in head
                self.answers.append(head[9:12])
                await asyncio.sleep(0.02)  # or whoever comes late waits its turn for longer than the delay
            writer.close()
        except (asyncio.IncompleteReadError, ConnectionError) as err:
            self.cut_off.append(type(err).__name__)

    async def _watch(self) -> None:
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(0.01)
            self.held_s = max(self.held_s, time.monotonic() - before_s)

    async def until_told(self) -> None:
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def asking_on(port: int, clients: int) -> AsyncIterator[Asking]:
    """Yields when all are under way; ends when each has been told, or was cut off."""
    asking = Asking()
    for _ in range(clients):
        asking.join(port)
    while len(asking.answers) < clients:
        await asyncio.sleep(0.01)
    watching = asyncio.ensure_future(asking._watch())
    try:
        yield asking
        await asking.until_told()
    finally:
        watching.cancel()
