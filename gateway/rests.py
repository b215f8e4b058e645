"""When Descope asks to be left alone, everybody leaves that operation alone until then.

An operation is open, resting, or being probed. A 429 puts it to rest for as long as Descope named, else, and after
silence or an error, for a back-off of ours that doubles. While it rests, asking fails at once with what remains of the
wait. Afterwards one asker probes and the others wait for what it learns, so that the end of a rest is no stampede.
A bounded number of calls is under way at once, and whoever waited for a place looks again before it calls.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from gateway import changes
from gateway.changes import Change, Tell
from gateway.clock import Clock
from gateway.core.errors import IdentityProviderBusy, IdentityProviderError

T = TypeVar("T")

_FIRST_BACK_OFF_S = 1.0
_LONGEST_BACK_OFF_S = 60.0
_QUEUE_S = 5.0  # for a place; with the call's own deadline nobody waits longer than ten seconds


@dataclass(slots=True)
class _Operation:
    until_s: float = 0.0
    busy: bool = False
    failures: int = 0
    probe: asyncio.Future[None] | None = None
    busy_about: bytes = b""  # the one address that a pause was asked for, as a digest
    busy_about_until_s: float = 0.0
    places: dict[str, asyncio.Semaphore] = field(default_factory=dict)


class Rests:
    """The rests of all operations; `observe(operation, seconds)` is told when one begins (and, with 0, ends)."""

    def __init__(
        self, clock: Clock, observe: Callable[[str, float], None], places: int = 16, tell: Tell = changes.nobody
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._observe = observe
        self._places = places
        self._operations: dict[str, _Operation] = {}

    def remaining_s(self, operation: str) -> float:
        """Seconds that `operation` still rests; 0 when it may be asked."""
        known = self._operations.get(operation)
        return max(known.until_s - self._clock.mono_s(), 0.0) if known else 0.0

    def resting(self) -> list[tuple[str, float, str]]:
        """Operations that rest now, the seconds left, and why: Descope is busy, or gives no answer."""
        found = [(name, self.remaining_s(name), one.busy) for name, one in self._operations.items()]
        return [(name, left_s, "busy" if busy else "no answer") for name, left_s, busy in found if left_s]

    def adopt(self, operation: str, until_s: float, *, busy: bool) -> None:
        """Somebody else was told to wait until `until_s` of the monotonic clock."""
        state = self._operations.setdefault(operation, _Operation())
        if until_s > max(state.until_s, self._clock.mono_s()):
            state.until_s, state.busy, state.failures = until_s, busy, max(state.failures, 1)
            self._told(operation, state)

    def changes(self) -> Iterator[Change]:
        """All rests, as they would be told."""
        for name, one in self._operations.items():
            if one.until_s > self._clock.mono_s():
                yield changes.rest(name, one.until_s, busy=one.busy)

    async def ask(self, operation: str, call: Callable[[], Awaitable[T]], share: str = "", *, about: str = "") -> T:
        """Call Descope when `operation` may be asked, else raise what it was put to rest by.

        share: askers of one share wait for each other's places only, so that a flood in one cannot starve another.
        about: the address that a message goes to. A pause asked for one address may be that address's alone: it is told
        to whoever asked, and the operation goes to rest when a second address is told the same meanwhile.
        """
        state = self._operations.setdefault(operation, _Operation())
        places = state.places.setdefault(share, asyncio.Semaphore(self._places))
        try:
            async with asyncio.timeout(_QUEUE_S):
                await places.acquire()
        except TimeoutError as err:
            raise IdentityProviderError(f"{operation}: too many wait for Descope", _FIRST_BACK_OFF_S) from err
        try:
            while state.failures and not self._raise_if_resting(operation, state) and state.probe is not None:
                await asyncio.shield(state.probe)
            return await self._call(operation, state, call, about)
        finally:
            places.release()

    async def _call(self, operation: str, state: _Operation, call: Callable[[], Awaitable[T]], about: str) -> T:
        self._raise_if_resting(operation, state)
        probe = None
        if state.failures:
            probe = state.probe = asyncio.get_running_loop().create_future()
        try:
            answer = await call()
        except IdentityProviderError as fault:
            if about and isinstance(fault, IdentityProviderBusy) and self._is_one_address(state, about, fault):
                raise
            self._rest(operation, state, fault)
            raise self._fault(operation, state) from fault
        else:
            # A call from before the rest that comes back well says nothing about the rest.
            if state.failures and state.until_s <= self._clock.mono_s():
                state.failures, state.until_s = 0, 0.0
                self._observe(operation, 0.0)
            return answer
        finally:
            if probe is not None:
                state.probe = None
                probe.set_result(None)

    def _is_one_address(self, state: _Operation, about: str, fault: IdentityProviderBusy) -> bool:
        """Whether nobody but this address has been asked to wait."""
        now_s, digest = self._clock.mono_s(), sha256(about.encode("utf-8", "surrogatepass")).digest()
        is_one = state.busy_about in (b"", digest) or state.busy_about_until_s <= now_s
        state.busy_about, state.busy_about_until_s = digest, now_s + (fault.retry_after_s or _FIRST_BACK_OFF_S)
        return is_one and bool(fault.retry_after_s)

    def _raise_if_resting(self, operation: str, state: _Operation) -> bool:
        if state.until_s > self._clock.mono_s():
            raise self._fault(operation, state)
        return False

    def _fault(self, operation: str, state: _Operation) -> IdentityProviderError:
        remaining_s = max(state.until_s - self._clock.mono_s(), 0.0)
        if state.busy:
            return IdentityProviderBusy(f"{operation}: Descope asked to wait", remaining_s)
        return IdentityProviderError(f"{operation}: Descope gives no answer", remaining_s)

    def _rest(self, operation: str, state: _Operation, fault: IdentityProviderError) -> None:
        now_s = self._clock.mono_s()
        if state.until_s <= now_s:  # of calls that fail together only the first counts
            state.failures += 1
        wait_s = fault.retry_after_s or min(_FIRST_BACK_OFF_S * 2 ** min(state.failures - 1, 10), _LONGEST_BACK_OFF_S)
        state.busy = isinstance(fault, IdentityProviderBusy)
        state.until_s = max(state.until_s, now_s + wait_s)
        self._told(operation, state)

    def _told(self, operation: str, state: _Operation) -> None:
        self._observe(operation, state.until_s - self._clock.mono_s())
        self._tell(changes.rest(operation, state.until_s, busy=state.busy))
