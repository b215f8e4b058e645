"""The client's connection as the rest of the gateway needs it, over aiohttp's low-level server.

Replies are written as bytes of ours, not through aiohttp's response classes: those decode header values and lose what
is not UTF-8, add a Content-Type where the service sent none, and cost more than everything else that a request needs.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from gateway.connection import Connection
from gateway.core.errors import UpstreamError
from gateway.core.model import HeaderLine, RequestFacts
from gateway.tasks import Tasks
from gateway.upstream import BodyBroken

_HEADER_LINE_BYTES = 32 * 1024
_HEADER_LINES = 200
_KEEP_ALIVE_S = 75.0
_LINGER_S = 1.0
_ENDING_S = 0.1

ParseErrorAnswer = Callable[[web.BaseRequest, bool], None]


class Request(web.BaseRequest):
    """A request with its head as it was parsed; aiohttp's own accessors decode and normalise."""

    @property
    def head(self) -> RawRequestMessage:
        return self._message


class Written(web.StreamResponse):
    """Tells aiohttp's server that the reply is written already, and whether the connection lives on."""

    def __init__(self, *, keep_alive: bool) -> None:
        # The base class's attributes for headers and cookies are never used and cost more than all the rest.
        self._eof_sent = True
        self._keep_alive = keep_alive


class Client:
    """Implements `upstream.ClientSide` for one request."""

    def __init__(
        self,
        request: web.BaseRequest,
        facts: RequestFacts,
        lines: Callable[[int, list[HeaderLine], tuple[bytes, ...]], list[bytes]],
        tasks: Tasks,
        *,
        is_draining: Callable[[], bool],
    ) -> None:
        self._request = request
        self._lines = lines
        self._tasks = tasks
        self.http10 = facts.http10
        self._is_draining = is_draining
        self._expects = expects_continue(facts)
        length = facts.one(b"content-length")
        self.body_length = int(length) if length is not None else None
        self.has_body = b"transfer-encoding" in facts.named or bool(self.body_length)
        self.begun = False

    @property
    def keep_alive(self) -> bool:
        return self._request.keep_alive and not self._is_draining()

    async def read(self, idle_s: float) -> bytes:
        try:
            async with asyncio.timeout(idle_s):
                data: bytes = await self._request.content.readany()
        except TimeoutError as err:
            raise BodyBroken("the body stopped coming") from err
        except (RequestPayloadError, web.PayloadAccessError) as err:
            raise BodyBroken("the body is not framed as its head promised") from err
        return data

    def ask_for_body(self) -> None:
        if self._expects:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def write(self, data: bytes) -> None:
        self.begun = True
        self._transport.write(data)

    async def drain(self, idle_s: float) -> None:
        """A client that reads something in every idle time may be as slow as it likes."""
        while self._request.protocol.writing_paused:
            transport = self._transport
            before = transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(idle_s):
                    await self._request.writer.drain()
            except TimeoutError as err:
                if transport.get_write_buffer_size() >= before:
                    self.abort()
                    raise ConnectionResetError("the client does not read its reply") from err

    def reply_lines(self, status: int, headers: list[HeaderLine], cookies: tuple[bytes, ...]) -> list[bytes]:
        return self._lines(status, headers, cookies)

    def abort(self) -> None:
        """End the connection so that nobody takes half a reply for a whole one."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()

    def tunnel(self, connection: Connection) -> "asyncio.Future[None]":
        return _Tunnel(self._request, connection, self._tasks).done

    @property
    def _transport(self) -> asyncio.Transport:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        return transport


def expects_continue(facts: RequestFacts) -> bool:
    """Whether the client waits for `100 Continue`; any other expectation is nobody's (RFC 9110 section 10.1.1)."""
    return not facts.http10 and (facts.one(b"expect") or b"").strip().lower() == b"100-continue"


class _Tunnel:
    """Bytes both ways after a 101, whatever they mean; a slow reader on one side pauses the other."""

    def __init__(self, request: web.BaseRequest, connection: Connection, tasks: Tasks) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._protocol = request.protocol
        self._connection = connection
        self._tasks = tasks
        self._draining: asyncio.Task[None] | None = None
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
        if not self.done.done():
            self.done.set_result(None)


class _Protocol(RequestHandler):
    """aiohttp's server protocol with quiet errors: its own answer quotes what it could not parse, secrets included."""

    __slots__ = ("_answer",)

    def __init__(self, server: "Listener", loop: asyncio.AbstractEventLoop, answer: ParseErrorAnswer) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=_KEEP_ALIVE_S,
            access_log=None,  # type: ignore[arg-type]  # documented as optional, typed otherwise
            max_line_size=_HEADER_LINE_BYTES,
            max_field_size=_HEADER_LINE_BYTES,
            max_headers=_HEADER_LINES,
            lingering_time=_LINGER_S,
            auto_decompress=False,
        )
        self._answer = answer

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        too_large = isinstance(exc, LineTooLong) or "many headers" in str(message).lower()
        self._answer(request, too_large)
        return Written(keep_alive=False)

    def close(self) -> None:
        # At a stop. What runs goes on reading, or its body and its WebSocket would be cut; its reply is the last one.
        if not self._request_in_progress:
            super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  # the base class's signature
        """Wait once for what runs, then end it; the base class stops reading first and waits twice."""
        if self._request_in_progress:
            ended = self._handler_waiter = self._loop.create_future()
            try:
                async with asyncio.timeout(timeout):
                    await ended
            except TimeoutError:
                self._handler_waiter = None
        await super().shutdown(_ENDING_S)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        cause = kw.get("exc_info")
        logging.getLogger("gateway").error("unexpected %s while serving a connection", type(cause).__name__)


class Listener(web.Server):
    """The low-level server of the public listener. A client that goes away ends the work for it."""

    def __init__(self, serve: Callable[[Request], Awaitable[web.StreamResponse]], answer: ParseErrorAnswer) -> None:
        super().__init__(serve, request_factory=self._request, handler_cancellation=True)  # type: ignore[arg-type]
        self._answer = answer

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> Request:
        return Request(message, payload, protocol, writer, task, self._loop)

    def __call__(self) -> RequestHandler:
        return _Protocol(self, self._loop, self._answer)


@lru_cache(maxsize=4)
def date_line(now_s: int) -> bytes:
    """`Date` for replies of our own (RFC 9110 section 6.6.1)."""
    return b"Date: " + formatdate(now_s, usegmt=True).encode("ascii")


def write_reply(
    request: web.BaseRequest, status: int, lines: list[bytes], body: bytes, *, keep_alive: bool, head_only: bool
) -> None:
    """Write a whole reply of our own."""
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has gone")
    out = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode("ascii"), date_line(int(time.time())), *lines]
    if status != 204:
        out.append(b"Content-Length: %d" % len(body))
    if not keep_alive:
        out.append(b"Connection: close")
    elif request.version < (1, 1):
        out.append(b"Connection: keep-alive")
    head = b"\r\n".join(out) + b"\r\n\r\n"
    if head.count(b"\n") != len(out) + 1 or head.count(b"\r") != len(out) + 1:
        raise ValueError("a line break inside a header of our own reply")
    transport.write(head if head_only else head + body)
