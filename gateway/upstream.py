"""Streams one admitted request out and its reply back. Takes an `Admit` and nothing less.

The client's side is told through `ClientSide`, so that nothing here knows who reads the client's socket. Once a reply
has begun, a broken upstream ends the client's connection, so that nobody takes half for whole.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from gateway.clock import Clock
from gateway.connection import Connection, Stale
from gateway.core.errors import GatewayError, UpstreamBadReply, UpstreamError, UpstreamTimeout
from gateway.core.model import Admit, HeaderLine, RequestFacts, Timeouts, Upstream
from gateway.pool import IDLE_S, Pool
from gateway.tasks import Tasks

_WHILE_SENDING_S = 86_400.0  # the client's own pace is bounded by `timeouts.idle`, not by the wait for a reply
_RESTED_S = 1.0  # a request that may not be repeated takes no connection that the service may be about to close
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class BodyTooLarge(GatewayError):
    """The request's body is larger than its route allows."""


class BrokenOff(GatewayError):
    """The upstream broke off after its reply had begun; `relayed` tells how far it went."""

    def __init__(self, relayed: "Relayed", cause: UpstreamError) -> None:
        super().__init__(str(cause))
        self.relayed = relayed


class BodyBroken(GatewayError):
    """The request's body is not what its head promised, or stopped coming."""


class ClientSide(Protocol):
    """The client, as the upstream's side needs it."""

    http10: bool
    body_length: int | None  # None: chunked
    has_body: bool

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may serve another request after this one."""

    async def read(self, idle_s: float) -> bytes:
        """The next piece of the body, b"" at its end; raises BodyBroken."""

    def ask_for_body(self) -> None:
        """Send `100 Continue` if the client waits for it."""

    def write(self, data: bytes) -> None:
        """Raises ConnectionError once the client has gone."""

    async def drain(self, idle_s: float) -> None:
        """Wait until the client has taken most of what was written; raises ConnectionError if it takes nothing."""

    def reply_lines(self, status: int, headers: list[HeaderLine], cookies: tuple[bytes, ...]) -> list[bytes]:
        """Header lines of the reply, framing left out."""

    def tunnel(self, connection: Connection) -> "asyncio.Future[None]":
        """Hand the client's bytes to `connection` from now on, and back; done when either side has ended."""


@dataclass(slots=True)
class Relayed:
    """How an exchange went, for the log. status 0: no reply had begun."""

    status: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    keep_alive: bool = True
    tunnelled: bool = False
    upstream_s: float = 0.0


class Upstreams:
    """The pools of all upstreams of a route table."""

    def __init__(self, clock: Clock, tasks: Tasks) -> None:
        self._clock = clock
        self._tasks = tasks
        self._pools: dict[Upstream, Pool] = {}

    async def forward(
        self, admit: Admit, facts: RequestFacts, lines: list[bytes], client: ClientSide, *, is_upgrade: bool, path: str
    ) -> Relayed:
        """Send the request, stream the reply; raises UpstreamError, BodyTooLarge or BodyBroken before a reply began.

        lines: header lines without framing. path: the request target to send.
        """
        pool = self._pool(admit.match.route.upstream)
        exchange = _Exchange(pool, admit, facts, client, tasks=self._tasks, is_upgrade=is_upgrade)
        exchange.head = _request_head(facts.method, path, lines, client, is_upgrade=is_upgrade)
        started_s = self._clock.mono_s()
        try:
            await exchange.send()
            return await exchange.receive()
        except UpstreamError as err:
            if exchange.relayed.status:
                raise BrokenOff(exchange.relayed, err) from err
            raise
        finally:
            exchange.close()
            exchange.relayed.upstream_s = self._clock.mono_s() - started_s

    def _pool(self, upstream: Upstream) -> Pool:
        pool = self._pools.get(upstream)
        if pool is None:
            pool = self._pools[upstream] = Pool(upstream, self._clock)
        return pool

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()


def _request_head(method: str, path: str, lines: list[bytes], client: ClientSide, *, is_upgrade: bool) -> bytes:
    out = [f"{method} {path} HTTP/1.1".encode("latin-1"), *lines]
    if is_upgrade:
        out += [b"Connection: Upgrade", b"Upgrade: websocket"]
        if client.has_body:
            raise ValueError("an upgrade with a body would be two requests")
    elif client.has_body:
        known = client.body_length is not None
        out.append(b"Content-Length: %d" % (client.body_length or 0) if known else b"Transfer-Encoding: chunked")
    elif method in ("POST", "PUT", "PATCH"):
        out.append(b"Content-Length: 0")
    head = b"\r\n".join(out) + b"\r\n\r\n"
    # Every part was checked where it was made; this is the last place before the wire.
    if head.count(b"\n") != len(out) + 1 or head.count(b"\r") != len(out) + 1 or b"\0" in head:
        raise ValueError("a line break inside a header of the forwarded request")
    return head


class _Exchange:
    """One request and its reply on one connection."""

    def __init__(
        self,
        pool: Pool,
        admit: Admit,
        facts: RequestFacts,
        client: ClientSide,
        *,
        tasks: Tasks,
        is_upgrade: bool,
    ) -> None:
        self._pool = pool
        self._route = admit.match.route
        self._cookies = admit.set_cookies
        self._timeouts: Timeouts = self._route.timeouts
        self._facts = facts
        self._client = client
        self._tasks = tasks
        self._is_upgrade = is_upgrade
        self._connection: Connection | None = None
        self._pump: asyncio.Task[None] | None = None
        self._body_sent = not client.has_body
        self.head = b""
        self.relayed = Relayed()

    async def send(self) -> None:
        """Connect, write the head, and wait for the reply's head while the body goes out."""
        length = self._client.body_length
        if self._client.has_body and length is not None and length > self._route.max_body_bytes:
            raise BodyTooLarge(f"the body has {length} bytes, the route allows {self._route.max_body_bytes}")
        may_repeat = self._facts.method in IDEMPOTENT and not self._client.has_body and not self._is_upgrade
        try:
            await self._try(IDLE_S if may_repeat else _RESTED_S)
        except Stale as err:
            connection = self._connection
            if not may_repeat or connection is None or connection.uses < 2:
                raise UpstreamBadReply("the upstream closed the connection without a reply") from err
            connection.abort()
            await self._try(rested_s=0.0)

    async def _try(self, rested_s: float) -> None:
        connection = self._connection = await self._pool.take(self._timeouts.connect_s, rested_s=rested_s)
        connection.begin(head_only=self._facts.method == "HEAD", upgrade=self._is_upgrade)
        try:
            connection.write(self.head)
            if self._client.has_body:
                self._client.ask_for_body()
                await self._send_body(connection)
            await connection.head(self._timeouts.response_s)
        except Stale as err:
            if rested_s == 0.0:
                raise UpstreamBadReply("the upstream closed the connection without a reply") from err
            raise

    async def _send_body(self, connection: Connection) -> None:
        """Until the body is out, or the upstream has answered without waiting for it, or either side broke."""
        pump = self._pump = self._tasks.spawn(self._pump_body(connection), "send a request body")
        head = self._tasks.spawn(connection.head(_WHILE_SENDING_S), "wait for a reply while sending")
        try:
            await asyncio.wait((pump, head), return_when=asyncio.FIRST_COMPLETED)
            if head.done():
                head.result()
                # The reply has begun before the body is out; should the body break now, the reply may not look whole.
                pump.add_done_callback(lambda done: self._body_broke(connection, done))
            else:
                pump.result()
        finally:
            if not head.done():
                head.cancel()
                await asyncio.wait((head,))

    @staticmethod
    def _body_broke(connection: Connection, pump: "asyncio.Task[None]") -> None:
        broke = None if pump.cancelled() else pump.exception()
        # An upstream that answers without reading on is in its right; its own trouble shows in its reply.
        if isinstance(broke, BodyTooLarge | BodyBroken):
            fault = UpstreamBadReply("the request's body broke off after the reply had begun")
            fault.__cause__ = broke
            connection.fail(fault)

    async def _pump_body(self, connection: Connection) -> None:
        client, limit = self._client, self._route.max_body_bytes
        chunked = client.body_length is None
        while data := await client.read(self._timeouts.idle_s):
            self.relayed.received_bytes += len(data)
            if self.relayed.received_bytes > limit:
                raise BodyTooLarge(f"the body has more than the {limit} bytes that the route allows")
            try:
                connection.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            except UpstreamError:
                return  # it will have said why in its reply, or the reply's absence says it
            await self._drained(connection)
        if chunked:
            connection.write(b"0\r\n\r\n")
        self._body_sent = True

    async def _drained(self, connection: Connection) -> None:
        """Wait for room; an upstream that takes something in every idle time may be as slow as it likes."""
        while True:
            before = connection.unsent_bytes
            try:
                async with asyncio.timeout(self._timeouts.idle_s):
                    return await connection.drain()
            except TimeoutError as err:
                if connection.unsent_bytes >= before:
                    raise UpstreamTimeout("the upstream does not take the request's body") from err

    async def receive(self) -> Relayed:
        """Write the reply to the client as it comes."""
        connection, client, relayed = self._connection, self._client, self.relayed
        assert connection is not None  # noqa: S101  # for the type checker: send() has returned
        cookies = await self._cookies.settled() if self._cookies is not None else ()
        lines = client.reply_lines(connection.status, connection.headers, cookies)
        relayed.keep_alive = client.keep_alive and self._body_sent
        if connection.status == 101:
            return await self._tunnelled(connection, lines)
        chunked = self._frame(connection, lines)
        head = _reply_head(connection, lines)
        relayed.status = connection.status
        if connection.complete:
            body = connection.taken()
            relayed.sent_bytes = len(body)
            client.write(head + (_chunk(body) + b"0\r\n\r\n" if chunked else body))
            await client.drain(self._timeouts.idle_s)
            return relayed
        client.write(head)
        idle_s = None if _is_event_stream(connection.headers) else self._timeouts.idle_s
        while data := await connection.body(idle_s):
            relayed.sent_bytes += len(data)
            client.write(_chunk(data) if chunked else data)
            await client.drain(self._timeouts.idle_s)
        if chunked:
            client.write(b"0\r\n\r\n")
            await client.drain(self._timeouts.idle_s)
        return relayed

    def _frame(self, connection: Connection, lines: list[bytes]) -> bool:
        """Add framing and connection lines; True where the body goes out in chunks."""
        client, relayed = self._client, self.relayed
        chunked = False
        if connection.length is not None and connection.status != 204:
            lines.append(b"Content-Length: %d" % connection.length)
        elif connection.has_body:
            if connection.complete:
                # All of it is here already, so its length is known after all.
                lines.append(b"Content-Length: %d" % connection.buffered_bytes)
            elif client.http10:
                relayed.keep_alive = False
            else:
                chunked = True
                lines.append(b"Transfer-Encoding: chunked")
        if not relayed.keep_alive:
            lines.append(b"Connection: close")
        elif client.http10:
            lines.append(b"Connection: keep-alive")
        return chunked

    async def _tunnelled(self, connection: Connection, lines: list[bytes]) -> Relayed:
        lines += [b"Connection: Upgrade", b"Upgrade: websocket"]
        self._client.write(_reply_head(connection, lines))
        self.relayed.status = 101
        self.relayed.keep_alive = False
        self.relayed.tunnelled = True
        await self._client.tunnel(connection)
        return self.relayed

    def close(self) -> None:
        """Let go of everything; the connection goes back only after an exchange that ended cleanly on both sides."""
        if self._pump is not None and not self._pump.done():
            self._pump.cancel()
        connection = self._connection
        if connection is not None:
            if self.relayed.tunnelled:
                connection.finish()
            else:
                connection.spoilt = connection.spoilt or not self._body_sent
                self._pool.give_back(connection)
            self._connection = None


def _reply_head(connection: Connection, lines: list[bytes]) -> bytes:
    reason = connection.reason or b"-"
    out = [b"HTTP/1.1 %d %b" % (connection.status, reason), *lines]
    head = b"\r\n".join(out) + b"\r\n\r\n"
    # The parser refuses these; a value of ours could still carry one, and then half a header would be another's reply.
    if head.count(b"\n") != len(out) + 1 or head.count(b"\r") != len(out) + 1 or b"\0" in head:
        raise UpstreamBadReply("a line break inside a header of the reply")
    return head


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _is_event_stream(headers: list[HeaderLine]) -> bool:
    return any(
        lower == b"content-type" and value.lower().startswith(b"text/event-stream") for lower, _, value in headers
    )
