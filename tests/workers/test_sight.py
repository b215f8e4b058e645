"""The status page and the decisions of several workers: what each of them saw, as if one had seen it."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from gateway.app import Gateway
from gateway.decisions import MOST, Decided, merged, told, with_id
from gateway.decisions import read as read_decisions
from gateway.decisions import spelled as spelled_decisions
from gateway.listening import Address
from gateway.sight import Sight, TargetSeen, UpstreamSeen, sight_of
from gateway.status import StatusPage, Watched
from gateway.telemetry import Metrics
from gateway.workers.sight import added, left_by, read, spelled
from tests.conftest import LOOPBACK, House, OpenHouse

LIMITS = "limits: {few: {rate: 2/h, per: client}}"
ROUTES = """
routes:
  - {id: public, match: {path: "/public/**"}, auth: public, upstream: legacy}
  - {id: few, match: {path: "/few"}, auth: public, limit: [few], upstream: legacy}
  - {id: rest, match: {path: "/**"}, upstream: legacy}
"""
SEEN = UpstreamSeen(
    "legacy", busy=2, idle=1, waiting=3, targets=(TargetSeen("a", is_in=True, busy=2), TargetSeen("b", True, 0))
)


def sent(plain: Any) -> Any:
    """As it comes out at the other end of a socket."""
    return json.loads(json.dumps(plain))


def decided(time: str, request_id: str = "r") -> Decided:
    return Decided(time, request_id, "refused", "role_missing", 403, "app", "GET", "h", "/x", LOOPBACK, "", "", "")


@asynccontextmanager
async def second_worker(house: House) -> AsyncIterator[tuple[Gateway, str]]:
    """Another gateway by the same route file, and its URL."""
    other = Gateway(house.gateway.config, log_form="off", clock=house.clock)
    public, _ = await other.start(Address(LOOPBACK, 0), None)
    try:
        await other.keyring.ready()
        yield other, f"http://{public}"
    finally:
        await other.stop()


def sight(gateway: Gateway) -> Sight:
    """What a worker sees, as the keeper reads it."""
    pools = [gateway.upstreams.pool(upstream) for upstream in gateway.config.upstreams]
    return read(sent(spelled(sight_of(gateway.metrics, pools))))


def watched(workers: Sequence[Gateway], states: Sequence[str]) -> Watched:
    decisions = [read_decisions(sent(spelled_decisions(one.decisions.newest()))) for one in workers]
    one = workers[0]
    return Watched(
        sight=added(map(sight, workers)),
        decisions=merged(decisions),
        keys_age_s=one.keyring.age_s,
        keys_serve=one.keyring.is_ready,
        resting=[],
        now_s=one.clock.now_s(),
        mono_s=one.clock.mono_s(),
        base_url=one.config.base_url,
        routes=[route.id for route in one.config.table.routes],
        limits=one.config.limits,
        state="ready",
        workers=states,
    )


async def page_of(house: House, workers: Sequence[Gateway], states: Sequence[str]) -> str:
    """The page as a browser gets it; the workers are asked only once somebody asks for it."""
    asked: list[Watched] = [watched(workers[:1], [])]

    async def first() -> None:
        asked.append(watched(workers, states))

    runner = web.ServerRunner(web.Server(StatusPage(lambda: asked[-1], first).serve))
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0).start()
        async with house.http.get(f"http://{LOOPBACK}:{runner.addresses[0][1]}/still") as reply:
            assert reply.status == 200
            return await reply.text()
    finally:
        await runner.cleanup()


# --- the page ---------------------------------------------------------------------------------------------------------


async def test_the_page_of_two_workers_shows_the_sum(built: OpenHouse) -> None:
    async with built(routes=ROUTES, top=LIMITS) as house, second_worker(house) as (other, second):
        for url, times in ((str(house.url), 4), (second, 3)):
            for _ in range(times):
                async with house.http.get(f"{url}/few") as reply:
                    await reply.read()
        refused = await house.get("/secret")
        house.put_forward(1)
        async with house.http.get(f"{second}/other-secret", allow_redirects=False) as reply:
            other_id = reply.headers["X-Request-Id"]
        both = [house.gateway, other]
        text = await page_of(house, both, ["ready", "ready"])

    rows = re.findall(r'<th scope="row">(\w+)</th>((?:<td>[^<]*</td>)+)', text)
    assert ("few", "<td>4</td><td>3</td><td>0</td>") in rows
    assert ("rest", "<td>0</td><td>2</td><td>0</td>") in rows
    assert ("public", "<td>0</td><td>0</td><td>0</td>") in rows
    assert re.search(r'<th scope="row">few</th><td>[^<]*for each client</td><td>3</td>', text)
    assert "<strong>legacy</strong>: 0 busy, 2 idle, 0 waiting" in text
    assert text.count(f"<code>{LOOPBACK}:{house.upstream.port}</code>") == 1
    assert text.index(other_id) < text.index(refused.headers["X-Request-Id"])
    assert "<p>2 workers: 2 ready.</p>" in text


@pytest.mark.parametrize(
    ("states", "line"),
    [
        pytest.param(["ready", "starting", "ready"], "<p>3 workers: 2 ready, 1 starting.</p>", id="three workers"),
        pytest.param(["ready"], "", id="one worker"),
        pytest.param([], "", id="one process"),
    ],
)
async def test_workers_are_told_of_where_there_are_several(house: House, states: list[str], line: str) -> None:
    text = await page_of(house, [house.gateway], states)

    assert line in text
    assert ("worker" in text) == bool(line)


async def test_a_page_without_any_worker_is_a_page(house: House) -> None:
    nobody = replace(watched([house.gateway], []), sight=added([]), decisions=[])
    page = StatusPage(lambda: nobody)
    runner = web.ServerRunner(web.Server(page.serve))
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0).start()
        async with house.http.get(f"http://{LOOPBACK}:{runner.addresses[0][1]}/") as reply:
            text = await reply.text()
    finally:
        await runner.cleanup()

    assert '<th scope="row">public</th><td>0</td><td>0</td><td>0</td>' in text


# --- sights -----------------------------------------------------------------------------------------------------------


def test_what_a_worker_sees_comes_through_a_socket_whole() -> None:
    one = Sight({"app": {"admitted": 3}}, {"few": 2}, (SEEN,))

    assert read(sent(spelled(one))) == one


def test_requests_of_one_outcome_count_together_whatever_the_reason() -> None:
    metrics = Metrics()
    for reason in ("no_credentials", "role_missing", "role_missing"):
        metrics.requests.add(("app", "refused", reason))

    assert sight_of(metrics, []).counts == {"app": {"refused": 3}}


def test_counts_connections_and_requests_under_way_add_up() -> None:
    one = Sight({"app": {"admitted": 3, "refused": 1}}, {"few": 2}, (SEEN,))
    other = Sight({"app": {"admitted": 1, "failed": 1}, "new": {"admitted": 1}}, {"few": 1, "many": 4}, (SEEN,))
    both = added([one, other])

    assert both.counts == {"app": {"admitted": 4, "refused": 1, "failed": 1}, "new": {"admitted": 1}}
    assert both.over == {"few": 3, "many": 4}
    [upstream] = both.upstreams
    assert (upstream.busy, upstream.idle, upstream.waiting) == (4, 2, 6)
    assert upstream.targets == (TargetSeen("a", True, 4), TargetSeen("b", True, 0))


def test_a_target_is_in_where_every_worker_has_it_in() -> None:
    out = replace(SEEN, targets=(TargetSeen("b", False, 1), TargetSeen("c", True, 1)))
    for sights in ((SEEN, out), (out, SEEN)):
        [upstream] = added(Sight({}, {}, (one,)) for one in sights).upstreams

        assert {target.name: target.is_in for target in upstream.targets} == {"a": True, "b": False, "c": True}


def test_adding_up_leaves_every_sight_as_it_was() -> None:
    one, other = (Sight({"app": {"admitted": 3}}, {"few": 2}, (SEEN,)) for _ in range(2))
    added([one, other])

    assert one == other == Sight({"app": {"admitted": 3}}, {"few": 2}, (SEEN,))


def test_of_a_worker_that_has_ended_its_counts_are_left() -> None:
    one = Sight({"app": {"admitted": 3}}, {"few": 2}, (SEEN,))

    assert added([left_by(one), one]) == Sight({"app": {"admitted": 6}}, {"few": 4}, (SEEN,))


# --- decisions --------------------------------------------------------------------------------------------------------


async def test_decisions_of_two_workers_are_told_as_one_process_tells_them(built: OpenHouse) -> None:
    async with built(routes=ROUTES, top=LIMITS) as house, second_worker(house) as (other, second):
        refused = await house.get("/secret")
        house.put_forward(1)
        async with house.http.get(f"{second}/other-secret", allow_redirects=False) as reply:
            other_id = reply.headers["X-Request-Id"]
        async with house.http.get(house.admin / "decisions") as reply:
            alone = await reply.json()
        both = [house.gateway, other]
        lists = [read_decisions(sent(spelled_decisions(one.decisions.newest()))) for one in both]
        together = sent(told(merged(lists)))

    assert [one["request_id"] for one in together["decisions"]] == [other_id, refused.headers["X-Request-Id"]]
    assert together["decisions"][1:] == alone["decisions"]
    assert together["remembered"] == alone["remembered"]
    assert [one.path for one in with_id(other_id, merged(lists))] == ["/other-secret"]


def test_the_newest_of_all_come_first_and_the_oldest_are_left_out() -> None:
    one = [decided(f"2026-01-01T00:00:{second:02}.000+00:00") for second in (50, 30, 10)]
    other = [decided(f"2026-01-01T00:00:{second:02}.000+00:00") for second in (40, 20)]
    times = [found.time[17:19] for found in merged([one, [], other], 4)]

    assert times == ["50", "40", "30", "20"]
    assert len(merged([one * MOST, other])) == MOST


def test_decisions_of_one_moment_stay_in_the_order_of_their_worker() -> None:
    later, earlier = decided("2026-01-01T00:00:00.000+00:00", "2"), decided("2026-01-01T00:00:00.000+00:00", "1")

    assert [one.request_id for one in merged([[later, earlier]])] == ["2", "1"]
