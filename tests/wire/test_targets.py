"""Several targets of one service: who is asked, who is passed over, and how everybody comes back."""

import asyncio
import io
from functools import partial
from pathlib import Path

import pytest
import structlog

from gateway.pool import Pool
from gateway.telemetry import set_up_logging
from tests.conftest import LOOPBACK, OK, House, OpenHouse, Seen
from tests.wire.services import (
    Begins,
    Gate,
    Service,
    is_at_rest,
    pool_of,
    pooled,
    routes_to_pooled,
    scraped,
    until,
)

ROUTES = routes_to_pooled(response="200ms", idle="100ms")
CHECKS = "health: {path: /healthz, interval: 10ms, timeout: 100ms, healthy_after: 2, unhealthy_after: 3}"
DOWN = b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n"


targets = partial(pooled, routes=ROUTES, count=2)


def asked(made: list[Service]) -> list[int]:
    return [len(service.seen) for service in made]


def are_in(pool: Pool) -> list[bool]:
    return [place.is_in for place in pool.places.balance.members]


async def however_it_ends(house: House) -> None:
    """One request, whatever becomes of it."""
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()


async def checkable(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Ill by its checks, well otherwise."""
    writer.write(DOWN if seen.path == "/healthz" else OK)
    return True


# --- who is asked -----------------------------------------------------------------------------------------------------


async def test_equal_targets_are_asked_in_turn(built: OpenHouse) -> None:
    async with targets(built, count=3) as (house, made):
        for _ in range(9):
            assert (await house.get("/x")).status == 200

        assert asked(made) == [3, 3, 3]
        assert [service.connections for service in made] == [1, 1, 1]


async def test_the_target_with_the_fewest_requests_under_way_is_asked(built: OpenHouse) -> None:
    async with targets(built) as (house, (slow, quick)):
        slow.reply = gate = Gate()
        held = asyncio.get_running_loop().create_task(house.get("/held"))
        await until(lambda: len(slow.seen) + len(quick.seen) == 1)
        for _ in range(6):
            await house.get("/x")

        assert asked([slow, quick]) == [1, 6]
        gate.opened.set()
        await held


async def test_unix_sockets_are_targets_like_any_other(built: OpenHouse, tmp_path: Path) -> None:
    made = [Service(), Service()]
    sockets = [tmp_path / "one.sock", tmp_path / "two.sock"]
    listening = [await asyncio.start_unix_server(service, file) for service, file in zip(made, sockets, strict=True)]
    urls = ", ".join(f"'unix:{file}'" for file in sockets)
    try:
        async with built(routes=ROUTES, top=f"  pooled: {{urls: [{urls}]}}") as house:
            statuses = [(await house.get("/x")).status for _ in range(4)]
            healthy = await scraped(house, "gateway_upstream_healthy")
    finally:
        for server in listening:
            server.close()

    assert statuses == [200] * 4
    assert asked(made) == [2, 2]
    assert healthy[f'{{target="unix:{sockets[0]}",upstream="pooled"}}'] == 1


async def test_a_full_target_leaves_its_share_to_the_others(built: OpenHouse) -> None:
    async with targets(built, "connections: {max: 1, queue: 0}") as (house, made):
        made[0].reply = made[1].reply = gate = Gate()
        held = [asyncio.get_running_loop().create_task(house.get("/held")) for _ in range(2)]
        await until(lambda: asked(made) == [1, 1])

        assert (await house.get("/x")).status == 503
        gate.opened.set()
        assert [(await task).status for task in held] == [200, 200]


# --- passive ejection -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_target_that_is_not_there_costs_nobody_a_request(built: OpenHouse, method: str) -> None:
    async with targets(built) as (house, (dead, alive)):
        dead.stop()

        replies = [await house.send(method, "/x", data=b"once" if method == "POST" else None) for _ in range(12)]

        assert [reply.status for reply in replies] == [200] * 12
        assert len(alive.seen) == 12
        assert are_in(pool_of(house)) == [False, True]


async def test_a_dead_target_is_passed_over_and_asked_again_when_its_time_is_over(built: OpenHouse) -> None:
    async with targets(built, "eject: {after: 2, for: 100ms}") as (house, (first, _)):
        pool = pool_of(house)
        first.stop()
        while all(are_in(pool)):
            assert (await house.get("/x")).status == 200
        made_before, repeats = first.connections, pool.repeats
        for _ in range(5):
            assert (await house.get("/x")).status == 200

        assert pool.repeats == repeats == 2  # nobody tries it meanwhile
        await first.start()
        await until(lambda: all(are_in(pool)))
        for _ in range(2):
            assert (await house.get("/x")).status == 200
        assert first.connections == made_before + 1
        assert is_at_rest(pool)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"", id="no reply"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", id="half a reply"),
    ],
)
async def test_a_target_that_breaks_its_replies_goes_out(built: OpenHouse, reply: bytes) -> None:
    async def broken(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(reply)
        return False

    async with targets(built, "eject: {after: 3, for: 1h}") as (house, (bad, good)):
        bad.reply = broken
        for _ in range(6):
            await however_it_ends(house)
        assert are_in(pool_of(house)) == [False, True]
        before = len(good.seen)
        for _ in range(3):
            assert (await house.get("/x")).status == 200
        assert len(good.seen) == before + 3
        assert len(bad.seen) == 3


async def test_a_target_that_never_answers_goes_out(built: OpenHouse) -> None:
    async with targets(built, "eject: {after: 1, for: 1h}") as (house, (deaf, good)):
        deaf.reply = Gate()
        statuses = {(await house.get("/x")).status for _ in range(2)}

        assert statuses == {200, 504}
        assert are_in(pool_of(house)) == [False, True]
        assert len(good.seen) == 1


async def test_an_error_that_a_target_answers_with_is_an_answer(built: OpenHouse) -> None:
    async with targets(built, "eject: {after: 1, for: 1h}") as (house, made):
        made[0].reply = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
        statuses = sorted([(await house.get("/x")).status for _ in range(4)])

        assert statuses == [200, 200, 500, 500]
        assert are_in(pool_of(house)) == [True, True]


@pytest.mark.parametrize("has_begun", [False, True], ids=["before the reply", "after the reply has begun"])
async def test_what_a_client_spoils_takes_no_target_out(built: OpenHouse, has_begun: bool) -> None:
    begun = Begins(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    async with targets(built, "eject: {after: 1, for: 1h}") as (house, made):
        for service in made:
            service.reply = begun if has_begun else Gate()
        for _ in range(3):
            sent = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc"
            reply = await house.raw(sent, until_closed=has_begun)
            assert reply.startswith(b"HTTP/1.1 200 " if has_begun else b"HTTP/1.1 400 ")

        assert are_in(pool_of(house)) == [True, True]
        await until(lambda: is_at_rest(pool_of(house)))


async def test_a_connection_that_was_closed_under_our_hands_takes_no_target_out(built: OpenHouse) -> None:
    uses: dict[asyncio.StreamReader, int] = {}

    async def once(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        uses[reader] = uses.get(reader, 0) + 1
        if uses[reader] == 2:
            return False
        writer.write(OK)
        return True

    async with targets(built, "eject: {after: 1, for: 1h}") as (house, made):
        for service in made:
            service.reply = once
        gets = [(await house.get("/x")).status for _ in range(4)]
        posts = [(await house.send("POST", "/x")).status for _ in range(2)]

        assert gets == [200] * 4
        assert posts == [502, 502]
        assert are_in(pool_of(house)) == [True, True]


async def test_when_all_targets_are_out_all_are_asked_and_the_first_to_answer_is_in(built: OpenHouse) -> None:
    async with targets(built, "eject: {after: 1, for: 1h}, retry: {budget: 0%, floor: 0}") as (house, made):
        pool = pool_of(house)
        for service in made:
            service.stop()
        statuses = [(await house.get("/x")).status for _ in range(4)]

        assert statuses == [502] * 4
        assert are_in(pool) == [False, False]
        await made[1].start()
        assert 200 in [(await house.get("/x")).status for _ in range(2)]
        assert are_in(pool) == [False, True]
        assert [(await house.get("/x")).status for _ in range(4)] == [200] * 4


async def test_who_waits_gets_the_place_of_a_target_that_comes_back(built: OpenHouse) -> None:
    keys = "connections: {max: 1, queue: 5, wait: 4s}, eject: {after: 1, for: 200ms}"
    patient = ROUTES.replace("response: 200ms", "response: 5s")
    async with targets(built, keys, routes=patient) as (house, (first, second)):
        first.stop()
        for _ in range(2):
            assert (await house.get("/x")).status == 200
        assert are_in(pool_of(house)) == [False, True]
        await first.start()
        second.reply = gate = Gate()
        held = asyncio.get_running_loop().create_task(house.get("/held"))
        await until(lambda: second.seen[-1].path == "/held")

        waits = asyncio.get_running_loop().create_task(house.get("/waits"))
        await until(lambda: pool_of(house).waiting == 1)

        assert (await waits).status == 200  # the first is the only one that could
        assert first.seen[-1].path == "/waits"
        gate.opened.set()
        await held


async def test_idle_connections_of_a_target_that_goes_out_end(built: OpenHouse) -> None:
    async with targets(built, CHECKS) as (house, (first, _)):
        for _ in range(2):
            await house.get("/x")
        (place, _) = pool_of(house).places.balance.members
        assert len(place.idle) == 1
        first.reply = checkable
        await until(lambda: not place.is_in)

        await until(lambda: not place.idle and place.open == 0)


async def test_targets_that_go_out_and_come_back_are_told_in_the_log(built: OpenHouse) -> None:
    stream = io.StringIO()
    before = structlog.get_config()
    set_up_logging("json", stream)
    try:
        async with targets(built, "eject: {after: 1, for: 50ms}") as (house, (first, _)):
            first.stop()
            for _ in range(2):
                await house.get("/x?token=secret")
            await first.start()
            await until(lambda: all(are_in(pool_of(house))))
    finally:
        structlog.configure(**before)

    told = [line for line in stream.getvalue().splitlines() if '"target ' in line]
    assert len(told) == 2
    assert f'"target": "{LOOPBACK}:{first.port}"' in told[0]
    assert ['"event": "target out"' in told[0], '"event": "target back"' in told[1]] == [True, True]
    assert "secret" not in stream.getvalue()


# --- active checks ----------------------------------------------------------------------------------------------------


async def test_a_target_that_fails_its_checks_gets_no_requests_until_it_passes_them(built: OpenHouse) -> None:
    async with targets(built, CHECKS) as (house, (ill, well)):
        pool = pool_of(house)
        ill.reply = checkable
        await until(lambda: are_in(pool) == [False, True])
        for _ in range(4):
            assert (await house.get("/x")).status == 200

        assert [seen.path for seen in ill.seen if seen.path != "/healthz"] == []
        healthy = await scraped(house, "gateway_upstream_healthy")
        assert [healthy[f'{{target="{LOOPBACK}:{s.port}",upstream="pooled"}}'] for s in (ill, well)] == [0, 1]
        ill.reply = OK
        await until(lambda: all(are_in(pool)))
        for _ in range(2):
            await house.get("/x")
        assert [seen.path for seen in ill.seen if seen.path != "/healthz"] == ["/x"]


@pytest.mark.parametrize("how", ["gone", "deaf", "no HTTP"])
async def test_a_check_without_an_answer_is_a_bad_one(built: OpenHouse, how: str) -> None:
    async with targets(built, CHECKS) as (house, (ill, _)):
        if how == "gone":
            ill.stop()
        else:
            ill.reply = Gate() if how == "deaf" else b"SSH-2.0-OpenSSH\r\n\r\n"

        await until(lambda: are_in(pool_of(house)) == [False, True])


async def test_one_bad_check_among_good_ones_takes_nobody_out(built: OpenHouse) -> None:
    turns = 0

    async def moody(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal turns
        turns += 1
        writer.write(DOWN if turns % 3 else OK)
        return True

    async with targets(built, CHECKS) as (house, (first, _)):
        first.reply = moody
        while turns <= 12:
            assert are_in(pool_of(house)) == [True, True]
            await asyncio.sleep(0.002)


async def test_a_check_carries_nothing_of_anybody_and_takes_no_place(built: OpenHouse) -> None:
    keys = "connections: {max: 1, queue: 0}, " + CHECKS.replace("}", ", expect: 200-399}")
    async with targets(built, keys, count=1) as (house, (service,)):
        service.reply = gate = Gate(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")
        gate.opened.set()
        await until(lambda: len(service.seen) > 3)
        gate.opened.clear()
        held = asyncio.get_running_loop().create_task(house.get("/held", headers={"Cookie": "DS=x", "X-API-Key": "k"}))
        checks_before = len(service.seen)
        await until(lambda: len(service.seen) > checks_before + 2)
        gate.opened.set()
        await held

    checks = [seen for seen in service.seen if seen.path == "/healthz"]
    names = {line.partition(b":")[0].lower() for seen in checks for line in seen.head.split(b"\r\n")[1:] if line}
    assert names == {b"host", b"user-agent", b"connection"}
    assert checks[0].line == "GET /healthz HTTP/1.1"
    assert are_in(pool_of(house)) == [True]


async def test_when_every_target_fails_its_checks_all_are_asked(built: OpenHouse) -> None:
    async with targets(built, CHECKS) as (house, made):
        for service in made:
            service.reply = checkable
        await until(lambda: are_in(pool_of(house)) == [False, False])

        assert [(await house.get("/x")).status for _ in range(4)] == [200] * 4


async def test_no_check_is_made_that_nobody_asked_for(built: OpenHouse) -> None:
    async with targets(built) as (house, made):
        await house.get("/x")
        await asyncio.sleep(0.05)

        assert sum(asked(made)) == 1
