"""What was decided on requests that were refused or failed, the last few hundred of them, in memory.

Admitted requests are not here. A record has what the request log has: no token, no cookie, no query.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from itertools import chain
from operator import attrgetter
from typing import Any

from gateway.clock import Clock
from gateway.telemetry import Record

MOST = 500


@dataclass(frozen=True, slots=True)
class Decided:
    """One request that was not admitted, or came to nothing. time: UTC."""

    time: str
    request_id: str
    outcome: str
    reason: str
    status: int
    route: str
    method: str
    host: str
    path: str
    client: str
    subject: str
    upstream: str
    trace_id: str


class Decisions:
    """The newest of them; older ones are forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._decided: deque[tuple[float, Record]] = deque(maxlen=MOST)

    def note(self, record: Record) -> None:
        """Remember a request that is over."""
        # As it is: many are refused, few are ever looked at.
        self._decided.append((self._clock.now_s(), record))

    def newest(self) -> Iterator[Decided]:
        """All of them, the newest first."""
        return (_decided(at_s, record) for at_s, record in reversed(self._decided))

    def of(self, request_id: str) -> tuple[Decided, ...]:
        """Those of one request id, the newest first."""
        return with_id(request_id, self.newest())


def _decided(at_s: float, record: Record) -> Decided:
    return Decided(
        time=datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds"),
        request_id=record.request_id,
        outcome=record.outcome,
        reason=record.reason,
        status=record.status,
        route=record.route,
        method=record.method,
        host=record.host,
        path=record.path,
        client=record.client,
        subject=record.subject,
        upstream=record.upstream,
        trace_id=record.trace_id,
    )


def with_id(request_id: str, decided: Iterable[Decided]) -> tuple[Decided, ...]:
    """Those of one request id, in the same order: a trusted proxy may have used it more than once."""
    return tuple(one for one in decided if one.request_id == request_id)


def told(decided: Iterable[Decided]) -> dict[str, object]:
    """As the admin listener answers."""
    return {"remembered": MOST, "decisions": [asdict(one) for one in decided]}


# --- of several processes --------------------------------------------------------------------------------------------

_row = attrgetter(*(field.name for field in fields(Decided)))


def spelled(decided: Iterable[Decided]) -> list[Sequence[str | int]]:
    """As plain lists, for another process."""
    return [_row(one) for one in decided]


def read(rows: Iterable[Sequence[Any]]) -> list[Decided]:
    """What another process spelled."""
    return [Decided(*row) for row in rows]


def merged(lists: Iterable[Iterable[Decided]], most: int = MOST) -> list[Decided]:
    """Those of several processes, the newest first; the oldest are left out where there are more than `most`."""
    return sorted(chain.from_iterable(lists), key=attrgetter("time"), reverse=True)[:most]
