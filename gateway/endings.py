"""How an open stream is brought to an end on the wire, so that its client knows that it was ended and not cut.

What is under way (a frame, an event) may come to its end, for a moment; then a WebSocket gets a close frame and an
event stream a proper end of its reply. Both are told only what passes towards the client, and keep nothing of it.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.connection import Connection
from gateway.core.frames import GOING_AWAY, POLICY_VIOLATION, Events, Frames, close_frame

BOUNDARY_S = 2.0
FAREWELL_S = 1.0


class Ending(Protocol):
    """One stream's end. is_over: its upstream has said all that the client will hear."""

    is_over: bool

    def end(self, reason: str, *, going_away: bool) -> None:
        """End the stream as soon as that cuts nothing in two, and in any case soon."""

    def close(self) -> None:
        """The stream has ended, however; let go of everything."""


class _Timed:
    """What both have: a moment to wait, and then an end that does not wait."""

    def __init__(self) -> None:
        self.is_over = False
        self._reason = ""
        self._going_away = False
        self._timer: asyncio.TimerHandle | None = None

    def _within(self, seconds: float, then: Callable[[], None]) -> None:
        self._cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class SocketEnding(_Timed):
    """Ends a WebSocket: the frame under way, our close frame, the connection."""

    def __init__(self) -> None:
        super().__init__()
        self._frames = Frames()
        self._client: asyncio.Transport | None = None
        self._connection: Connection | None = None
        self._done: Callable[[], None] | None = None

    def begin(self, client: asyncio.Transport, connection: Connection, done: Callable[[], None]) -> None:
        """The tunnel stands. done: to be called when the client has had the time to hear of the end."""
        self._client, self._connection, self._done = client, connection, done
        if self._reason:
            self.end(self._reason, going_away=self._going_away)

    def passing(self, data: bytes) -> bytes:
        """What of `data`, which comes from the upstream, goes on to the client."""
        if not self._reason:
            self._frames.feed(data)
            return data
        if self.is_over:
            return b""
        boundary = self._frames.feed_to_boundary(data)
        if boundary is None:
            return data
        return data[:boundary] + self._farewell()

    @property
    def hears_client(self) -> bool:
        """Whether the upstream may still be told what the client says: not once its caller may say nothing more."""
        return not self.is_over and (not self._reason or self._going_away)

    def end(self, reason: str, *, going_away: bool) -> None:
        self._reason, self._going_away = reason, going_away
        if self._client is None:
            return  # `begin` will see to it
        if not self._frames.is_between:
            self._within(BOUNDARY_S, self._cut)
            return
        farewell = self._farewell()
        if farewell and not self._client.is_closing():
            self._client.write(farewell)

    def _farewell(self) -> bytes:
        """The close frame, none where the upstream has sent one; what has to be done after it is set going."""
        self.is_over = True
        asyncio.get_running_loop().call_soon(self._linger)
        if self._frames.closing:
            return b""
        return close_frame(GOING_AWAY if self._going_away else POLICY_VIOLATION, self._reason)

    def _linger(self) -> None:
        """Say no more and listen no more, but let the client close: a reset could overtake the close frame."""
        client = self._client
        if client is None:
            return
        if self._connection is not None:
            self._connection.finish()
        if client.is_closing():
            self._end()
            return
        client.resume_reading()
        if client.can_write_eof():
            client.write_eof()
        self._within(FAREWELL_S, self._end)

    def _cut(self) -> None:
        """The frame under way did not end in time, so no close frame has a place."""
        self.is_over = True
        self._end()

    def _end(self) -> None:
        self._cancel()
        client, done = self._client, self._done
        # Whoever has not taken what was written by now does not read.
        if client is not None and client.get_write_buffer_size():
            client.abort()
        if done is not None:
            done()

    def close(self) -> None:
        self._cancel()
        self._client = self._connection = self._done = None


class EventsEnding(_Timed):
    """Ends an event stream: the event under way, the end of the reply, the connection."""

    def __init__(self) -> None:
        super().__init__()
        self._events = Events()
        self._connection: Connection | None = None
        self._abort: Callable[[], None] | None = None

    def begin(self, connection: Connection, abort: Callable[[], None]) -> None:
        """The reply's head is written. abort: ends the client's connection at once."""
        self._connection, self._abort = connection, abort
        if self._reason:
            self.end(self._reason, going_away=self._going_away)

    def passing(self, data: bytes) -> bytes:
        """What of `data` goes on to the client; b"" once that was the last."""
        if self.is_over:
            return b""
        if not self._reason:
            self._events.feed(data)
            return data
        boundary = self._events.feed_to_boundary(data)
        if boundary is None:
            return data
        self._cut()
        return data[:boundary]

    def end(self, reason: str, *, going_away: bool) -> None:
        self._reason, self._going_away = reason, going_away
        if self._connection is None:
            return  # `begin` will see to it
        if self._events.is_between:
            self._cut()
        else:
            self._within(BOUNDARY_S, self._cut)

    def _cut(self) -> None:
        """Nothing more of the upstream's; a client that does not even take what there is loses its connection."""
        self.is_over = True
        if self._connection is not None:
            self._connection.cut()
        if self._abort is not None:
            self._within(FAREWELL_S, self._abort)

    def close(self) -> None:
        self._cancel()
        self._connection = self._abort = None
