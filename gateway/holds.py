"""Honours an upstream's `Retry-After` for those who asked it to be honoured (`retry_after: hold`).

A 429 concerns one caller on one route; a 503 concerns the route, once three came within ten seconds. While a hold
lasts, at most thirty seconds, one request a second still goes on as a probe; an answer other than the same ends it.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass

from gateway.clock import Clock

LONGEST_S = 30.0
_PROBE_EVERY_S = 1.0
_BUSY_WITHIN_S = 10.0
_BUSY_COUNT = 3
_MOST = 50_000


@dataclass(slots=True)
class _Hold:
    until_s: float
    probe_s: float


class Holds:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holds: OrderedDict[tuple[str, str], _Hold] = OrderedDict()
        self._busy: dict[str, deque[float]] = {}

    def remaining_s(self, route: str, caller: str) -> float:
        """How long this caller should wait on this route; 0 when the request may go on (as the probe, maybe)."""
        if not self._holds:
            return 0.0
        now_s = self._clock.mono_s()
        for key in ((route, caller), (route, "")):
            hold = self._holds.get(key)
            if hold is None:
                continue
            if hold.until_s <= now_s:
                del self._holds[key]
            elif hold.probe_s <= now_s:
                hold.probe_s = now_s + _PROBE_EVERY_S
            else:
                return hold.until_s - now_s
        return 0.0

    def note(self, route: str, caller: str, status: int, retry_after_s: float | None) -> None:
        """An upstream has answered."""
        now_s = self._clock.mono_s()
        if status == 429 and retry_after_s is not None:
            self._hold((route, caller), now_s, retry_after_s)
        elif status == 503 and retry_after_s is not None:
            recent = self._busy.setdefault(route, deque(maxlen=_BUSY_COUNT))
            recent.append(now_s)
            if len(recent) == _BUSY_COUNT and now_s - recent[0] <= _BUSY_WITHIN_S:
                self._hold((route, ""), now_s, retry_after_s)
        elif self._holds:
            self._holds.pop((route, caller), None)
            self._holds.pop((route, ""), None)

    def _hold(self, key: tuple[str, str], now_s: float, retry_after_s: float) -> None:
        self._holds[key] = _Hold(now_s + min(retry_after_s, LONGEST_S), now_s + _PROBE_EVERY_S)
        self._holds.move_to_end(key)
        if len(self._holds) > _MOST:
            self._holds.popitem(last=False)
