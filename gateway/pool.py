"""Connections to upstreams, kept for the next request.

The one used last is taken first, so that the others may grow old and go. What a service closes meanwhile is noticed at
once; what it closes at the very moment of use is told apart (`connection.Stale`), so that a request may be repeated.
"""

import asyncio
import ssl
from collections import deque

from gateway.clock import Clock
from gateway.connection import Connection
from gateway.core.errors import UpstreamTimeout, UpstreamUnreachable
from gateway.core.model import Upstream

IDLE_S = 15.0
MOST_IDLE = 256


class Pool:
    """The connections of one upstream."""

    def __init__(self, upstream: Upstream, clock: Clock) -> None:
        self._upstream = upstream
        self._clock = clock
        self._idle: deque[Connection] = deque()
        self._tls = ssl.create_default_context() if upstream.tls else None

    async def take(self, connect_s: float, *, rested_s: float = IDLE_S) -> Connection:
        """A connection for an exchange, at most `rested_s` idle; raises UpstreamUnreachable or UpstreamTimeout."""
        return self.take_at_once(rested_s) or await self._connect(connect_s)

    def take_at_once(self, rested_s: float) -> Connection | None:
        """A connection that is at hand; None where one has to be made."""
        now_s = self._clock.mono_s()
        while self._idle:
            connection = self._idle[-1]
            idle_s = now_s - connection.idle_since_s
            if idle_s >= rested_s and idle_s < IDLE_S:
                break  # good enough for a request that may be repeated
            self._idle.pop()
            if connection.is_open and not connection.spoilt and idle_s < IDLE_S:
                return connection
            connection.abort()
        return None

    def give_back(self, connection: Connection) -> None:
        """After an exchange: keep the connection if it may serve another one."""
        if connection.end():
            now_s = self._clock.mono_s()
            connection.idle_since_s = now_s
            self._idle.append(connection)
            while len(self._idle) > MOST_IDLE or now_s - self._idle[0].idle_since_s >= IDLE_S:
                self._idle.popleft().abort()

    async def _connect(self, connect_s: float) -> Connection:
        loop = asyncio.get_running_loop()
        upstream = self._upstream
        try:
            async with asyncio.timeout(connect_s):
                if upstream.socket_path:
                    _, connection = await loop.create_unix_connection(lambda: Connection(loop), upstream.socket_path)
                else:
                    _, connection = await loop.create_connection(
                        lambda: Connection(loop),
                        upstream.address,
                        upstream.port,
                        ssl=self._tls,
                        server_hostname=upstream.address if self._tls is not None else None,
                    )
        except TimeoutError as err:
            raise UpstreamTimeout(f"upstream {upstream.name}: no connection in {connect_s:g} s") from err
        except OSError as err:
            raise UpstreamUnreachable(
                f"upstream {upstream.name}: no connection: {err.strerror or type(err).__name__}"
            ) from err
        return connection

    def close(self) -> None:
        while self._idle:
            self._idle.pop().abort()
