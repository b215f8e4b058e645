"""The client's connection as the rest of the gateway needs it, over aiohttp's low-level server.

Replies are written as bytes of ours, not through aiohttp's response classes: those decode header values and lose what
is not UTF-8, add a Content-Type where the service sent none, and cost more than everything else that a request needs.
"""

import asyncio
import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import cache, lru_cache
from http import HTTPStatus

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestPayloadError

from gateway.clientside import BodyBroken
from gateway.connection import Connection
from gateway.core.errors import UpstreamError
from gateway.core.model import RequestFacts
from gateway.doors.listener import Wire
from gateway.endings import SocketEnding
from gateway.tasks import Tasks


class Client:
    """Implements `upstream.ClientSide` for one request, but for what only the door knows: the reply, and its stream."""

    __slots__ = ("body", "body_length", "expects", "has_body", "http10", "wire", "written")

    def __init__(self, wire: Wire, body: StreamReader) -> None:
        self.wire = wire
        self.body = body
        self.http10 = self.has_body = self.expects = False
        self.body_length: int | None = None
        self.written = 0

    def learn(self, facts: RequestFacts) -> None:
        """What the head says of the body that follows it."""
        named = facts.named
        self.http10 = facts.http10
        length = named.get(b"content-length")
        if length is not None:
            self.body_length = int(length[0])
            self.has_body = self.body_length > 0
        elif b"transfer-encoding" in named:
            self.has_body = True
        self.expects = b"expect" in named and expects_continue(facts)

    @property
    def begun(self) -> bool:
        """Whether the client has been sent anything of its reply."""
        return self.written > 0

    async def read(self, idle_s: float) -> bytes:
        try:
            async with asyncio.timeout(idle_s):
                data: bytes = await self.body.readany()
        except TimeoutError as err:
            raise BodyBroken("the body stopped coming") from err
        except (RequestPayloadError, web.PayloadAccessError) as err:
            raise BodyBroken("the body is not framed as its head promised") from err
        return data

    def ask_for_body(self) -> None:
        if self.expects:
            self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def write(self, data: bytes) -> None:
        self.written += len(data)
        self.wire.write(data)

    def send(self, data: bytes) -> None:
        self.written += len(data)
        self.wire.send(data)

    @property
    def is_slow(self) -> bool:
        return self.wire.writing_paused

    async def drain(self, idle_s: float) -> None:
        """A client that reads something in every idle time may be as slow as it likes."""
        while self.wire.writing_paused:
            transport = self._transport
            before = transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(idle_s):
                    await self.wire._drain_helper()  # noqa: SLF001  # what StreamWriter.drain() calls
            except TimeoutError as err:
                if transport.get_write_buffer_size() >= before:
                    self.abort()
                    raise ConnectionResetError("the client does not read its reply") from err

    def abort(self) -> None:
        """End the connection so that nobody takes half a reply for a whole one."""
        transport = self.wire.transport
        if transport is not None:
            transport.abort()

    @property
    def _transport(self) -> asyncio.Transport:
        transport = self.wire.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        return transport


def expects_continue(facts: RequestFacts) -> bool:
    """Whether the client waits for `100 Continue`; any other expectation is nobody's (RFC 9110 section 10.1.1)."""
    return not facts.http10 and (facts.one(b"expect") or b"").strip().lower() == b"100-continue"


class Tunnel:
    """Bytes both ways after a 101, whatever they mean; a slow reader on one side pauses the other."""

    def __init__(self, wire: Wire, connection: Connection, tasks: Tasks, ending: SocketEnding) -> None:
        """ending: what becomes of it when we are to end it."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._protocol = wire
        self._connection = connection
        self._tasks = tasks
        self._draining: asyncio.Task[None] | None = None
        self._ending = ending
        if wire.transport is not None:
            ending.begin(wire.transport, connection, self._over)
        connection.on_tunnel_closed = self._ended
        connection.on_writing = self._upstream_takes
        connection.tunnel = self._to_client
        if connection.tail:
            self._to_client(connection.tail)
        self._protocol.set_parser(self)  # type: ignore[arg-type]  # it asks for feed_data and feed_eof, no more
        if not connection.is_open:
            self._ended()

    # what aiohttp's protocol calls once the connection is upgraded

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if not self._ending.hears_client:
            return False, b""
        try:
            self._connection.write(bytes(data))
        except UpstreamError:
            self._ended()
        return False, b""

    def feed_eof(self) -> None:
        self._ended()

    # what the upstream's connection calls

    def _to_client(self, data: bytes) -> None:
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            self._ended()
            return
        data = self._ending.passing(data)
        if data:
            transport.write(data)
        if self._protocol.writing_paused and self._draining is None and self._connection.transport is not None:
            self._connection.transport.pause_reading()
            self._draining = self._tasks.spawn(self._resume_when_drained(), "wait for a slow websocket client")

    async def _resume_when_drained(self) -> None:
        try:
            await self._protocol._drain_helper()  # noqa: SLF001  # what StreamWriter.drain() calls; we write no stream
        except ConnectionError:
            self._ended()
        finally:
            self._draining = None
        if self._connection.transport is not None:
            self._connection.transport.resume_reading()

    def _upstream_takes(self, ready: bool) -> None:
        transport = self._protocol.transport
        if transport is not None and not transport.is_closing():
            if ready:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def _ended(self) -> None:
        """Either side has ended; where we have, `ending` says when that is over."""
        if not self._ending.is_over:
            self._over()

    def _over(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


@lru_cache(maxsize=4)
def date_line(now_s: int) -> bytes:
    """`Date` for replies of our own (RFC 9110 section 6.6.1)."""
    return b"Date: " + formatdate(now_s, usegmt=True).encode("ascii")


def write_reply(
    wire: Wire,
    status: int,
    lines: Sequence[bytes],
    body: bytes,
    *,
    keep_alive: bool,
    http10: bool,
    head_only: bool,
) -> None:
    """Write a whole reply of our own."""
    out = [_status_line(status), date_line(int(time.time())), *lines]
    if status != 204:
        out.append(b"Content-Length: %d" % len(body))
    if not keep_alive:
        out.append(b"Connection: close")
    elif http10:
        out.append(b"Connection: keep-alive")
    head = b"\r\n".join(out) + b"\r\n\r\n"
    if head.count(b"\n") != len(out) + 1 or head.count(b"\r") != len(out) + 1:
        raise ValueError("a line break inside a header of our own reply")
    wire.send(head if head_only else head + body)


@cache
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode("ascii")
