"""Tables in Markdown, for the terminal and for RESULTS.md."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from bench.peer import GATEWAY, PEERS_BY_ID, PLAIN
from bench.results import Results, Sample, ratio
from bench.targets import MIB, verdicts

T = TypeVar("T")

_READING = """\
Written by `make bench`; [README.md](README.md) says what is measured and how to read it. CPU is user and system time of
all processes of a peer, as the operating system accounts it. Figures are medians of interleaved rounds, with the lowest
and the highest in parentheses; ratios are medians of the rounds' ratios."""
_REFERENCE = "a-bearer"
_REQUEST, _MIB, _MESSAGE = "request", "MiB", "message"
# What each row is called, its unit, and the row that nginx's and our figures are taken from where it has none itself.
_ROWS = (
    ("a-cookie", "(a) Small GET, tokens seen before, as cookies", _REQUEST),
    ("b", "(b) Every token new", _REQUEST),
    ("c-none", "(c) Refused: no token", _REQUEST),
    ("c-expired", "(c) Refused: expired", _REQUEST),
    ("c-forged", "(c) Refused: forged", _REQUEST),
    ("c-unknown-kid", "(c) Refused: unknown `kid`", _REQUEST),
    ("d", "(d) Access key, remembered", _REQUEST),
    ("e-down-1", "(e) 1 MiB down", _MIB),
    ("e-up-1", "(e) 1 MiB up", _MIB),
    ("e-down-64", "(e) 64 MiB down", _MIB),
    ("e-up-64", "(e) 64 MiB up", _MIB),
    ("f-64", "(f) WebSocket echo, 64 bytes, 100 connections", _MESSAGE),
    ("f-65536", "(f) WebSocket echo, 64 KiB, 100 connections", _MESSAGE),
)
_ALONE = (
    ("d-as-a", "(a) measured beside (d)"),
    ("d", "(d) access key, remembered"),
    ("h-10", "(h) ten routes"),
    ("h-10000", "(h) 10,000 routes, the same requests"),
    ("h-10-spread", "(h) ten routes, 10,000 different requests"),
    ("h-10000-spread", "(h) 10,000 routes, a different request to each"),
    ("i-as-a", "(a) measured beside (i)"),
    ("i", "(i) a route with a limit for each subject"),
    ("k-1", "(k) one worker, its load and the upstream on one core"),
    ("k-2", "(k) two workers with the keeper, twice the load and the upstream on two cores"),
    ("k-2-apart", "(k) two gateways of one worker each, twice the load and the upstream on two cores"),
    ("k-2-one-core", "(k) two workers with the keeper, the load of one and the upstream on one core"),
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where, when and with what was measured."""

    date: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    options: str


def document(results: Results, around: Circumstances) -> str:
    """The whole of RESULTS.md."""
    parts = [
        "# Results",
        _READING,
        _table(("what", "value"), [("date", around.date), *around.machine.items(), ("options", around.options)]),
        _table(("program", "version"), list(around.versions.items())),
        *tables(results),
    ]
    return "\n\n".join(parts) + "\n"


def tables(results: Results) -> Iterator[str]:
    yield "## Targets"
    rows = [(one.workload, one.target, one.figure, one.word) for one in verdicts(results)]
    yield _table(("workload", "target", "figure", ""), rows)
    if _REFERENCE in results.figures:
        yield "## (a) Small GET, tokens seen before, as bearers"
        yield _table(_heads(_REQUEST, log=True), list(_small_rows(results, _REFERENCE, log=True)))
    for row, title, unit in _ROWS:
        if row in results.figures and row != "d":
            yield f"## {title}"
            yield _table(_heads(unit), list(_small_rows(results, row)))
    alone = [_alone(results, row, title) for row, title in _ALONE if row in results.figures]
    if alone:
        yield "## (d), (h), (i), (k) The gateway alone"
        yield _table(("workload", "CPU us/request", "requests/s", "p50 ms", "p99 ms", "peak MiB"), alone)
    yield from _numbers(results)


def _heads(unit: str, *, log: bool = False) -> tuple[str, ...]:
    logged = ("CPU us with request log", "x nginx", "x gateway") if log else ()
    return (
        "peer",
        f"CPU us/{unit}",
        "x nginx",
        "x gateway",
        *logged,
        f"{_plural(unit)}/s",
        "p50 ms",
        "p99 ms",
        "peak MiB",
    )


def _plural(unit: str) -> str:
    return unit if unit == _MIB else f"{unit}s"


def _small_rows(results: Results, row: str, *, log: bool = False) -> Iterator[tuple[str, ...]]:
    for peer, samples in _in_order(results.figures[row]):
        logged = _cpu_cells(results, f"{row}-log", peer) if log else ()
        yield (PEERS_BY_ID[peer].title, *_cpu_cells(results, row, peer), *logged, *_other_cells(samples))


def _cpu_cells(results: Results, row: str, peer: str) -> tuple[str, str, str]:
    cpu = results.cpu(row, peer)
    # Where nginx without checks has no figure of its own (it refuses nobody), that of (a) stands for the floor.
    floor = results.cpu(row, PLAIN) or results.cpu(_REFERENCE, PLAIN)
    return _spread(cpu, 1), _times(ratio(cpu, floor)), _times(ratio(cpu, results.cpu(row, GATEWAY)))


def _other_cells(samples: Sequence[Sample]) -> tuple[str, str, str, str]:
    return (
        f"{median(one.rate for one in samples):,.0f}",
        f"{median(one.p50_ms for one in samples):.2f}",
        f"{median(one.p99_ms for one in samples):.2f}",
        f"{max(one.peak_bytes for one in samples) / MIB:.0f}",
    )


def _alone(results: Results, row: str, title: str) -> tuple[str, ...]:
    return (title, _spread(results.cpu(row, GATEWAY), 1), *_other_cells(results.figures[row][GATEWAY]))


def _numbers(results: Results) -> Iterator[str]:
    numbers = results.numbers
    if "idle" in numbers:
        yield "## (g) Idle keep-alive connections, memory of the processes for each"
        yield _table(("peer", "KiB"), [(title, f"{median(v) / 1024:.1f}") for title, v in _titled(numbers["idle"])])
    if "growth-down" in numbers:
        yield "## (e) A gigabyte through the gateway"
        rows = [(way, f"{median(numbers[f'growth-{way}'][GATEWAY]) / MIB:.1f}") for way in ("down", "up")]
        yield _table(("way", "largest growth, MiB"), rows)
    if "start" in numbers:
        yield "## (j) From start to ready, and memory when ready"
        resident = dict(_titled(numbers["resident"]))
        started = [
            (title, _spread([value * 1_000 for value in seconds], 0), f"{median(resident[title]) / MIB:.1f}")
            for title, seconds in _titled(numbers["start"])
        ]
        yield _table(("peer", "ms to ready", "resident MiB"), started)


def _titled(values: Mapping[str, list[float]]) -> list[tuple[str, list[float]]]:
    return [(PEERS_BY_ID[peer].title, them) for peer, them in _in_order(values)]


def _in_order(values: Mapping[str, T]) -> list[tuple[str, T]]:
    return [(peer, values[peer]) for peer in PEERS_BY_ID if peer in values]


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{middle} ({low}-{high})"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
