"""Services behind the gateway that can be stopped, started again and counted."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.pool import Pool
from tests.conftest import LOOPBACK, OK, House, OpenHouse, Recorder, Seen


@dataclass
class Service(Recorder):
    """A recorder with a life of its own: `stop` ends its connections too, `start` comes back on the same port."""

    peak: int = 0
    listening: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        self.listening = await asyncio.start_server(self, LOOPBACK, self.port)
        self.port = self.listening.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self.listening is not None:
            self.listening.close()
            self.listening = None
        for writer in self.writers:
            writer.transport.abort()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        self.peak = max(self.peak, len(self.writers))
        try:
            await super().__call__(reader, writer)
        finally:
            self.writers.discard(writer)


@asynccontextmanager
async def services(count: int = 1) -> AsyncIterator[list[Service]]:
    """So many services, each on a port of its own."""
    made = [Service() for _ in range(count)]
    try:
        for service in made:
            await service.start()
        yield made
    finally:
        for service in made:
            service.stop()


@dataclass
class Gate:
    """Holds every request back until it is opened."""

    reply: bytes = OK
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await self.opened.wait()
        writer.write(self.reply)
        return True


@dataclass
class Begins:
    """Answers with this much and no more, as long as it is listened to."""

    reply: bytes = b""

    async def __call__(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(self.reply)
        await reader.read()
        return False


def routes_to_pooled(*, response: str, idle: str) -> str:
    """Every path of a house goes to the upstream `pooled`, within these times."""
    return f"""
routes:
  - id: all
    match: {{path: "/**"}}
    auth: public
    upstream: pooled
    timeouts: {{connect: 1s, response: {response}, idle: {idle}}}
  - {{id: other, match: {{path: /other}}, upstream: legacy}}
"""


@asynccontextmanager
async def pooled(
    built: OpenHouse, keys: str = "", *, routes: str, count: int = 1
) -> AsyncIterator[tuple[House, list[Service]]]:
    """A house with an upstream `pooled` of so many targets. keys: more of its keys."""
    async with services(count) as made:
        urls = ", ".join(f"'http://{LOOPBACK}:{service.port}'" for service in made)
        async with built(routes=routes, top=f"  pooled: {{urls: [{urls}], {keys}}}") as house:
            yield house, made


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; for five seconds at most."""
    end_s = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end_s, "it never held"
        await asyncio.sleep(0.005)


def reset(writer: asyncio.StreamWriter) -> None:
    """Go away for good: not a half that has said all it will say, but a connection that is no more."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def pool_of(house: House, name: str = "pooled") -> Pool:
    return next(pool for upstream, pool in house.gateway.upstreams._pools.items() if upstream.name == name)


def is_at_rest(pool: Pool) -> bool:
    """Whether nobody uses a connection, waits for one, or holds a place for one."""
    members = pool.places.balance.members
    return (
        pool.busy == pool.waiting == 0
        and all(member.busy == 0 for member in members)
        and all(member.open == len(member.idle) for member in members)
    )


async def scraped(house: House, metric: str) -> dict[str, float]:
    """Values of a metric, by its labels as they are written."""
    async with house.http.get(f"{house.admin}/metrics") as reply:
        text = await reply.text()
    lines = (line for line in text.splitlines() if line.startswith(f"{metric}{{"))
    return {line[len(metric) :].rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}
