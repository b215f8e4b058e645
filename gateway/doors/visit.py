"""One request under way: what is known of it so far, and its client's side for the exchange."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aiohttp import StreamReader

from gateway.connection import Connection
from gateway.core.headers import ReplyWriter, RequestWriter
from gateway.core.limits import Standing
from gateway.core.model import Admit, RequestFacts
from gateway.doors.client import Client, Tunnel
from gateway.doors.listener import Wire
from gateway.doors.reader import Head
from gateway.endings import EventsEnding
from gateway.pool import Pool
from gateway.streams import Stream
from gateway.tasks import Tasks
from gateway.telemetry import Record
from gateway.upstream import Exchange

if TYPE_CHECKING:
    from gateway.traces import Trace


@dataclass(frozen=True, slots=True)
class Writers:
    """What is made once for a route."""

    request: RequestWriter
    reply: ReplyWriter
    pool: Pool


class Serving(Protocol):
    """The door, as one request under way needs it."""

    def is_draining(self) -> bool:
        """Whether no connection is to serve another request."""

    def reply_lines(self, visit: "Visit", reply: Connection, cookies: tuple[bytes, ...]) -> list[bytes]:
        """Header lines of the reply that has come, framing left out."""

    def replied(self, visit: "Visit") -> None:
        """The upstream has begun to answer a request that nobody's task waits for, or it never will."""

    def left(self, visit: "Visit") -> None:
        """The client of a request that was served at once has gone."""


class Visit(Client):
    """One request under way.

    ends_connection: whatever the reply, for the request cannot be told from what follows it. stream: once the
    reply turns out to be one.
    """

    __slots__ = (
        "admit",
        "door",
        "ends_connection",
        "exchange",
        "facts",
        "head",
        "is_upgrade",
        "record",
        "standings",
        "started_s",
        "stream",
        "task",
        "trace",
        "writers",
    )

    def __init__(self, door: Serving, head: Head, wire: Wire, body: StreamReader, record: Record) -> None:
        super().__init__(wire, body)
        self.door = door
        self.head = head
        self.record = record
        self.started_s = time.perf_counter()
        self.facts: RequestFacts | None = None
        self.admit: Admit | None = None
        self.writers: Writers | None = None
        self.exchange: Exchange | None = None
        self.task: asyncio.Task[None] | None = None
        self.trace: Trace | None = None
        self.standings: tuple[Standing, ...] = ()
        self.stream: Stream | None = None
        self.ends_connection = self.is_upgrade = False

    @property
    def keep_alive(self) -> bool:
        return not (self.ends_connection or self.head.is_last or self.door.is_draining())

    def reply_lines(self, reply: Connection, cookies: tuple[bytes, ...]) -> list[bytes]:
        return self.door.reply_lines(self, reply, cookies)

    @property
    def events(self) -> EventsEnding | None:
        return self.stream.events if self.stream is not None else None

    def tunnel(self, connection: Connection, tasks: Tasks) -> "asyncio.Future[None]":
        assert self.stream is not None and self.stream.socket is not None  # noqa: S101, PT018  # by `reply_lines`
        return Tunnel(self.wire, connection, tasks, self.stream.socket).done

    def replied(self) -> None:
        self.door.replied(self)

    def left(self) -> None:
        """The client has gone: nobody waits for the reply any more."""
        self.door.left(self)
