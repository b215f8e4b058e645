"""What several workers have seen, as JSON between them and the keeper and as one sight for the status page."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from gateway.sight import Sight, TargetSeen, UpstreamSeen


def spelled(sight: Sight) -> dict[str, Any]:
    """As plain lists and mappings, for another process."""
    return asdict(sight)


def read(plain: Mapping[str, Any]) -> Sight:
    """What another process spelled."""
    upstreams = tuple(
        UpstreamSeen(**{**one, "targets": tuple(TargetSeen(**target) for target in one["targets"])})
        for one in plain["upstreams"]
    )
    return Sight(plain["counts"], plain["over"], upstreams)


def left_by(sight: Sight) -> Sight:
    """What still counts of a worker that has ended: its requests, and nothing of its connections."""
    return replace(sight, upstreams=())


def added(sights: Iterable[Sight]) -> Sight:
    """All of them as one: counts add up, and a target is in where every worker has it in."""
    counts: dict[str, dict[str, int]] = {}
    over: dict[str, int] = {}
    upstreams: dict[str, UpstreamSeen] = {}
    for sight in sights:
        for route, found in sight.counts.items():
            counts[route] = _sums(counts.get(route, {}), found)
        over = _sums(over, sight.over)
        for one in sight.upstreams:
            before = upstreams.get(one.name)
            upstreams[one.name] = _both(before, one) if before is not None else one
    return Sight(counts, over, tuple(upstreams.values()))


def _sums(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {**one, **{name: one.get(name, 0) + count for name, count in other.items()}}


def _both(one: UpstreamSeen, other: UpstreamSeen) -> UpstreamSeen:
    targets = {target.name: target for target in one.targets}
    for target in other.targets:
        before = targets.get(target.name, TargetSeen(target.name, is_in=True, busy=0))
        targets[target.name] = TargetSeen(target.name, before.is_in and target.is_in, before.busy + target.busy)
    return UpstreamSeen(
        one.name,
        busy=one.busy + other.busy,
        idle=one.idle + other.idle,
        waiting=one.waiting + other.waiting,
        targets=tuple(targets.values()),
    )
