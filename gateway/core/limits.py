"""Rate arithmetic: the generic cell rate algorithm (ITU-T I.371) in whole nanoseconds, and a bounded table.

One integer is kept for each caller of a limit: the moment at which its allowance is full again. Integers, because a
wait computed in floats told callers to come back a little too early. The table never grows past its size: full
allowances are forgotten first, for they say nothing; when every entry still says something, newcomers share one entry,
so that a flood of addresses can neither exhaust memory nor buy itself fresh allowances.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from gateway.core.model import Limit, Rate, noun

NS_PER_S = 1_000_000_000
_SWEPT_AT_ONCE = 8


def take(due_ns: int, now_ns: int, rate: Rate) -> tuple[int, int]:
    """Spend one request of an allowance.

    due_ns: when the allowance is full again, on the clock of now_ns; 0 for a new one.

    Returns (due_ns afterwards, wait in ns). A wait of 0 means that the request was spent; otherwise nothing was, and
    whoever returns after exactly that wait gets through.
    """
    due_ns = max(due_ns, now_ns)
    wait_ns = due_ns - now_ns - (rate.burst - 1) * rate.every_ns
    if wait_ns > 0:
        return due_ns, wait_ns
    return due_ns + rate.every_ns, 0


def whole_seconds(wait_ns: int) -> int:
    """A wait for `Retry-After` (RFC 9110 section 10.2.3): rounded up, so that it is true."""
    return -(-wait_ns // NS_PER_S)


def remaining(due_ns: int, now_ns: int, rate: Rate) -> int:
    """How many requests would be let through at once now."""
    used = -(-max(due_ns - now_ns, 0) // rate.every_ns)
    return max(rate.burst - used, 0)


@noun
class Standing:
    """Where a caller stands with one limit after this request; wait_ns is 0 when it was let through."""

    limit: Limit
    wait_ns: int
    remaining: int
    full_in_ns: int


def ratelimit_lines(standings: Sequence[Standing]) -> tuple[tuple[bytes, bytes], ...]:
    """The `RateLimit` and `RateLimit-Policy` fields (IETF draft ratelimit-headers-10): structured lists.

    q: the burst; w: seconds in which an empty allowance fills; r: requests left now; t: seconds until it is full.
    """
    policies = ", ".join(
        f'"{s.limit.name}";q={s.limit.rate.burst};w={whole_seconds(s.limit.rate.burst * s.limit.rate.every_ns)}'
        for s in standings
    )
    states = ", ".join(f'"{s.limit.name}";r={s.remaining};t={whole_seconds(s.full_in_ns)}' for s in standings)
    return (b"RateLimit-Policy", policies.encode("ascii")), (b"RateLimit", states.encode("ascii"))


def take_each(
    asked: Sequence[tuple[Limit, str]], before_ns: Sequence[int], now_ns: int
) -> tuple[tuple[Standing, ...], Sequence[int]]:
    """Spend one request of each limit, or none of any when one of them has to wait.

    before_ns: for each, when its allowance is full again.

    Returns where each stands, and when each is full again afterwards: nothing where nothing was spent.
    """
    taken_ns, waits_ns = [], []
    for (limit, _), due in zip(asked, before_ns, strict=True):
        taken, wait = take(due, now_ns, limit.rate)
        taken_ns.append(taken)
        waits_ns.append(wait)
    passed = not any(waits_ns)
    standings = []
    for (limit, _), wait, due in zip(asked, waits_ns, taken_ns if passed else before_ns, strict=True):
        standings.append(Standing(limit, wait, remaining(due, now_ns, limit.rate), max(due - now_ns, 0)))
    return tuple(standings), taken_ns if passed else ()


class AllowanceTable(Protocol):
    """What each caller of each limit has left, in a table that never grows past its size."""

    def take_all(self, asked: Sequence[tuple[Limit, str]], now_ns: int) -> tuple[Standing, ...]:
        """Spend one request of each (limit, caller), or none of any when one of them has to wait."""


class Allowances:
    """The bounded table of one process: at most `capacity` callers over all limits, about 200 bytes each."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._due_ns: OrderedDict[tuple[str, str], int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._due_ns)

    def take_all(self, asked: Sequence[tuple[Limit, str]], now_ns: int) -> tuple[Standing, ...]:
        """Spend one request of each (limit, caller), or none of any when one of them has to wait."""
        table = self._due_ns
        keys = [self._key(limit.name, caller, now_ns) for limit, caller in asked]
        standings, dues = take_each(asked, [table.get(key, 0) for key in keys], now_ns)
        for key, due in zip(keys, dues, strict=False):  # none where nothing was spent
            table[key] = due
            table.move_to_end(key)
        return standings

    def _key(self, limit: str, caller: str, now_ns: int) -> tuple[str, str]:
        key = (limit, caller)
        table = self._due_ns
        if key in table or len(table) < self._capacity:
            return key
        for _ in range(_SWEPT_AT_ONCE):
            oldest = next(iter(table))
            if table[oldest] > now_ns:
                table.move_to_end(oldest)
            else:
                del table[oldest]
        # Still full of callers that owe something: newcomers of this limit wait together.
        return key if len(table) < self._capacity else (limit, "")
