"""Counts and timings that are taken for every request, in plain numbers.

The library's own counters take a lock and walk their buckets one by one, which together costs as much as deciding on a
request. Everything here happens on the event loop's thread; the library spells it out when somebody asks.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gateway.families import Family, Rows


class Counts(Collector):
    """A counter with labels."""

    _type = "counter"

    def __init__(self, name: str, help_text: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._help, self._labelnames = name, help_text, labels
        self._counts: dict[tuple[str, ...], int] = {}
        self._elsewhere: dict[tuple[str, ...], Callable[[], int]] = {}
        registry.register(self)

    def add(self, labels: tuple[str, ...]) -> None:
        """Count one."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def read_from(self, labels: tuple[str, ...], count: Callable[[], int]) -> None:
        """Somebody else counts; ask there."""
        self._elsewhere[labels] = count

    def forget(self, label: str) -> None:
        """What is counted elsewhere under this first label counts no more."""
        self._elsewhere = {labels: count for labels, count in self._elsewhere.items() if labels[0] != label}

    def counted(self) -> dict[tuple[str, ...], int]:
        """What was counted, by labels."""
        return dict(self._counts)

    def collect(self) -> Iterable[Family]:
        rows: Rows = {labels: [count] for labels, count in self._counts.items()}
        rows |= {labels: [count()] for labels, count in self._elsewhere.items()}
        yield Family(self._name, self._help, self._type, labels=self._labelnames, columns=[("_total", "")], rows=rows)


class Levels(Collector):
    """A gauge with labels, whose values are asked for when somebody wants to know."""

    _type = "gauge"

    def __init__(self, name: str, help_text: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._help, self._labelnames = name, help_text, labels
        self._levels: dict[tuple[str, ...], Callable[[], int]] = {}
        registry.register(self)

    def read_from(self, labels: tuple[str, ...], level: Callable[[], int]) -> None:
        """Ask there."""
        self._levels[labels] = level

    def forget(self, label: str) -> None:
        """Ask nobody any more for what has this first label."""
        self._levels = {labels: level for labels, level in self._levels.items() if labels[0] != label}

    def collect(self) -> Iterable[Family]:
        rows: Rows = {labels: [level()] for labels, level in self._levels.items()}
        yield Family(self._name, self._help, self._type, labels=self._labelnames, columns=[("", "")], rows=rows)


class Timings(Collector):
    """A histogram of seconds with one label. bounds: upper ends of the buckets, ascending."""

    _type = "histogram"

    def __init__(
        self, name: str, help_text: str, label: str, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name, self._help, self._labelnames = name, help_text, [label]
        self._bounds = tuple(bounds)
        ends = [*map(floatToGoString, self._bounds), "+Inf"]
        self._columns = (*(("_bucket", end) for end in ends), ("_count", ""), ("_sum", ""))
        self._tallies: dict[str, list[float]] = {}  # what fell into each bucket, the last one open; then the sum
        registry.register(self)

    def add(self, label: str, seconds: float) -> None:
        """Count one that took `seconds`."""
        tally = self._tallies.get(label)
        if tally is None:
            tally = self._tallies[label] = [0] * (len(self._bounds) + 2)
        tally[bisect_left(self._bounds, seconds)] += 1
        tally[-1] += seconds

    def collect(self) -> Iterable[Family]:
        rows: Rows = {}
        for label, tally in self._tallies.items():
            within = list(accumulate(tally[:-1]))
            rows[(label,)] = [*within, within[-1], tally[-1]]
        yield Family(self._name, self._help, self._type, labels=self._labelnames, columns=self._columns, rows=rows)
