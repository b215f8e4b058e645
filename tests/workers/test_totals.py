"""Metrics of several processes as those of one: what adds up, what does not, and that no counter ever goes down."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gateway.families import Together
from gateway.telemetry import Metrics, Record
from gateway.workers.totals import KEEPER, Totals, dumped

RULES = Metrics().together
Told = dict[tuple[str, frozenset[tuple[str, str]]], float]


def sent(plain: Any) -> Any:
    """As it comes out at the other end of a socket."""
    return json.loads(json.dumps(plain))


def worker(
    requests: int = 0, seconds: float = 0.25, refused: int = 0, streams: int = 0, limited: int = 0, **healthy: int
) -> Metrics:
    """The metrics of a process that served a little. healthy: targets of `legacy`, 1 where they are in."""
    metrics = Metrics()
    for outcome, count in (("admitted", requests), ("refused", refused)):
        for _ in range(count):
            record = Record("r")
            record.route, record.outcome, record.seconds, record.upstream = "app", outcome, seconds, "legacy"
            metrics.count(record)
    if limited:
        metrics.limited.labels("few").inc(limited)
    metrics.open_streams.labels("sse").set(streams)
    metrics.upstream_connections.read_from(("legacy", "busy"), lambda: requests)
    metrics.upstream_waiting.read_from(("legacy",), lambda: refused)
    for target, level in healthy.items():
        metrics.upstream_healthy.read_from(("legacy", target), lambda level=level: level)  # type: ignore[misc]
    return metrics


def dump(metrics: Metrics) -> Any:
    return sent(dumped(metrics.registry))


def totals(*workers: Metrics, keeper: Metrics | None = None) -> Totals:
    found = Totals(RULES)
    for number, metrics in enumerate(workers):
        found.take(f"worker {number}", dump(metrics))
    if keeper is not None:
        found.take(KEEPER, dump(keeper))
    return found


def told(found: Totals) -> Told:
    """Every sample of the text, by name and labels; that none stands there twice is looked at, too."""
    registry = CollectorRegistry()
    registry.register(found)
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    samples = [sample for family in families for sample in family.samples]
    by_labels = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(by_labels) == len(samples)
    assert len({family.name for family in families}) == len(families)
    return by_labels


def value(found: Totals, name: str, /, **labels: str) -> float | None:
    return told(found).get((name, frozenset(labels.items())))


def counters(found: Totals) -> Told:
    """All that may only grow."""
    gauges = {family.name for family in found.collect() if family.type == "gauge"}
    return {key: count for key, count in told(found).items() if key[0] not in gauges and "_created" not in key[0]}


# --- what a process tells ---------------------------------------------------------------------------------------------


def test_what_one_process_dumps_is_read_back_as_the_very_same_text() -> None:
    metrics = worker(requests=3, refused=1, streams=2, limited=4, a=1)
    metrics.certificate_expiry.set(1_900_000_000)
    own = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    samples = {(s.name, frozenset(s.labels.items())): s.value for family in own for s in family.samples}

    single = Totals(dict.fromkeys(RULES, Together.SUM))
    single.take("worker", dump(metrics))

    assert told(single) == pytest.approx(samples)
    assert set(told(totals(metrics, keeper=metrics))) == set(samples)


def test_a_histogram_of_the_library_is_dumped_like_ours() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("waits_seconds", "Waits.", ["kind"], buckets=(0.5, 1.0), registry=registry)
    for seconds in (0.25, 0.75, 2.0):
        histogram.labels("a").observe(seconds)
    found = Totals({})
    for key in ("one", "two"):
        found.take(key, sent(dumped(registry)))

    assert [value(found, "waits_seconds_bucket", kind="a", le=end) for end in ("0.5", "1.0", "+Inf")] == [2, 4, 6]
    assert (value(found, "waits_seconds_count", kind="a"), value(found, "waits_seconds_sum", kind="a")) == (6, 6)


def test_text_in_labels_and_in_help_comes_through_whole() -> None:
    registry = CollectorRegistry()
    Counter("odd", 'Help with "marks" \\ and\na line.', ["name"], registry=registry).labels('a"b\\c\nd').inc()
    found = Totals({})
    found.take("one", sent(dumped(registry)))

    assert value(found, "odd_total", name='a"b\\c\nd') == 1
    assert generate_latest(found).splitlines()[:3] == generate_latest(registry).splitlines()[:3]


# --- rules ------------------------------------------------------------------------------------------------------------


def test_counters_and_histograms_add_up_by_name_and_labels() -> None:
    found = totals(worker(requests=3, seconds=0.25, limited=2), worker(requests=1, refused=2, seconds=4.0, limited=5))
    requests = {"route": "app", "reason": ""}

    assert value(found, "gateway_requests_total", outcome="admitted", **requests) == 4
    assert value(found, "gateway_requests_total", outcome="refused", **requests) == 2
    assert value(found, "gateway_limited_total", limit="few") == 7
    assert value(found, "gateway_request_seconds_bucket", route="app", le="0.25") == 3
    assert value(found, "gateway_request_seconds_bucket", route="app", le="5.0") == 6
    assert value(found, "gateway_request_seconds_bucket", route="app", le="+Inf") == 6
    assert value(found, "gateway_request_seconds_count", route="app") == 6
    assert value(found, "gateway_request_seconds_sum", route="app") == 12.75


class Begun(Collector):
    """A counter that began some time ago."""

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("begun", "Begun.", value=1, created=self._began_s)


def test_a_series_began_when_the_first_process_began_it() -> None:
    found = Totals({})
    for key, began_s in (("one", 200.0), ("two", 100.0), ("three", 300.0)):
        found.take(key, sent(dumped(Begun(began_s))))
    assert (value(found, "begun_total"), value(found, "begun_created")) == (3, 100)

    found.gone("two")
    assert (value(found, "begun_total"), value(found, "begun_created")) == (3, 100)


def test_what_stands_open_adds_up_over_the_workers() -> None:
    found = totals(worker(requests=2, streams=3, refused=1), worker(requests=5, streams=4), keeper=worker())

    assert value(found, "gateway_open_streams", kind="sse") == 7
    assert value(found, "gateway_upstream_connections", upstream="legacy", state="busy") == 7
    assert value(found, "gateway_upstream_waiting", upstream="legacy") == 1


def test_a_target_is_healthy_where_every_worker_finds_it_so() -> None:
    found = totals(worker(a=1, b=1), worker(a=0, b=1))

    assert value(found, "gateway_upstream_healthy", upstream="legacy", target="a") == 0
    assert value(found, "gateway_upstream_healthy", upstream="legacy", target="b") == 1


def test_the_certificate_that_runs_out_first_is_told_and_the_keeper_has_none() -> None:
    one, other = worker(), worker()
    one.certificate_expiry.set(1_900_000_000)
    other.certificate_expiry.set(1_800_000_000)

    assert value(totals(one, other, keeper=worker()), "gateway_certificate_expiry_timestamp_seconds") == 1_800_000_000


def test_what_the_keeper_alone_knows_is_told_by_the_keeper_alone() -> None:
    keeper, other = worker(), worker()
    for metrics, level in ((keeper, 2.0), (other, 9.0)):
        metrics.idp_rest.labels("refresh").set(level)
        metrics.keys_age.set(level)
        metrics.reload_success.set(level)
        metrics.workers.set(level)
    found = totals(other, other, keeper=keeper)

    assert value(found, "gateway_idp_rest_seconds", operation="refresh") == 2
    assert value(found, "gateway_signing_keys_age_seconds") == 2
    assert value(found, "gateway_config_reload_success") == 2
    assert value(found, "gateway_workers") == 2
    assert [count for (name, _), count in told(found).items() if name == "gateway_build_info"] == [1]


def test_every_metric_has_a_rule() -> None:
    metrics = Metrics()
    kinds = {family.name: family.type for family in metrics.registry.collect()}

    assert {name for name, kind in kinds.items() if kind == "gauge"} == set(metrics.together)
    assert set(kinds.values()) == {"counter", "gauge", "histogram"}


def test_a_gauge_without_a_rule_is_left_out() -> None:
    registry = CollectorRegistry()
    Gauge("unruled", "Nobody said.", registry=registry).set(3)
    found = Totals({})
    for key in ("one", "two", KEEPER):
        found.take(key, sent(dumped(registry)))

    assert told(found) == {}


# --- who comes and goes -----------------------------------------------------------------------------------------------


def test_a_dump_that_is_taken_twice_counts_once_and_an_old_one_takes_nothing_back() -> None:
    old, new = dump(worker(requests=2)), dump(worker(requests=3))
    found = Totals(RULES)
    for one in (old, old, new, new, old):
        found.take("one", one)

    assert value(found, "gateway_requests_total", route="app", outcome="admitted", reason="") == 3
    assert value(found, "gateway_request_seconds_count", route="app") == 3


def test_what_a_worker_counted_stays_when_it_ends_and_how_it_stood_does_not() -> None:
    found = totals(worker(requests=3, streams=4, a=0), worker(requests=1, streams=1, a=1))
    found.gone("worker 0")

    assert value(found, "gateway_requests_total", route="app", outcome="admitted", reason="") == 4
    assert value(found, "gateway_request_seconds_count", route="app") == 4
    assert value(found, "gateway_open_streams", kind="sse") == 1
    assert value(found, "gateway_upstream_healthy", upstream="legacy", target="a") == 1


def test_a_worker_that_nobody_knew_may_end() -> None:
    found = totals(worker(requests=1))
    before = told(found)
    found.gone("another")
    found.gone("another")

    assert told(found) == before


def test_a_counter_that_a_reload_took_out_of_a_worker_is_told_on() -> None:
    metrics = worker()
    metrics.upstream_retries.read_from(("legacy", "repeated"), lambda: 5)
    found = totals(metrics)
    metrics.forget_upstream("legacy")
    found.take("worker 0", dump(metrics))

    assert value(found, "gateway_upstream_retries_total", upstream="legacy", outcome="repeated") == 5
    assert value(found, "gateway_upstream_waiting", upstream="legacy") is None


def test_the_next_keeper_goes_on_where_the_last_one_ended() -> None:
    keeper = worker()
    keeper.refreshes.labels("renewed").inc(5)
    keeper.open_streams.labels("websocket").set(1)
    last = totals(worker(requests=3, streams=2), worker(requests=1), keeper=keeper)
    last.gone("worker 1")
    following = Totals(RULES)
    following.adopt(sent(last.carried()))

    assert counters(following) == counters(last)
    assert value(following, "gateway_open_streams", kind="sse") is None
    assert value(following, "gateway_open_streams", kind="websocket") is None

    following.take("worker 0", dump(worker(requests=4, streams=3)))
    following.take(KEEPER, dump(keeper))
    assert value(following, "gateway_requests_total", route="app", outcome="admitted", reason="") == 5
    assert value(following, "gateway_refreshes_total", outcome="renewed") == 10
    assert value(following, "gateway_open_streams", kind="sse") == 3


def test_a_worker_that_ended_while_there_was_no_keeper_is_counted_to_its_end() -> None:
    last = totals(worker(requests=3))
    following = Totals(RULES)
    following.adopt(sent(last.carried()))
    for _ in range(2):
        following.gone("worker 0")
        assert value(following, "gateway_requests_total", route="app", outcome="admitted", reason="") == 3


# --- generated --------------------------------------------------------------------------------------------------------

NAMES = ("one", "two", "three")
SECONDS = st.lists(st.floats(min_value=0, max_value=1e6), max_size=3)
EVENT: st.SearchStrategy[tuple[str, str, list[float]]] = st.one_of(
    st.tuples(st.just("serves"), st.sampled_from((*NAMES, KEEPER)), SECONDS),
    st.tuples(st.just("repeats"), st.sampled_from(NAMES), st.just([])),
    st.tuples(st.just("ends"), st.sampled_from((*NAMES, KEEPER)), st.just([])),
)


class Processes:
    """A keeper, its workers, and who takes their places. Each of them says what it said before when it `repeats`."""

    def __init__(self) -> None:
        self.totals = Totals(RULES)
        self.counted = 0
        self._begun = 0
        self._running: dict[str, tuple[str, Metrics, list[Any]]] = {}

    def serves(self, name: str, seconds: list[float]) -> None:
        if name not in self._running:
            self._begun += 1
            self._running[name] = (name if name == KEEPER else f"{name} {self._begun}", Metrics(), [])
        key, metrics, said = self._running[name]
        for each in seconds:
            metrics.seconds.add("app", each)
            metrics.limited.labels("few").inc()
        self.counted += len(seconds)
        said.append(dump(metrics))
        self.totals.take(key, said[-1])

    def repeats(self, name: str, _: list[float]) -> None:
        if name in self._running:
            self.totals.take(self._running[name][0], self._running[name][2][0])

    def ends(self, name: str, _: list[float]) -> None:
        key = self._running.pop(name, (name,))[0]
        if name == KEEPER:
            carried = sent(self.totals.carried())
            self.totals = Totals(RULES)
            self.totals.adopt(carried)
        else:
            self.totals.gone(key)


@pytest.mark.timeout(120)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(EVENT, max_size=20))
@example([("serves", "one", [0.1]), ("serves", "two", [0.2]), ("serves", "three", [0.3]), ("ends", "one", [])])
@example([("serves", "one", [0.7]), ("serves", "two", [0.1]), ("serves", KEEPER, [0.3]), ("ends", KEEPER, [])])
@example([("serves", "one", [0.5]), ("serves", "one", [0.5]), ("repeats", "one", []), ("ends", "one", [])])
def test_whoever_comes_and_goes_no_counter_ever_goes_down(events: list[tuple[str, str, list[float]]]) -> None:
    processes, before = Processes(), Told()
    for event, name, seconds in events:
        getattr(processes, event)(name, seconds)
        now = counters(processes.totals)
        assert {key: (count, now.get(key)) for key, count in before.items() if now.get(key, -math.inf) < count} == {}
        before = now

    for name, label in (
        ("gateway_limited_total", ("limit", "few")),
        ("gateway_request_seconds_count", ("route", "app")),
    ):
        assert before.get((name, frozenset({label})), 0) == processes.counted
