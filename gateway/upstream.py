"""Streams one admitted request out and its reply back. Takes an `Admit` and nothing less.

The client's side is told through `ClientSide`, so that nothing here knows who reads the client's socket. Once a reply
has begun, a broken upstream ends the client's connection, so that nobody takes half for whole.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Sequence

from gateway.bodies import RequestBody
from gateway.clientside import BodyTooLarge, BrokenOff, ClientSide, Relayed
from gateway.clock import Clock
from gateway.connection import Connection, Stale
from gateway.core.errors import UpstreamBadReply, UpstreamError, UpstreamTimeout
from gateway.core.headers import Lines
from gateway.core.model import Admit, Timeouts, Upstream
from gateway.deadlines import Deadlines
from gateway.heads import chunk, reply_head, request_head
from gateway.health import Checks
from gateway.outbox import Outbox
from gateway.pool import HOWEVER_RESTED_S, Pool
from gateway.tasks import Tasks

_RESTED_S = 1.0  # a request that may not be repeated takes no connection that the service may be about to close
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class Upstreams:
    """The pools of all upstreams of a route table, and the exchanges that wait for a reply without a task."""

    def __init__(self, clock: Clock, tasks: Tasks, workers: int = 1) -> None:
        """workers: how many processes have pools like these; what an upstream may have at most is shared among them."""
        self._clock = clock
        self._workers = workers
        self.tasks = tasks
        self.deadlines = Deadlines()
        self.outbox = Outbox()
        self._pools: dict[Upstream, Pool] = {}
        self._checks: dict[Upstream, Sequence[asyncio.Task[None]]] = {}

    def exchange(
        self,
        admit: Admit,
        pool: Pool,
        client: ClientSide,
        *,
        method: str,
        path: str,
        lines: Lines,
        is_upgrade: bool = False,
    ) -> "Exchange":
        """An exchange that has not begun. path: the request target to send. lines: without framing."""
        head = request_head(method, path, lines, client, is_upgrade=is_upgrade)
        return Exchange(self, admit, pool, client, method=method, request=head, is_upgrade=is_upgrade)

    def serve(self, upstreams: Iterable[Upstream]) -> tuple[Pool, ...]:
        """Have pools for these and no others, in their order, and check their health from now on.

        One that was here before and has not changed keeps its connections; the others end with their last exchange.
        """
        before, self._pools = self._pools, {}
        for upstream in upstreams:
            kept = before.pop(upstream, None)
            self._pools[upstream] = kept or self._begun(upstream)
        for upstream, pool in before.items():
            for check in self._checks.pop(upstream, ()):
                check.cancel()
            pool.close()
        return tuple(self._pools.values())

    def _begun(self, upstream: Upstream) -> Pool:
        pool = Pool(upstream, self._clock, self._workers)
        if upstream.health is not None:
            self._checks[upstream] = Checks(pool, upstream.health).start(self.tasks)
        return pool

    def pool(self, upstream: Upstream) -> Pool:
        pool = self._pools.get(upstream)
        if pool is None:
            # A request that was judged by a table of before: nothing of its pool is kept.
            pool = Pool(upstream, self._clock, self._workers)
            pool.close()
        return pool

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()


class Exchange:
    """One request and its reply on one connection: `run`, or `start_at_once` and then `relay` or `finish`."""

    __slots__ = (
        "_admit",
        "_body",
        "_client",
        "_connection",
        "_is_upgrade",
        "_method",
        "_pool",
        "_request",
        "_upstreams",
        "relayed",
        "started_s",
    )

    def __init__(
        self,
        upstreams: Upstreams,
        admit: Admit,
        pool: Pool,
        client: ClientSide,
        *,
        method: str,
        request: bytes,
        is_upgrade: bool,
    ) -> None:
        """request: the head to send, all of it."""
        self._upstreams = upstreams
        self._pool = pool
        self._admit = admit
        self._method = method
        self._client = client
        self._request = request
        self._is_upgrade = is_upgrade
        self._connection: Connection | None = None
        self.started_s = time.perf_counter()
        self.relayed = Relayed()
        self._body = self._request_body() if client.has_body else None

    def _request_body(self) -> RequestBody:
        route = self._admit.match.route
        return RequestBody(
            self._client, route.max_body_bytes, route.timeouts.idle_s, self._upstreams.tasks, self.relayed
        )

    @property
    def _timeouts(self) -> Timeouts:
        return self._admit.match.route.timeouts

    # --- without a task: the request out at once, the reply when it is whole ----------------------------------------

    def start_at_once(self) -> bool:
        """Send a request without a body, where a connection is at hand; False, and nothing done, where none is.

        The client is told once, when the reply has begun to come or never will (`replied`); then comes `relay` or
        `finish`.
        """
        connection = self._pool.take_at_once(HOWEVER_RESTED_S if self._method in IDEMPOTENT else _RESTED_S)
        if connection is None:
            return False
        self._connection = connection
        connection.begin(head_only=self._method == "HEAD", upgrade=False)
        connection.on_reply = self._replied
        self._upstreams.deadlines.add(self, self._timeouts.response_s)
        try:
            connection.send(self._request, self._upstreams.outbox)
        except UpstreamError as err:
            connection.fail(err)  # as if it had been found out a moment later: `finish` will meet it
        return True

    def _replied(self) -> None:
        connection = self._connection
        if connection is None or not (connection.head_complete or connection.error is not None):
            return  # half a head
        connection.on_reply = None
        self._upstreams.deadlines.remove(self)
        self._client.replied()

    def overdue(self) -> None:
        if self._connection is not None:
            self._connection.fail(UpstreamTimeout("no reply in time"))

    @property
    def is_whole(self) -> bool:
        """Whether all of the reply has come, so that `relay` may write it."""
        connection = self._connection
        return connection is not None and connection.complete and connection.error is None

    def relay(self) -> Relayed:
        """Write a whole reply to the client and be done; raises ConnectionError once the client has gone."""
        connection, relayed = self._connection, self.relayed
        assert connection is not None  # noqa: S101  # for the type checker: `is_whole` has been asked
        head, chunked = self._reply(connection, ())
        body = connection.taken()
        relayed.status, relayed.sent_bytes = connection.status, len(body)
        self._client.send(head + (chunk(body) + b"0\r\n\r\n" if chunked else body))
        return relayed

    async def finish(self) -> Relayed:
        """What `start_at_once` began, to its end; raises as `run`."""
        return await self._through(self._resume())

    # --- with a task ------------------------------------------------------------------------------------------------

    async def run(self) -> Relayed:
        """Send the request, stream the reply; raises UpstreamError, BodyTooLarge or BodyBroken before a reply began.

        Afterwards BrokenOff.
        """
        return await self._through(self._send())

    async def _through(self, sending: Coroutine[None, None, None]) -> Relayed:
        try:
            await sending
            return await self._receive()
        except UpstreamError as err:
            if self._connection is not None:
                self._pool.failed(self._connection, err)
            if self.relayed.status:
                raise BrokenOff(self.relayed, err) from err
            raise
        finally:
            self.close()

    @property
    def _may_repeat(self) -> bool:
        return self._method in IDEMPOTENT and not self._client.has_body and not self._is_upgrade

    async def _send(self) -> None:
        """Connect, write the head, and wait for the reply's head while the body goes out."""
        length, limit = self._client.body_length, self._admit.match.route.max_body_bytes
        if self._client.has_body and length is not None and length > limit:
            raise BodyTooLarge(f"the body has {length} bytes, the route allows {limit}")
        await self._or_again(self._try(HOWEVER_RESTED_S if self._may_repeat else _RESTED_S))

    async def _resume(self) -> None:
        assert self._connection is not None  # noqa: S101  # for the type checker: `start_at_once` has been called
        await self._or_again(self._connection.head(self._timeouts.response_s))

    async def _or_again(self, attempt: Coroutine[None, None, None]) -> None:
        """Once more on another connection, where the one we had was closed under our hands and nothing is risked."""
        try:
            await attempt
        except Stale as err:
            connection = self._connection
            if not self._may_repeat or connection is None or connection.uses < 2 or not self._pool.may_repeat():
                raise UpstreamBadReply("the upstream closed the connection without a reply") from err
            self._connection = None
            self._pool.give_back(connection)
            await self._try(rested_s=0.0)

    async def _try(self, rested_s: float) -> None:
        connection = self._connection = await self._pool.take(self._timeouts.connect_s, rested_s=rested_s)
        connection.begin(head_only=self._method == "HEAD", upgrade=self._is_upgrade)
        try:
            connection.write(self._request)
            if self._body is not None:
                self._client.ask_for_body()
                await self._body.send(connection)
            await connection.head(self._timeouts.response_s)
        except Stale as err:
            if rested_s == 0.0:
                raise UpstreamBadReply("the upstream closed the connection without a reply") from err
            raise

    async def _receive(self) -> Relayed:
        """Write the reply to the client as it comes."""
        connection, client, relayed = self._connection, self._client, self.relayed
        assert connection is not None  # noqa: S101  # for the type checker: `_send` has returned
        if relayed.status:
            await client.drain(self._timeouts.idle_s)  # `relay` has written it all
            return relayed
        cookies = await self._admit.set_cookies.settled() if self._admit.set_cookies is not None else ()
        if connection.status == 101:
            return await self._tunnelled(connection, client.reply_lines(connection, cookies))
        head, chunked = self._reply(connection, cookies)
        relayed.status = connection.status
        if connection.complete:
            body = connection.taken()
            relayed.sent_bytes = len(body)
            client.write(head + (chunk(body) + b"0\r\n\r\n" if chunked else body))
            await client.drain(self._timeouts.idle_s)
            return relayed
        client.write(head)
        events = client.events
        if events is not None:
            events.begin(connection, client.abort)
        idle_s = self._timeouts.idle_s if events is None else None
        while data := await connection.body(idle_s):
            if events is not None and not (data := events.passing(data)):
                break
            relayed.sent_bytes += len(data)
            client.write(chunk(data) if chunked else data)
            await client.drain(self._timeouts.idle_s)
        if chunked:
            client.write(b"0\r\n\r\n")
            await client.drain(self._timeouts.idle_s)
        if events is not None and events.is_over:
            relayed.keep_alive = False  # and what a promised length lacks is seen to be missing
        return relayed

    def _reply(self, connection: Connection, cookies: tuple[bytes, ...]) -> tuple[bytes, bool]:
        """The reply's head as it goes out, and whether its body goes out in chunks."""
        lines = self._client.reply_lines(connection, cookies)
        self.relayed.keep_alive = self._client.keep_alive and (self._body is None or self._body.is_sent)
        chunked = self._frame(connection, lines)
        return reply_head(connection, lines), chunked

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
        self._client.write(reply_head(connection, lines))
        self.relayed.status = 101
        self.relayed.keep_alive = False
        await self._client.tunnel(connection, self._upstreams.tasks)
        return self.relayed

    def close(self) -> None:
        """Let go of everything; the connection goes back only after an exchange that ended cleanly on both sides."""
        if self._body is not None:
            self._body.stop()
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        self.relayed.upstream_s = time.perf_counter() - self.started_s
        if connection.on_reply is not None:
            connection.on_reply = None
            self._upstreams.deadlines.remove(self)
        if self._body is not None and not self._body.is_sent:
            connection.spoilt = True
        self._pool.give_back(connection)
