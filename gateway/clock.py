"""The one place that reads a clock, so that a test can hold its own."""

import time
from typing import Protocol


class Clock(Protocol):
    def now_s(self) -> float:
        """Seconds since the epoch, for what is written in tokens."""

    def mono_s(self) -> float:
        """Seconds that never go back, for waits and allowances."""


class SystemClock:
    """The machine's clocks."""

    now_s = staticmethod(time.time)
    mono_s = staticmethod(time.monotonic)
