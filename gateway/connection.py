"""One connection to an upstream: HTTP/1.1 as httptools (llhttp) reads it, with back-pressure both ways.

The parser reads; this class only keeps what it read until somebody takes it. A connection may serve another exchange
only when both sides of the last one ended cleanly, so whatever is odd (bytes that nobody asked for, a body that we
stopped sending, a reply that ends with the connection) marks it `spoilt`.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from gateway.core.errors import UpstreamBadReply, UpstreamError, UpstreamTimeout
from gateway.core.model import HeaderLine
from gateway.outbox import Outbox

BUFFERED_BYTES = 256 * 1024
HEAD_BYTES = 256 * 1024
HEAD_LINES = 1_000
_NO_BODY = frozenset({204, 304})
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"content-type"})


class Stale(UpstreamError):
    """A connection from the pool was closed under our hands before a single byte of a reply."""


class Connection(asyncio.Protocol):
    """What the upstream says: `status`, `reason`, `headers`, `length` (None: not told), `chunked`, then the body."""

    __slots__ = (
        "_buffered",
        "_bytes_beside_body",
        "_chunks",
        "_error",
        "_head_only",
        "_in_use",
        "_interim",
        "_loop",
        "_message_ended",
        "_parser",
        "_reading_paused",
        "_upgrade",
        "_waiter",
        "_write_waiter",
        "_writing_paused",
        "any_byte",
        "chunked",
        "complete",
        "has_body",
        "head_complete",
        "headers",
        "idle_since_s",
        "is_event_stream",
        "is_open",
        "keep_alive",
        "length",
        "on_reply",
        "on_tunnel_closed",
        "on_writing",
        "reason",
        "spoilt",
        "status",
        "tail",
        "transport",
        "tunnel",
        "uses",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.transport: asyncio.Transport | None = None
        self.is_open = False
        self.spoilt = False
        self.uses = 0
        self.idle_since_s = 0.0
        self._in_use = False
        self._write_waiter: asyncio.Future[None] | None = None
        self._writing_paused = False
        self._reading_paused = False
        self.tunnel: Callable[[bytes], None] | None = None
        self.on_tunnel_closed: Callable[[], None] | None = None
        self.on_writing: Callable[[bool], None] | None = None
        self.on_reply: Callable[[], None] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._message_ended = True
        self._reset(head_only=False, upgrade=False)

    def _reset(self, *, head_only: bool, upgrade: bool) -> None:
        if not self._message_ended:
            # A parser goes on from one reply to the next, unless the last one was left half read (HEAD).
            self._parser = httptools.HttpResponseParser(self)
        self._message_ended = False
        self._head_only = head_only
        self._upgrade = upgrade
        self._interim = False
        self.status = 0
        self.reason = b""
        self.headers: list[HeaderLine] = []
        self._bytes_beside_body = 0
        self.length: int | None = None
        self.chunked = False
        self.has_body = False
        self.is_event_stream = False
        self.keep_alive = False
        self.head_complete = False
        self.complete = False
        self.any_byte = False
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._error: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.tail = b""

    # --- for whoever uses the connection ----------------------------------------------------------------------------

    def begin(self, *, head_only: bool, upgrade: bool) -> None:
        """A new exchange starts. head_only: the reply has no body whatever its head says (HEAD)."""
        self._reset(head_only=head_only, upgrade=upgrade)
        self._in_use = True
        self.uses += 1

    def end(self) -> bool:
        """The exchange is over; True when the connection may serve another one."""
        self._in_use = False
        clean = self.complete and self.keep_alive and not self.spoilt and self.is_open and not self._chunks
        if not clean:
            self.abort()
        return clean

    def finish(self) -> None:
        """Close once everything written has gone out."""
        self.spoilt = True
        self._in_use = False
        if self.transport is not None:
            self.transport.close()

    def cut(self) -> None:
        """End the reply here, as if it were whole; the connection serves nobody else."""
        self.complete = True
        self.spoilt = True
        self._wake()

    def abort(self) -> None:
        """Close without waiting for anything."""
        self.spoilt = True
        self._in_use = False
        if self.transport is not None:
            self.transport.abort()

    def write(self, data: bytes) -> None:
        if self.transport is None or not self.is_open:
            raise self._error or Stale("the connection was closed")
        self.transport.write(data)

    def send(self, data: bytes, outbox: Outbox) -> None:
        """As `write`, at the end of this turn of the event loop; for what is all that will be written."""
        if self.transport is None or not self.is_open:
            raise self._error or Stale("the connection was closed")
        outbox.put(self.transport, data)

    @property
    def unsent_bytes(self) -> int:
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    async def drain(self) -> None:
        """Wait until the upstream has taken most of what was written."""
        while self._writing_paused and self.is_open:
            if self._write_waiter is None:
                self._write_waiter = self._loop.create_future()
            await self._write_waiter

    async def head(self, timeout_s: float) -> None:
        """Wait for the reply's head; raises UpstreamError."""
        timer = self._loop.call_later(timeout_s, self.fail, UpstreamTimeout("no reply in time"))
        try:
            while not self.head_complete:
                await self._wait()
        finally:
            timer.cancel()

    async def body(self, idle_s: float | None) -> bytes:
        """The next piece of the body, all that is there; b"" at its end. idle_s: how long to wait for it at most."""
        timer: asyncio.TimerHandle | None = None
        try:
            while not self._chunks and not self.complete:
                if timer is None and idle_s is not None:
                    timer = self._loop.call_later(idle_s, self.fail, UpstreamTimeout("the reply stopped half way"))
                await self._wait()
        finally:
            if timer is not None:
                timer.cancel()
        return self.taken()

    @property
    def error(self) -> UpstreamError | None:
        """Why the exchange failed; None as long as it has not."""
        return self._error

    @property
    def buffered_bytes(self) -> int:
        return self._buffered

    def taken(self) -> bytes:
        """What is buffered of the body, without waiting."""
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if self._reading_paused and self.transport is not None:
            self._reading_paused = False
            self.transport.resume_reading()
        return data

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        await self._waiter
        if self._error is not None and not self._chunks:
            raise self._error

    def _wake(self) -> None:
        if self.on_reply is not None:
            self.on_reply()
            return
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def fail(self, error: UpstreamError) -> None:
        """End the exchange: whoever waits for the reply gets `error`."""
        if self._error is None and not self.complete:
            self._error = error
        self.spoilt = True
        self._wake()
        if self.transport is not None:
            self.transport.abort()

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # By what it can do, not by its class: uvloop's transports are no subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self.transport = None
        if self._in_use and not self.complete:
            if self.head_complete and not self.chunked and self.length is None and self.has_body and exc is None:
                self.complete = True  # a body that lasts as long as its connection (RFC 9112 section 6.3, rule 8)
                self.keep_alive = False
            elif self._error is None:
                fresh = "the connection was closed before the reply was complete"
                self._error = Stale(fresh) if not self.any_byte else UpstreamBadReply(fresh)
        self._wake()
        self.resume_writing()
        if self.on_tunnel_closed is not None:
            self.on_tunnel_closed()

    def data_received(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel(data)
            return
        if not self._in_use or self.complete:
            # Bytes that answer no request would become the next caller's reply.
            self.abort()
            return
        self.any_byte = True
        self._bytes_beside_body += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.tail += data[upgrade.args[0] :]
        except httptools.HttpParserError:
            self.fail(UpstreamBadReply("the reply is not HTTP"))
            return
        # The parser tells nothing of a reason, value or trailer before it has ended, and some never end.
        if self._bytes_beside_body > HEAD_BYTES and not self.complete:
            self.fail(UpstreamBadReply("the reply's head or trailer is too large"))
            return
        self._wake()

    def pause_writing(self) -> None:
        self._writing_paused = True
        if self.on_writing is not None:
            self.on_writing(False)

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._write_waiter is not None and not self._write_waiter.done():
            self._write_waiter.set_result(None)
        self._write_waiter = None
        if self.on_writing is not None:
            self.on_writing(True)

    # --- httptools --------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            self.spoilt = True

    def on_status(self, status: bytes) -> None:
        if not self.complete:
            self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_complete:
            return  # a trailer field: dropped, for it would arrive where nobody judged it
        self.headers.append((name.lower(), name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return  # a second reply behind the first: `on_message_begin` has marked the connection
        if self._parser.get_http_version() not in ("1.1", "1.0"):
            self.fail(UpstreamBadReply("the reply is of another version of HTTP"))
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim = True
            return
        self.status = status
        if not 101 <= status <= 599 or (status == 101 and not self._upgrade):
            self.fail(UpstreamBadReply("the reply has a status that nobody asked for"))
            return
        # What has come may be body for the most part: the head is only measured where it can be too large.
        if len(self.headers) > HEAD_LINES or (self._bytes_beside_body > HEAD_BYTES and self._head_bytes > HEAD_BYTES):
            self.fail(UpstreamBadReply("the reply's head is too large"))
            return
        self._read_framing()
        if self._error is not None:
            return
        self.has_body = not self._head_only and status not in _NO_BODY and status != 101
        self.head_complete = True
        if not self.has_body:
            self.keep_alive = status != 101 and self._parser.should_keep_alive()
            self.complete = True

    @property
    def _head_bytes(self) -> int:
        return len(self.reason) + sum(len(name) + len(value) + 4 for _, name, value in self.headers)

    def _read_framing(self) -> None:
        for lower, _, value in self.headers:
            if lower not in _FRAMING:
                continue
            if lower == b"content-length":
                value = value.strip(b" \t")  # noqa: PLW2901  # RFC 9110 section 5.5; llhttp leaves what is behind
                if not value.isdigit() or self.length is not None:
                    self.fail(UpstreamBadReply("the reply has an unusable Content-Length"))
                    return
                self.length = int(value)
            elif lower == b"transfer-encoding":
                if value.strip().lower() != b"chunked" or self.chunked:
                    self.fail(UpstreamBadReply("the reply has a Transfer-Encoding other than chunked"))
                    return
                self.chunked = True
            else:
                self.is_event_stream = value[:17].lower() == b"text/event-stream"
        if self.chunked and self._parser.get_http_version() == "1.0":
            self.spoilt = True  # RFC 9112 section 6.1: whoever sent it does not know what it means
        if self.chunked and self.length is not None:
            self.fail(UpstreamBadReply("the reply has both Content-Length and Transfer-Encoding"))

    def on_body(self, body: bytes) -> None:
        if self.complete:
            self.spoilt = True  # a body where none may be
            return
        self._bytes_beside_body = 0
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > BUFFERED_BYTES and not self._reading_paused and self.transport is not None:
            self._reading_paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        self._message_ended = not self._interim
        if self._interim:
            self._interim = False
            self.headers.clear()
            self.reason = b""
            return
        if not self.complete:
            self.keep_alive = self._parser.should_keep_alive()
            self.complete = True
