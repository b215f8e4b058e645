"""When the replies that nobody's task waits for are overdue."""

import asyncio
import time
from typing import Protocol

_LOOKED_THROUGH_S = 0.1


class Waiting(Protocol):
    """An exchange that waits for a reply. started_s: by `time.perf_counter`."""

    started_s: float

    def overdue(self) -> None:
        """The reply has not come in time."""


class Deadlines:
    """Whom to tell that time is over; looked through ten times a second.

    A timer for each of them would cost as much as finding its route.
    """

    def __init__(self) -> None:
        self._waiting: dict[Waiting, float] = {}
        self._is_armed = False

    def add(self, exchange: Waiting, timeout_s: float) -> None:
        self._waiting[exchange] = exchange.started_s + timeout_s
        if not self._is_armed:
            self._is_armed = True
            loop = asyncio.get_running_loop()
            loop.call_later(_LOOKED_THROUGH_S, self._look, loop)

    def remove(self, exchange: Waiting) -> None:
        self._waiting.pop(exchange, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = time.perf_counter()
        for exchange in [exchange for exchange, due_s in self._waiting.items() if due_s <= now_s]:
            exchange.overdue()
        self._is_armed = bool(self._waiting)
        if self._is_armed:
            loop.call_later(_LOOKED_THROUGH_S, self._look, loop)
