"""What one process that serves can tell of its routes, limits and upstreams, for the status page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.pool import Pool
from gateway.telemetry import Metrics


@dataclass(frozen=True, slots=True)
class TargetSeen:
    """busy: requests under way there."""

    name: str
    is_in: bool
    busy: int


@dataclass(frozen=True, slots=True)
class UpstreamSeen:
    """busy, idle: connections; waiting: requests that wait for one."""

    name: str
    busy: int
    idle: int
    waiting: int
    targets: tuple[TargetSeen, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """counts: requests by route and outcome; over: requests over each limit, by its name."""

    counts: Mapping[str, Mapping[str, int]]
    over: Mapping[str, int]
    upstreams: tuple[UpstreamSeen, ...]


def sight_of(metrics: Metrics, pools: Iterable[Pool]) -> Sight:
    """As things stand in this process."""
    counts: dict[str, dict[str, int]] = {}
    for (route, outcome, _), count in metrics.requests.counted().items():
        of_route = counts.setdefault(route, {})
        of_route[outcome] = of_route.get(outcome, 0) + count
    samples = [sample for family in metrics.limited.collect() for sample in family.samples]
    over = {one.labels["limit"]: int(one.value) for one in samples if one.name.endswith("_total")}
    return Sight(counts, over, tuple(map(_seen, pools)))


def _seen(pool: Pool) -> UpstreamSeen:
    members = pool.places.balance.members
    targets = tuple(TargetSeen(place.target.name, place.is_in, place.busy) for place in members)
    return UpstreamSeen(pool.upstream.name, pool.busy, pool.idle, pool.waiting, targets)
