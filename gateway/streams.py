"""Open streams (WebSockets and event streams) and how long they live.

A request is judged once; a stream that it opens may last for hours, and what was true at its beginning may not be true
any more. So it is followed: it ends when its session is signed out, at once; when its session has run out and nobody
renewed it; when the present route table would not let it in, asked again every `stream.revalidate`; and when it is as
old as `stream.max_age`. Descope is asked nothing for it. One look through all of them serves all, and neither that nor
their common end keeps the event loop for longer than a few dozen of them take.
"""

import asyncio
import heapq
from collections import deque
from dataclasses import replace

from gateway.chains import Chain
from gateway.clock import Clock
from gateway.core.model import Admit, Kept, Reason, Refuse, RequestFacts
from gateway.endings import Ending, EventsEnding, SocketEnding
from gateway.gate import Gate
from gateway.telemetry import Metrics, log

LOOKED_S = 0.25
MAX_AGE = "max_age"
CLOSED = "closed"
_AT_ONCE = 50
_SPREAD = 0.618  # of a turn from one stream to the next: the multiples of the golden section lie apart
_MOST_DEAD = 1_000


class Stream:
    """One open stream. socket, events: which of both it is. reason: why it is ended, "" where we do not end it."""

    __slots__ = ("_streams", "admit", "chain", "ending", "events", "facts", "kind", "opened_s", "reason", "socket")

    def __init__(self, streams: "Streams", kind: str, facts: RequestFacts, admit: Admit, opened_s: float) -> None:
        self._streams: Streams | None = streams
        self.kind = kind
        self.facts = facts
        self.admit = admit
        self.opened_s = opened_s
        self.chain: Chain | None = None
        self.reason = ""
        self.socket = SocketEnding() if kind == "websocket" else None
        self.events = EventsEnding() if kind != "websocket" else None
        self.ending: Ending | None = self.socket or self.events

    @property
    def is_open(self) -> bool:
        return self._streams is not None

    def close(self) -> None:
        """It has ended, whoever ended it; may be called again."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams.closed(self)


class Streams:
    """All streams that are open. `keep_watch` runs as long as the gateway. gate: by whose table they are judged."""

    def __init__(self, gate: Gate, metrics: Metrics, clock: Clock) -> None:
        self.gate = gate
        self._metrics = metrics
        self._clock = clock
        self._open: set[Stream] = set()
        # (when to look, a number that decides ties, which); streams that have closed meanwhile lie in it still.
        self._due: list[tuple[float, int, Stream]] = []
        self._number = 0
        self._to_end: deque[tuple[Stream, str]] = deque()
        self._is_stopping = False

    def __len__(self) -> int:
        return len(self._open)

    # --- for the door -----------------------------------------------------------------------------------------------

    def open(self, kind: str, facts: RequestFacts, admit: Admit) -> Stream:
        """A stream begins. kind: "websocket" or "sse". It has to be closed, however it ends."""
        chain = self.gate.follow(facts, admit)
        # No header is asked for again, and a cookie or a query need not stay in memory for hours.
        slim = replace(facts, target=replace(facts.target, query=None), headers=(), named={}, kept=Kept())
        stream = Stream(self, kind, slim, replace(admit, token="", set_cookies=None), self._clock.mono_s())
        stream.chain = chain
        self._open.add(stream)
        self._metrics.open_streams.labels(kind).inc()
        if chain is not None:
            chain.on_over = lambda: self._session_over(stream)
        if self._is_stopping:
            self._end(stream, Reason.STOPPING)
        elif chain is not None and chain.over is not None:
            self._end(stream, chain.over)
        rules = admit.match.route.stream
        self._number += 1
        # Those that came together are not looked at together.
        share = 0.5 + self._number * _SPREAD % 0.5
        self._look_again(stream, rules.revalidate_s * share, rules.max_age_s, rules.after_expiry_s)
        return stream

    def closed(self, stream: Stream) -> None:
        """For `Stream.close` alone."""
        self._open.discard(stream)
        self._metrics.open_streams.labels(stream.kind).dec()
        self._metrics.streams_ended.labels(stream.kind, stream.reason or CLOSED).inc()
        chain, stream.chain = stream.chain, None
        if chain is not None:
            self.gate.leave(chain)
        if stream.ending is not None:
            stream.ending.close()
        if len(self._due) > 2 * len(self._open) + _MOST_DEAD:
            self._due = [entry for entry in self._due if entry[2].is_open]
            heapq.heapify(self._due)

    def stop(self) -> None:
        """The gateway stops: every stream is told, and those that begin from now on as well."""
        self._is_stopping = True
        for stream in self._open:
            self._end_soon(stream, Reason.STOPPING)

    # --- their ends -------------------------------------------------------------------------------------------------

    async def keep_watch(self) -> None:
        """Look after all of them, for ever."""
        while True:
            pause_s = 0.0 if self._look() else LOOKED_S
            await asyncio.sleep(pause_s)

    def _look(self) -> bool:
        """Judge the streams that are due, some of them; True where there are more."""
        now_s = self._clock.mono_s()
        for _ in range(_AT_ONCE):
            if not self._due or self._due[0][0] > now_s:
                return False
            stream = heapq.heappop(self._due)[2]
            if stream.is_open and not stream.reason:
                self._judge(stream, now_s)
        return True

    def _judge(self, stream: Stream, now_s: float) -> None:
        try:
            self._judged(stream, now_s)
        except Exception as err:  # noqa: BLE001  # a bug of ours ends this stream, and not the watch over all others
            log.error("internal error", route=stream.admit.match.route.id, fault=type(err).__name__)
            self._end(stream, Reason.INTERNAL_ERROR)

    def _judged(self, stream: Stream, now_s: float) -> None:
        chain = stream.chain
        decision = self.gate.judge_again(stream.facts, chain.identity if chain is not None else None, stream.admit)
        if isinstance(decision, Refuse):
            self._end(stream, decision.reason)
            return
        rules = decision.match.route.stream
        if now_s - stream.opened_s >= rules.max_age_s:
            self._end(stream, MAX_AGE)
        elif chain is not None and self._clock.now_s() >= chain.identity.expires_at_s + rules.after_expiry_s:
            self._end(stream, Reason.TOKEN_EXPIRED)
        else:
            self._look_again(stream, rules.revalidate_s, rules.max_age_s, rules.after_expiry_s)

    def _look_again(self, stream: Stream, revalidate_s: float, max_age_s: float, after_expiry_s: float) -> None:
        """In `revalidate_s`, or as soon as it will be over for another reason."""
        now_s = self._clock.mono_s()
        due_s = min(now_s + revalidate_s, stream.opened_s + max_age_s)
        if stream.chain is not None:
            left_s = stream.chain.identity.expires_at_s + after_expiry_s - self._clock.now_s()
            due_s = min(due_s, now_s + max(left_s, 0.0))
        self._number += 1
        heapq.heappush(self._due, (due_s, self._number, stream))

    def _session_over(self, stream: Stream) -> None:
        if stream.chain is not None and stream.chain.over is not None:
            self._end_soon(stream, stream.chain.over)

    def _end_soon(self, stream: Stream, reason: str) -> None:
        if not self._to_end:
            asyncio.get_running_loop().call_soon(self._end_some)
        self._to_end.append((stream, reason))

    def _end_some(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._to_end))):
            self._end(*self._to_end.popleft())
        if self._to_end:
            asyncio.get_running_loop().call_soon(self._end_some)

    def _end(self, stream: Stream, reason: str) -> None:
        if stream.is_open and not stream.reason and stream.ending is not None:
            stream.reason = str(reason)
            stream.ending.end(stream.reason, going_away=reason == Reason.STOPPING)
