"""Connections to the targets of one upstream: bounded, waited for in order, kept for the next request.

The connection used last is taken first, so that the others may grow old and go. What a service closes meanwhile is
noticed at once; what it closes at the very moment of use is told apart (`connection.Stale`), so that a request may be
repeated. Every connection has a place among the few that its target may have, from before it is made until its socket
has closed. Who finds no place waits in a line that is bounded in length and time. What is given back goes to the first
in that line, and nobody overtakes.
"""

import asyncio
import math
from collections import OrderedDict
from dataclasses import replace

from gateway.clock import Clock
from gateway.connection import Connection, Stale
from gateway.core.balance import RetryBudget
from gateway.core.errors import GatewayError, UpstreamBusy, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from gateway.core.model import ConnectionRules, Upstream
from gateway.dial import Dial
from gateway.places import Place, Places

HOWEVER_RESTED_S = math.inf  # as long as the pool keeps connections at all
_LINGER_S = 5.0  # for what was written into a tunnel before its end


def shared_among(rules: ConnectionRules, workers: int) -> ConnectionRules:
    """One worker's part of the connections, and of the places to wait for one."""
    return replace(rules, most=max(rules.most // workers, 1), queue=rules.queue // workers)


class Pooled(Connection):
    """A connection that has a place in a pool."""

    __slots__ = ("_pool", "has_place", "is_taken", "place")

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: "Pool", place: Place) -> None:
        super().__init__(loop)
        self._pool = pool
        self.place = place
        self.has_place = False  # its maker's, until it stands
        self.is_taken = False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.has_place:
            self.has_place = False
            self._pool.lost(self)


class Pool:
    """The connections of one upstream. Used from one event loop only.

    repeats, repeats_refused: requests that were repeated, and that were not for want of budget.
    """

    def __init__(self, upstream: Upstream, clock: Clock, workers: int = 1) -> None:
        """workers: among how many processes the connections are shared; each may have at least one."""
        self.upstream = upstream
        self.repeats = 0
        self.repeats_refused = 0
        self.dial = Dial(upstream)
        self.places = Places(upstream, clock, self._wake)
        self._balance = self.places.balance
        self._rules = shared_among(upstream.connections, workers)
        self._keep_alive_s = upstream.connections.keep_alive_s
        self._mono_s = clock.mono_s
        self._taken = 0
        self._budget = RetryBudget(upstream.retry, self._mono_s())
        self._waiting: OrderedDict[asyncio.Future[Place | Pooled], float] = OrderedDict()  # and when each gives up
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """How many wait for a connection."""
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """Connections in use; those being made, and those that still close, included."""
        return sum(place.open - len(place.idle) for place in self._balance.members)

    @property
    def idle(self) -> int:
        return sum(len(place.idle) for place in self._balance.members)

    # --- take -------------------------------------------------------------------------------------------------------

    def take_at_once(self, rested_s: float, place: Place | None = None) -> Pooled | None:
        """A connection that is at hand, idle for less than `rested_s`; None where one has to be made or waited for.

        place: whose; of the target that is to get the next request where nothing is said.
        """
        if place is None:
            place = self._balance.least_pending()
        idle = place.idle
        while idle:
            connection: Pooled = idle.popitem()[0]
            idle_s = self._mono_s() - connection.idle_since_s
            if idle_s >= rested_s or idle_s >= self._keep_alive_s:
                idle[connection] = None  # left for another request, or for the sweep
                return None
            transport = connection.transport
            # A socket whose end has been read closes first; only then is the connection told that it is lost.
            if transport is not None and not transport.is_closing() and not connection.spoilt:
                place.busy += 1
                self._balance.turn = place.following
                self._taken += 1
                connection.is_taken = True
                return connection
            connection.abort()
        return None

    async def take(self, connect_s: float, *, rested_s: float = HOWEVER_RESTED_S) -> Pooled:
        """A connection for an exchange, waited for or made.

        Raises UpstreamBusy, UpstreamUnreachable or UpstreamTimeout.
        """
        connection = self.take_at_once(rested_s)
        if connection is not None:
            return connection
        self._wake()
        place = None if self._waiting else self._balance.with_room(self._rules.most)
        if place is not None:
            self._balance.occupy(place)
        else:
            given = self._at_hand_elsewhere(rested_s) or await self._turn()
            if isinstance(given, Pooled):
                return given
            place = given
        self._taken += 1
        try:
            return await self._made(place, connect_s)
        except (UpstreamUnreachable, UpstreamTimeout):
            # Nothing was sent, so any request may try another target.
            other = self._balance.with_room(self._rules.most, but=place)
            if other is None or not self.may_repeat():
                raise
        self._balance.occupy(other)
        self._taken += 1
        return await self._made(other, connect_s)

    def _at_hand_elsewhere(self, rested_s: float) -> Pooled | None:
        """An idle connection of a target that is not the best; none while others wait."""
        if not self._waiting:
            for place in self._balance.usable:
                connection = self.take_at_once(rested_s, place)
                if connection is not None:
                    return connection
        return None

    async def _made(self, place: Place, connect_s: float) -> Pooled:
        """A new connection on a place that is occupied for it."""
        loop = asyncio.get_running_loop()
        try:
            connection = await self.dial.connect(place.target, connect_s, lambda: Pooled(loop, self, place))
        except BaseException as err:
            place.busy -= 1
            place.open -= 1
            if isinstance(err, UpstreamError):
                self.places.failed(place, str(err))
            self._wake()
            raise
        connection.is_taken = True
        if connection.is_open:
            connection.has_place = True
        else:
            place.open -= 1  # closed again before anybody could look; the exchange will find out
            self._wake()
        return connection

    # --- wait in line -----------------------------------------------------------------------------------------------

    async def _turn(self) -> Place | Pooled:
        """Wait for a place or a connection; it comes occupied, or taken."""
        rules = self._rules
        # One that nobody may take any more still holds a place: its own end makes room, so nobody is turned away.
        if not self._make_room() and len(self._waiting) >= rules.queue:
            raise UpstreamBusy(f"upstream {self.upstream.name}: {len(self._waiting)} wait already", self._wait_s())
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[Place | Pooled] = loop.create_future()
        self._waiting[turn] = self._mono_s() + rules.wait_s
        timer = loop.call_later(rules.wait_s, self._waited_enough, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            self._waiting.pop(turn, None)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on(turn.result())
            raise
        finally:
            timer.cancel()

    def _waited_enough(self, turn: "asyncio.Future[Place | Pooled]") -> None:
        if not turn.done():
            del self._waiting[turn]
            waited = f"upstream {self.upstream.name}: no connection free in {self._rules.wait_s:g} s"
            turn.set_exception(UpstreamBusy(waited, self._wait_s()))

    def _wait_s(self) -> int:
        """Whole seconds after which the first of those who wait now has left the line, one way or the other."""
        first_s = next(iter(self._waiting.values()), None)
        left_s = self._rules.wait_s if first_s is None else first_s - self._mono_s()
        return max(math.ceil(left_s), 1)

    def _pass_on(self, given: Place | Pooled) -> None:
        """Who was given this has gone: it is the next one's."""
        if isinstance(given, Pooled):
            self.give_back(given)
            return
        given.busy -= 1
        given.open -= 1
        self._wake()

    def _make_room(self) -> bool:
        """End the idle connection that rested longest, where one has the place that somebody needs."""
        for place in self._balance.usable:
            if place.idle:
                oldest = next(iter(place.idle))
                del place.idle[oldest]
                oldest.abort()
                return True
        return False

    def _first(self) -> "asyncio.Future[Place | Pooled] | None":
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                return turn
        return None

    def _wake(self) -> None:
        """Give the places that are free to those who wait, first come, first served."""
        while self._waiting and (place := self._balance.with_room(self._rules.most)) is not None:
            turn = self._first()
            if turn is not None:
                self._balance.occupy(place)
                turn.set_result(place)

    # --- give back --------------------------------------------------------------------------------------------------

    def give_back(self, connection: Connection) -> None:
        """After every exchange, clean or not: keep the connection if it may serve another one."""
        if not isinstance(connection, Pooled) or not connection.is_taken:
            return
        place = connection.place
        connection.is_taken = False
        place.busy -= 1
        if place.failures and (connection.complete or connection.status == 101):
            self.places.succeeded(place)
        if connection.status == 101:
            self._let_end(connection)
        elif connection.end():
            if not place.serves or not self._keep_alive_s or self._is_closed:
                connection.abort()
                return
            turn = self._first() if self._waiting else None
            if turn is not None:
                place.busy += 1
                self._taken += 1
                connection.is_taken = True
                turn.set_result(connection)
                return
            connection.idle_since_s = self._mono_s()
            place.idle[connection] = None
            if self._sweep is None:
                self._sweep = asyncio.get_running_loop().call_later(self._keep_alive_s, self._end_the_old)

    @staticmethod
    def _let_end(connection: Pooled) -> None:
        """A tunnel is over: what was written may still go out, for a moment; then its place is free."""
        connection.finish()
        if connection.is_open:
            asyncio.get_running_loop().call_later(_LINGER_S, connection.abort)

    def lost(self, connection: Pooled) -> None:
        """The socket of a connection that stood has closed."""
        place = connection.place
        place.open -= 1
        place.idle.pop(connection, None)
        self._wake()

    def _end_the_old(self) -> None:
        """End what was idle for too long; looked through when the oldest may be due, not for each of them."""
        self._sweep = None
        now_s = self._mono_s()
        oldest_s = math.inf
        for place in self._balance.members:
            while place.idle:
                oldest = next(iter(place.idle))
                if now_s - oldest.idle_since_s < self._keep_alive_s:
                    oldest_s = min(oldest_s, oldest.idle_since_s)
                    break
                del place.idle[oldest]
                oldest.abort()
        if oldest_s < math.inf:
            due_s = max(oldest_s + self._keep_alive_s - now_s, 0.01)
            self._sweep = asyncio.get_running_loop().call_later(due_s, self._end_the_old)

    # --- how exchanges went -----------------------------------------------------------------------------------------

    def failed(self, connection: Connection, fault: UpstreamError) -> None:
        """An exchange on `connection` failed. What a client spoilt, and a reused connection's end, are not counted."""
        cause = fault.__cause__
        if not isinstance(connection, Pooled) or (
            isinstance(cause, GatewayError) and not isinstance(cause, UpstreamError)
        ):
            return
        if connection.uses > 1 and (isinstance(fault, Stale) or isinstance(cause, Stale)):
            return
        self.places.failed(connection.place, str(fault))

    def may_repeat(self) -> bool:
        """Whether one more request may be repeated; spends of the budget."""
        if self._budget.spend(self._taken - self.repeats, self._mono_s()):
            self.repeats += 1
            return True
        self.repeats_refused += 1
        return False

    def close(self) -> None:
        """End what is idle; what is in use ends with its exchange."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self.places.close()
