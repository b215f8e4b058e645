"""What was measured, and the arithmetic on it: medians, spreads, ratios."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured run. cpu_us: processor time for one unit (request, MiB or message); rate: units a second.

    peak_bytes: the most memory that was in use during the run.
    """

    cpu_us: float
    rate: float
    p50_ms: float
    p99_ms: float
    peak_bytes: int


@dataclass
class Results:
    """figures: by row (such as "a-bearer") and peer, a sample for each round. numbers: what has a value alone."""

    figures: dict[str, dict[str, list[Sample]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    numbers: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def cpu(self, row: str, peer: str) -> tuple[float, ...]:
        return tuple(sample.cpu_us for sample in self.figures.get(row, {}).get(peer, ()))

    def rates(self, row: str, peer: str) -> tuple[float, ...]:
        return tuple(sample.rate for sample in self.figures.get(row, {}).get(peer, ()))

    def values(self, row: str, peer: str) -> tuple[float, ...]:
        return tuple(self.numbers.get(row, {}).get(peer, ()))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """The median of the rounds' ratios, so that what slows a whole round down counts for neither; None without both."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=False) if their > 0]
    return median(ratios) if ratios else None


def percentile(in_order: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie; 0.0 of none."""
    return in_order[min(int(len(in_order) * share), len(in_order) - 1)] if in_order else 0.0
