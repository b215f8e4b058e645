"""What the gateway is held to, each as a ratio or a figure of this run, met or not."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from bench.peer import GATEWAY, PLAIN
from bench.results import Results, ratio

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """target: in words. figure: what was measured, as text; is_met: None where it was not measured."""

    workload: str
    target: str
    figure: str
    is_met: bool | None

    @property
    def word(self) -> str:
        return {True: "met", False: "**not met**", None: "not measured"}[self.is_met]


@dataclass(frozen=True, slots=True)
class _Ratio:
    """Our CPU in a row, at most `most` times another peer's in the same row, or in `other_row` where that is set."""

    workload: str
    target: str
    row: str
    other_row: str
    other: str
    most: float


_LOG = "a-bearer-log"
_TIMES = 1.8
_RATIOS = (
    _Ratio("a", "at or below HAProxy, no request log", "a-bearer", "", "haproxy", 1.0),
    _Ratio("a", "at or below HAProxy (signature alone), no request log", "a-bearer", "", "haproxy-bare", 1.0),
    _Ratio("a", "at most 1.5 of HAProxy (signature alone), both with request log", _LOG, "", "haproxy-bare", 1.5),
    _Ratio("a", "at or below Envoy with its cache on", "a-bearer", "", "envoy-cache", 1.0),
    _Ratio("a", "at most a fifth of `auth_request` + FastAPI", "a-bearer", "", "fastapi", 0.2),
    _Ratio("a, beyond", "at or below HAProxy (signature alone), both with request log", _LOG, "", "haproxy-bare", 1.0),
    _Ratio("b", "at or below Envoy without cache", "b", "", "envoy", 1.0),
    _Ratio("c", "no token: at most 0.8 of (a)", "c-none", "c-as-a", GATEWAY, 0.8),
    _Ratio("c", "forged: at or below Envoy's forged", "c-forged", "", "envoy", 1.0),
    _Ratio("d", "as (a), within 10 %", "d", "d-as-a", GATEWAY, 1.1),
    _Ratio("e", "1 MiB down: at most twice nginx", "e-down-1", "", PLAIN, 2.0),
    _Ratio("e", "1 MiB up: at most twice nginx", "e-up-1", "", PLAIN, 2.0),
    _Ratio("e", "64 MiB down: at most twice nginx", "e-down-64", "", PLAIN, 2.0),
    _Ratio("e", "64 MiB up: at most twice nginx", "e-up-64", "", PLAIN, 2.0),
    _Ratio("f", "64-byte messages: at most three times nginx", "f-64", "", PLAIN, 3.0),
    _Ratio("h", "10,000 routes: within 5 % of ten", "h-10000", "h-10", GATEWAY, 1.05),
    _Ratio("k", "two workers on two cores: within a tenth of one on one", "k-2", "k-1", GATEWAY, 1.1),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Bound:
    """The median of a number of ours, below `below` units."""

    workload: str
    target: str
    row: str
    below: float
    unit: float
    unit_name: str


_BOUNDS = (
    _Bound("e", "a gigabyte down grows the worker by less than 20 MiB", "growth-down", 20, MIB, "MiB"),
    _Bound("e", "a gigabyte up grows the worker by less than 20 MiB", "growth-up", 20, MIB, "MiB"),
    _Bound("g", "under 20 KiB for an idle connection", "idle", 20, 1024, "KiB"),
    _Bound("j", "under 90 MB resident, idle", "resident", 90, 1_000_000, "MB"),
)


def verdicts(results: Results) -> Iterator[Verdict]:
    """Every target in the order of the workloads."""
    of_ratios = [_judge_ratio(results, one) for one in _RATIOS]
    of_bounds = [_judge_bound(results, one) for one in _BOUNDS]
    yield from sorted((*of_ratios, *of_bounds, _judge_throughput(results)), key=lambda verdict: verdict.workload)


def _judge_ratio(results: Results, target: _Ratio) -> Verdict:
    ours, theirs = results.cpu(target.row, GATEWAY), results.cpu(target.other_row or target.row, target.other)
    found = ratio(ours, theirs)
    if found is None:
        return Verdict(target.workload, target.target, "", None)
    figure = f"{found:.2f} ({median(ours):.1f} to {median(theirs):.1f} us)"
    return Verdict(target.workload, target.target, figure, found <= target.most)


def _judge_throughput(results: Results) -> Verdict:
    target = f"two workers on two cores: at least {_TIMES} times the requests of one on one"
    two, one = results.rates("k-2", GATEWAY), results.rates("k-1", GATEWAY)
    found = ratio(two, one)
    if found is None:
        return Verdict("k", target, "", None)
    return Verdict("k", target, f"{found:.2f} ({median(one):,.0f} to {median(two):,.0f})", found >= _TIMES)


def _judge_bound(results: Results, target: _Bound) -> Verdict:
    values = results.values(target.row, GATEWAY)
    if not values:
        return Verdict(target.workload, target.target, "", None)
    value = median(values) / target.unit
    return Verdict(target.workload, target.target, f"{value:.1f} {target.unit_name}", value < target.below)
