"""The public listener: aiohttp's low-level server, with a way past its task for requests that can be served at once.

A request that came alone, whole and without a body goes to the door in the same turn of the event loop: most requests
need nothing to be waited for but the upstream, and a task, a future and a request object for each of them cost more
than all that is decided. Whatever else comes (a body, an upgrade, several requests in one piece or one in several, what
is no HTTP) takes aiohttp's own way, and aiohttp minds every connection.
"""

import asyncio
import logging
import time
from typing import Any, Protocol, cast

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from gateway.core.facts import read_block
from gateway.core.model import HeadLimits
from gateway.doors.reader import Head, Reader
from gateway.outbox import Outbox

_KEEP_ALIVE_S = 75.0
_LINGER_S = 1.0
_ENDING_S = 0.1
_HALF_CLOSED_S = 2.0
_SENT_LATER_BYTES = 16 * 1024
_END_OF_HEAD = b"\r\n\r\n"


class Request(web.BaseRequest):
    """A request with its head as it was parsed; aiohttp's own accessors decode and normalise."""

    @property
    def head(self) -> Head:
        message = self._message
        return Head(
            message.method,
            message.path.encode("utf-8", "surrogateescape"),
            message.version,
            read_block(message.raw_headers, self.wire.limits),
            message.should_close,
            message.upgrade,
        )

    @property
    def wire(self) -> "Wire":
        wire = self.protocol
        assert isinstance(wire, Wire)  # noqa: S101  # for the type checker: the listener makes no other
        return wire


class Written(web.StreamResponse):
    """Tells aiohttp's server that the reply is written already, and whether the connection lives on."""

    def __init__(self, *, keep_alive: bool) -> None:
        # The base class's attributes for headers and cookies are never used and cost more than all the rest.
        self._eof_sent = True
        self._keep_alive = keep_alive


class Underway(Protocol):
    """A request that the door is serving. written: bytes of its reply so far."""

    written: int

    def left(self) -> None:
        """The client has gone."""


class Door(Protocol):
    """Who serves what the listener hears."""

    def at_once(self, head: Head, wire: "Wire") -> "Underway":
        """Serve a request without a body; ends with `wire.ended`, perhaps before this returns."""

    async def serve(self, request: Request) -> web.StreamResponse:
        """Serve any request."""

    def unreadable(self, request: Request, too_large: bool) -> None:
        """Answer what could not be parsed."""


class Wire(RequestHandler):
    """One client's connection. aiohttp's own answer to what it cannot parse quotes it, secrets included; ours does not.

    is_busy: a request that went to the door at once is under way.
    """

    __slots__ = (
        "_ended_s",
        "_held",
        "_is_between",
        "_is_half_closed",
        "_is_new",
        "_is_tls",
        "_listener",
        "_outbox",
        "_reader",
        "_underway",
        "client_address",
        "is_busy",
        "limits",
        "serving",
    )

    def __init__(self, listener: "Listener", loop: asyncio.AbstractEventLoop, reader: Reader, outbox: Outbox) -> None:
        super().__init__(
            listener,
            loop=loop,
            keepalive_timeout=_KEEP_ALIVE_S,
            access_log=None,  # type: ignore[arg-type]  # documented as optional, typed otherwise
            max_line_size=reader.limits.line_bytes,
            max_field_size=reader.limits.line_bytes,
            max_headers=reader.limits.lines,
            lingering_time=_LINGER_S,
            auto_decompress=False,
        )
        self._listener = listener
        self._reader = reader
        self.limits = reader.limits
        self._outbox = outbox
        self._is_between = self._is_new = True
        self._is_half_closed = self._is_tls = False
        self._held = b""
        self._underway: Underway | None = None
        self.serving: Underway | None = None
        self.client_address = ""
        self.is_busy = False
        self._ended_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.client_address = peer[0] if isinstance(peer, tuple) else ""
        self._is_tls = transport.get_extra_info("sslcontext") is not None

    def data_received(self, data: bytes) -> None:
        if self.is_busy or self._held:
            # The next request waits for the reply to this one, and no more of it is read than this piece.
            self._held += data
            self._pause_reading_for_buffer()
        elif self._is_new and self._waiter is None and not self._request_count:
            # The task with which aiohttp serves this connection has its first turn just before this comes again.
            self._held = data
            self._pause_reading_for_buffer()
            self._loop.call_soon(self._go_on)
        elif not (self._is_between and data.endswith(_END_OF_HEAD) and self._taken(data)):
            self._leave_to_aiohttp(data)

    def _leave_to_aiohttp(self, data: bytes) -> None:
        super().data_received(data)
        # Nothing is left in aiohttp's parser when what it got ended with the head of one request without a body, and
        # that is the only one: when it counts as many as it takes, it pauses between two and keeps what follows.
        alone = len(self._messages) == 1 and self._messages[0][1] is EMPTY_PAYLOAD
        self._is_between = alone and data.endswith(_END_OF_HEAD)

    def _taken(self, data: bytes) -> bool:
        """Hand a request to the door at once; False while anything else is going on here."""
        if self._waiter is None or self._messages or self._close or self._force_close:
            return False
        head = self._reader.read(data, time.monotonic())
        if head is None:
            return False
        self.is_busy = True
        self._request_count += 1
        underway = self._listener.door.at_once(head, self)
        if self.is_busy:
            self._underway = self.serving = underway
        return True

    def send(self, data: bytes) -> None:
        """Write a reply, or the last of one, and nothing more; raises ConnectionResetError once the client has gone."""
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        if self.is_busy and len(data) <= _SENT_LATER_BYTES:
            self._outbox.put(transport, data)
        else:
            self.write(data)

    def write(self, data: bytes) -> None:
        """Write at once; raises ConnectionResetError once the client has gone."""
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._outbox.flush()
        transport.write(data)

    def ended(self, *, keep_alive: bool) -> None:
        """The request that went to the door at once is over, its reply written."""
        self.is_busy = False
        self._underway = self.serving = None
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if self.transport is None:
            return
        if not keep_alive or self._close or self.is_answered:
            self._close = True
            self._outbox.flush()
            self.transport.close()
            return
        self._ended_s = time.monotonic()
        if self._held:
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Read what had to wait: for the last reply, or for aiohttp's task."""
        held, self._held = self._held, b""
        self._is_new = False
        if self._force_close or self._close:
            return
        self.data_received(held)
        # Where aiohttp has as much as it takes at once, it goes on by itself, and only while it counts as paused.
        if not self._held and len(self._messages) < self._max_msg_queue_size:
            self._resume_reading_for_buffer()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        underway, self._underway = self._underway, None
        if underway is not None:
            underway.left()

    def eof_received(self) -> bool | None:  # type: ignore[override]  # asyncio allows it, aiohttp closes always
        """A client that has said all it will say may still be listening (`shutdown` of its half); not for long."""
        bodies = [body for _, body in self._messages]
        if self._current_request is not None:
            bodies.append(self._current_request.content)
        is_working = self.is_busy or bodies or self._waiter is None
        # TLS as Python speaks it has no half that could be closed: who says it is over has gone.
        if self._is_tls or self._upgraded or not is_working or not all(body.is_eof() for body in bodies):
            return None
        self._is_half_closed = True
        self._loop.call_later(_HALF_CLOSED_S, self._end_half_closed, (self.serving, 0))
        return True

    @property
    def is_answered(self) -> bool:
        """Whether the client has closed its half, and nothing of what it asked is left to be answered."""
        return self._is_half_closed and not self._messages

    def _end_half_closed(self, before: tuple[Underway | None, int]) -> None:
        """Nothing tells a client that listens from one that has gone, but that its reply goes on."""
        serving = self.serving
        now = serving, serving.written if serving is not None else 0
        if serving is not None and now != before and not self._force_close:
            self._loop.call_later(_HALF_CLOSED_S, self._end_half_closed, now)
        else:
            self.force_close()

    def _process_keepalive(self) -> None:
        idle_s = 0.0 if self.is_busy else time.monotonic() - self._ended_s
        if idle_s < _KEEP_ALIVE_S:
            still_s = self._loop.time() + _KEEP_ALIVE_S - idle_s
            self._next_keepalive_close_time = max(self._next_keepalive_close_time, still_s)
        super()._process_keepalive()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        too_large = isinstance(exc, LineTooLong) or "many headers" in str(message).lower()
        self._listener.door.unreadable(cast(Request, request), too_large)
        return Written(keep_alive=False)

    def close(self) -> None:
        # At a stop. What runs goes on reading, or its body and its WebSocket would be cut; its reply is the last one.
        if not (self._request_in_progress or self.is_busy or self._held):
            super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  # the base class's signature
        """Wait once for what runs, then end it; the base class stops reading first and waits twice."""
        if self._request_in_progress or self.is_busy:
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
    """The low-level server of the public listener. A client that goes away ends the work for it.

    door: may be replaced; requests under way stay with the one that they came to.
    """

    def __init__(self, door: Door, limits: HeadLimits) -> None:
        super().__init__(self._serve, request_factory=self._request, handler_cancellation=True)  # type: ignore[arg-type]
        self.door = door
        self._reader = Reader(limits)
        self._outbox = Outbox()

    async def _serve(self, request: Request) -> web.StreamResponse:
        return await self.door.serve(request)

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
        return Wire(self, self._loop, self._reader, self._outbox)
