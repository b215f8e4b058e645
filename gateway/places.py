"""The targets of one upstream as they are now: who is in, who is out and why, told to the log.

What follows from a failure or a success is decided by `core.balance`; here it meets the clock, a timer and the idle
connections, which end when their target goes out.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.clock import Clock
from gateway.core.balance import Balance, Member
from gateway.core.model import ServiceTarget, Upstream
from gateway.telemetry import log


class Place(Member):
    """One target with its idle connections, the one idle for longest first."""

    __slots__ = ("idle",)

    def __init__(self, target: ServiceTarget) -> None:
        super().__init__(target)
        self.idle: dict[Any, None] = {}  # of the pool's own kind of connection

    def end_idle(self) -> None:
        for connection in tuple(self.idle):
            connection.abort()


class Places:
    """changed: called when who serves has changed, so that those who wait are looked after."""

    def __init__(self, upstream: Upstream, clock: Clock, changed: Callable[[], None]) -> None:
        self._name = upstream.name
        self._mono_s = clock.mono_s
        self._changed = changed
        self._returning: asyncio.TimerHandle | None = None
        self.balance = Balance([Place(target) for target in upstream.targets], upstream.eject)

    def failed(self, place: Place, why: str) -> None:
        """A request failed for the target's sake."""
        was_in = place.is_in
        if self.balance.failed(place, self._mono_s()):
            self._moved(place, was_in, why)
            self._wait_for_returns()

    def succeeded(self, place: Place) -> None:
        """The target answered a request."""
        if self.balance.succeeded(place, self._mono_s()):
            self._moved(place, False, "")

    def checked(self, place: Place, *, healthy: bool, why: str = "") -> None:
        """What the active checks make of a target from now on."""
        was_in = place.is_in
        self.balance.checked(place, healthy=healthy)
        self._moved(place, was_in, why)

    def _wait_for_returns(self) -> None:
        due_s = self.balance.next_return_s()
        if self._returning is None and due_s is not None:
            wait_s = max(due_s - self._mono_s(), 0.01)
            self._returning = asyncio.get_running_loop().call_later(wait_s, self._bring_back)

    def _bring_back(self) -> None:
        self._returning = None
        for place in self.balance.returned(self._mono_s()):
            self._moved(place, False, "")
        self._wait_for_returns()

    def _moved(self, place: Place, was_in: bool, why: str) -> None:
        if was_in and not place.is_in:
            left = sum(member.is_in for member in self.balance.members)
            log.warning("target out", upstream=self._name, target=place.target.name, cause=why, targets_in=left)
        elif not was_in and place.is_in:
            log.info("target back", upstream=self._name, target=place.target.name)
        for member in self.balance.members:
            if not member.serves:
                member.end_idle()
        self._changed()

    def close(self) -> None:
        if self._returning is not None:
            self._returning.cancel()
            self._returning = None
        for place in self.balance.members:
            place.end_idle()
