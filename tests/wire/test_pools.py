"""Connections to an upstream: few, waited for in order, and all of them back at the end."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from gateway.connection import Connection, Stale
from gateway.core.errors import UpstreamBusy, UpstreamUnreachable
from gateway.core.model import ConnectionRules, RetryRules, Upstream
from gateway.pool import Pool, Pooled
from tests.conftest import LOOPBACK, OK, Hands, House, OpenHouse, Reply, Seen, read_body, reason_of
from tests.wire.services import Gate, Service, is_at_rest, pool_of, reset, routes_to_pooled, scraped, services, until
from tests.wire.services import pooled as services_behind

ROUTES = routes_to_pooled(response="2s", idle="300ms")
SOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@asynccontextmanager
async def pooled(built: OpenHouse, keys: str) -> AsyncIterator[tuple[House, Service]]:
    """A house whose every path leads to one service, with these keys on its upstream."""
    async with services_behind(built, keys, routes=ROUTES) as (house, (service,)):
        yield house, service


async def asked(house: House, path: str) -> bytes:
    return await house.raw(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())


def in_background(house: House, path: str) -> "asyncio.Task[Reply]":
    return asyncio.get_running_loop().create_task(house.get(path))


# --- the bound --------------------------------------------------------------------------------------------------------


async def test_t18_connections_to_an_upstream_never_exceed_their_bound(built: OpenHouse) -> None:
    async def slowly(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(0.005)
        writer.write(OK)
        return True

    async with pooled(built, "connections: {max: 4, queue: 1000, wait: 10s}") as (house, service):
        service.reply = slowly
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http:

            async def ask(number: int) -> int:
                async with http.get(f"{house.url}/{number}") as reply:
                    await reply.read()
                    return reply.status

            statuses = await asyncio.gather(*(ask(number) for number in range(200)))

        assert statuses == [200] * 200
        assert service.peak == 4
        assert len(service.seen) == 200
        assert is_at_rest(pool_of(house))


async def test_t18_the_bound_holds_where_no_connection_may_be_used_again(built: OpenHouse) -> None:
    async with pooled(built, "connections: {max: 3, queue: 1000, wait: 10s}") as (house, service):
        service.reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"

        replies = await asyncio.gather(*(house.get(f"/{number}") for number in range(60)))

        assert [reply.status for reply in replies] == [200] * 60
        await until(lambda: is_at_rest(pool_of(house)))
        assert service.connections == 60
        assert max(place.open for place in pool_of(house).places.balance.members) == 0


# --- the line ---------------------------------------------------------------------------------------------------------


async def test_t18_when_the_line_is_full_the_next_is_told_to_come_back_at_once(built: OpenHouse) -> None:
    async with pooled(built, "connections: {max: 1, queue: 1, wait: 4s}") as (house, service):
        service.reply = gate = Gate()
        served = in_background(house, "/1")
        await until(lambda: len(service.seen) == 1)
        waiting = in_background(house, "/2")
        await until(lambda: pool_of(house).waiting == 1)
        began_s = time.monotonic()

        turned_away = await house.get("/3")

        assert (turned_away.status, reason_of(turned_away)) == (503, "upstream_busy")
        assert time.monotonic() - began_s < 1
        # True: by then the one who waits has been served, or has been told the same.
        assert turned_away.headers["Retry-After"] == "4"
        gate.opened.set()
        assert [(await task).status for task in (served, waiting)] == [200, 200]
        assert (await house.get("/4")).status == 200


async def test_t18_who_has_waited_long_enough_is_told_to_come_back(built: OpenHouse) -> None:
    async with pooled(built, "connections: {max: 1, queue: 9, wait: 50ms}") as (house, service):
        service.reply = gate = Gate()
        served = in_background(house, "/1")
        await until(lambda: len(service.seen) == 1)

        turned_away = await house.get("/2")

        assert (turned_away.status, reason_of(turned_away)) == (503, "upstream_busy")
        assert turned_away.headers["Retry-After"] == "1"
        gate.opened.set()
        assert (await served).status == 200
        assert [seen.path for seen in service.seen] == ["/1"]
        assert is_at_rest(pool_of(house))


async def test_with_no_line_at_all_the_next_is_told_at_once(built: OpenHouse) -> None:
    async with pooled(built, "connections: {max: 1, queue: 0}") as (house, service):
        service.reply = gate = Gate()
        served = in_background(house, "/1")
        await until(lambda: len(service.seen) == 1)

        assert (await house.get("/2")).status == 503
        gate.opened.set()
        assert (await served).status == 200


async def test_who_waits_is_served_in_order_and_nobody_overtakes(built: OpenHouse) -> None:
    async with pooled(built, "connections: {max: 1, queue: 50, wait: 10s}") as (house, service):
        service.reply = gate = Gate()
        tasks = []
        for number in range(12):
            tasks.append(in_background(house, f"/{number}"))
            await until(lambda: len(service.seen) + pool_of(house).waiting == len(tasks))
        gate.opened.set()
        for task in tasks:
            assert (await task).status == 200

        assert [seen.path for seen in service.seen] == [f"/{number}" for number in range(12)]


async def test_a_client_that_goes_while_it_waits_leaves_the_line_and_takes_nothing(built: OpenHouse) -> None:
    async with pooled(built, "connections: {max: 1, queue: 1, wait: 10s}") as (house, service):
        service.reply = gate = Gate()
        served = in_background(house, "/1")
        await until(lambda: len(service.seen) == 1)
        _, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        writer.write(b"GET /gone HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: pool_of(house).waiting == 1)
        reset(writer)
        await until(lambda: pool_of(house).waiting == 0)
        after = in_background(house, "/2")
        await until(lambda: pool_of(house).waiting == 1)
        gate.opened.set()

        assert [(await task).status for task in (served, after)] == [200, 200]
        assert [seen.path for seen in service.seen] == ["/1", "/2"]
        assert is_at_rest(pool_of(house))


# --- the pool itself --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def bare(rules: ConnectionRules) -> AsyncIterator[tuple[Pool, Service]]:
    async with services() as (service,):
        upstream = Upstream("bare", f"{LOOPBACK}:{service.port}", LOOPBACK, service.port, connections=rules)
        pool = Pool(upstream, Hands())
        yield pool, service
        pool.close()


async def exchanged(pool: Pool, connection: Pooled) -> Pooled:
    """One exchange to its clean end, the connection not given back yet."""
    connection.begin(head_only=False, upgrade=False)
    connection.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await connection.head(1.0)
    while await connection.body(1.0):
        pass
    return connection


async def in_line(pool: Pool, count: int) -> "list[asyncio.Task[Pooled]]":
    tasks = [asyncio.get_running_loop().create_task(pool.take(1.0)) for _ in range(count)]
    await until(lambda: pool.waiting == count)
    return tasks


async def test_a_connection_for_one_who_was_just_cancelled_goes_to_the_next() -> None:
    async with bare(ConnectionRules(most=1)) as (pool, _):
        connection = await exchanged(pool, await pool.take(1.0))
        first, second = await in_line(pool, 2)
        pool.give_back(connection)
        first.cancel()

        assert await second is connection
        pool.give_back(await exchanged(pool, connection))
        assert is_at_rest(pool)


async def test_a_place_for_one_who_was_just_cancelled_goes_to_the_next() -> None:
    async with bare(ConnectionRules(most=1)) as (pool, service):
        connection = await pool.take(1.0)
        first, second = await in_line(pool, 2)
        pool.give_back(connection)  # nothing was asked on it, so it ends
        connection.has_place = False
        pool.lost(connection)  # as its socket's end will tell in a moment
        first.cancel()

        pool.give_back(await exchanged(pool, await second))
        assert is_at_rest(pool)
        assert service.peak == 1


async def test_whatever_is_cancelled_whenever_no_place_is_lost() -> None:
    async with bare(ConnectionRules(most=2, queue=50)) as (pool, service):

        async def use(number: int) -> None:
            connection = await pool.take(1.0)
            try:
                for _ in range(number % 3):
                    await asyncio.sleep(0)
                if number % 2:
                    await exchanged(pool, connection)
            finally:
                pool.give_back(connection)

        for turns in range(12):
            tasks = [asyncio.get_running_loop().create_task(use(number)) for number in range(20)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[turns % 3 :: 3]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        await until(lambda: is_at_rest(pool))
        assert service.peak <= 2
        assert (await pool.take(1.0)).is_open


async def test_a_connection_given_back_twice_is_given_back_once() -> None:
    async with bare(ConnectionRules(most=1)) as (pool, _):
        connection = await exchanged(pool, await pool.take(1.0))
        pool.give_back(connection)
        pool.give_back(connection)

        assert is_at_rest(pool)
        assert pool.idle == 1


async def test_a_connection_that_rested_too_long_makes_room_for_a_new_one() -> None:
    async with bare(ConnectionRules(most=1, queue=0)) as (pool, service):
        old = await exchanged(pool, await pool.take(1.0))
        pool.give_back(old)

        fresh = await pool.take(1.0, rested_s=0.0)

        assert fresh is not old
        assert service.connections == 2
        pool.give_back(await exchanged(pool, fresh))
        assert is_at_rest(pool)


async def test_a_service_that_is_not_there_holds_no_place() -> None:
    async with bare(ConnectionRules(most=1, queue=5)) as (pool, service):
        service.stop()
        outcomes = await asyncio.gather(*(pool.take(1.0) for _ in range(5)), return_exceptions=True)

        assert {type(outcome) for outcome in outcomes} == {UpstreamUnreachable}
        assert is_at_rest(pool)


async def test_the_time_to_come_back_is_when_the_first_in_line_has_left_it() -> None:
    async with bare(ConnectionRules(most=1, queue=1, wait_s=30.0)) as (pool, _):
        connection = await pool.take(1.0)
        (waiting,) = await in_line(pool, 1)
        clock = Hands()
        clock.offset_s = 12.5
        pool._mono_s = clock.mono_s

        with pytest.raises(UpstreamBusy) as busy:
            await pool.take(1.0)

        assert busy.value.retry_after_s == 18
        pool.give_back(connection)
        pool.give_back(await waiting)


@pytest.mark.parametrize(("keep_alive_s", "connections"), [(15.0, 1), (0.0, 3)], ids=["kept", "each for one request"])
async def test_connections_are_kept_as_long_as_is_said(keep_alive_s: float, connections: int) -> None:
    async with bare(ConnectionRules(most=1, keep_alive_s=keep_alive_s)) as (pool, service):
        for _ in range(3):
            pool.give_back(await exchanged(pool, await pool.take(1.0)))

        assert service.connections == connections


async def test_where_each_connection_is_for_one_request_nobody_is_given_a_used_one() -> None:
    async with bare(ConnectionRules(most=1, keep_alive_s=0.0)) as (pool, service):
        connection = await exchanged(pool, await pool.take(1.0))
        (waiting,) = await in_line(pool, 1)
        pool.give_back(connection)

        assert await waiting is not connection
        assert service.connections == 2
        pool.give_back(await waiting)


async def test_idle_connections_end_by_themselves_when_their_time_is_over() -> None:
    async with bare(ConnectionRules(keep_alive_s=0.05)) as (pool, service):
        taken = [await exchanged(pool, await pool.take(1.0)) for _ in range(3)]
        for connection in taken:
            pool.give_back(connection)

        assert pool.idle == 3
        await until(lambda: pool.idle == 0 and not service.writers)
        assert is_at_rest(pool)


async def test_a_connection_that_the_service_closes_while_idle_is_known_at_once() -> None:
    async with bare(ConnectionRules()) as (pool, service):
        pool.give_back(await exchanged(pool, await pool.take(1.0)))
        service.stop()

        await until(lambda: pool.idle == 0)
        assert is_at_rest(pool)


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("head", [b"GET /x HTTP/1.1", b"POST /x HTTP/1.1\r\nContent-Length: 0"], ids=["GET", "POST"])
async def test_a_connection_that_closes_as_a_request_comes_is_not_taken(
    built: OpenHouse, head: bytes, is_reset: bool
) -> None:
    request = head + b"\r\nHost: h\r\n\r\n"
    loop = asyncio.get_running_loop()
    with socket.create_server((LOOPBACK, 0)) as service, socket.socket() as client:
        service.setblocking(False)
        client.setblocking(False)
        top = f"  pooled: {{url: 'http://{LOOPBACK}:{service.getsockname()[1]}'}}"
        async with built(routes=ROUTES, top=top) as house:
            async with asyncio.timeout(5):
                await loop.sock_connect(client, (LOOPBACK, house.url.port))
                for _ in range(4):
                    # In one turn of the gateway's loop: the end of its connection, then the request.
                    client.send(request)
                    connection, _ = await loop.sock_accept(service)
                    await loop.sock_recv(connection, 65536)
                    await loop.sock_sendall(connection, OK)
                    assert (await loop.sock_recv(client, 65536)).startswith(b"HTTP/1.1 200 ")
                    if is_reset:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.close()

            pool = pool_of(house)
            await until(lambda: is_at_rest(pool))
            assert (pool.repeats, pool.repeats_refused) == (0, 0)


async def test_a_fault_while_a_request_is_sent_at_once_leaves_nothing_behind(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(*_: object) -> None:
        raise RuntimeError("a bug")

    assert (await house.get("/public/x")).status == 200
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "send", send)
        broken = await house.get("/public/x")

    assert (broken.status, reason_of(broken)) == (500, "internal_error")
    assert is_at_rest(pool_of(house, "legacy"))
    assert not house.gateway.upstreams.deadlines._waiting
    assert (await house.get("/public/x")).status == 200


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
async def test_a_connection_that_is_found_closed_while_a_request_is_sent_is_the_upstreams_fault(
    house: House, monkeypatch: pytest.MonkeyPatch, method: str, status: int
) -> None:
    def send(*_: object) -> None:
        raise Stale("the connection was closed")

    assert (await house.get("/public/x")).status == 200
    monkeypatch.setattr(Connection, "send", send)
    reply = await house.send(method, "/public/x")

    assert reply.status == status
    assert status == 200 or reason_of(reply) == "upstream_bad_reply"
    assert len(house.upstream.seen) == (2 if status == 200 else 1)
    await until(lambda: is_at_rest(pool_of(house, "legacy")))
    assert not house.gateway.upstreams.deadlines._waiting


# --- what holds a place -----------------------------------------------------------------------------------------------


async def test_a_tunnel_holds_its_place_until_it_ends(built: OpenHouse) -> None:
    async def socket(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if seen.path != "/ws":
            writer.write(OK)
            return True
        writer.write(SWITCHED)
        await reader.read()
        return False

    async with pooled(built, "connections: {max: 1, queue: 0}") as (house, service):
        service.reply = socket
        reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        writer.write(SOCKET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")

        meanwhile = await house.get("/x")
        writer.close()
        await until(lambda: is_at_rest(pool_of(house)))
        afterwards = await house.get("/x")

        assert (meanwhile.status, afterwards.status) == (503, 200)
        assert service.connections == 2


async def test_an_upstream_that_never_hears_of_a_tunnels_end_holds_no_place_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = asyncio.Event()

    async def deaf(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(SWITCHED)
        await over.wait()
        return False

    monkeypatch.setattr("gateway.pool._LINGER_S", 0.05)
    async with bare(ConnectionRules(most=1)) as (pool, service):
        service.reply = deaf
        connection = await pool.take(1.0)
        connection.begin(head_only=False, upgrade=True)
        connection.write(SOCKET)
        await connection.head(1.0)
        while connection.unsent_bytes < 100_000:
            connection.write(bytes(65_536))
            await asyncio.sleep(0)
        pool.give_back(connection)

        assert not is_at_rest(pool)
        await until(lambda: is_at_rest(pool))


def _mixed() -> Iterator[tuple[str, bytes]]:
    """Paths, and what the service answers there."""
    yield "/plain", OK
    yield "/close", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    yield "/chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    yield "/broken", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
    yield "/half", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
    yield "/nothing", b""
    yield "/nonsense", b"SSH-2.0-OpenSSH\r\n\r\n"
    yield "/more", OK + b"unasked"
    yield "/ws", SWITCHED + b"bye"
    yield "/early", b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"


async def test_nothing_is_left_of_a_thousand_mixed_exchanges(built: OpenHouse) -> None:
    replies = dict(_mixed())
    ends = ("/half", "/nothing", "/ws", "/early")

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if seen.path == "/post":
            await read_body(seen, reader)
        writer.write(replies.get(seen.path, OK))
        await asyncio.sleep(0)
        return seen.path not in ends

    async with pooled(built, "connections: {max: 8, queue: 20, wait: 1s}") as (house, service):
        service.reply = answer
        paths = [*replies, "/post", "/gone"]

        async def one(number: int) -> None:
            path = paths[number % len(paths)]
            reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
            if path == "/ws":
                writer.write(SOCKET)
            elif path in ("/post", "/early"):
                writer.write(f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n".encode())
                writer.write(b"body" if path == "/post" else b"")
            else:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
            if path == "/gone":
                await asyncio.sleep(0.001 * (number % 5))
                reset(writer)
                return
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
            writer.close()

        for start in range(0, 1000, 25):
            await asyncio.gather(*(one(number) for number in range(start, start + 25)))

        pool = pool_of(house)
        await until(lambda: is_at_rest(pool))
        assert service.peak <= 8
        assert len(service.seen) > 500
        assert (await house.get("/plain")).status == 200
        connections = await scraped(house, "gateway_upstream_connections")
        assert connections['{state="busy",upstream="pooled"}'] == 0
        assert connections['{state="idle",upstream="pooled"}'] == pool.idle
        assert (await scraped(house, "gateway_upstream_waiting"))['{upstream="pooled"}'] == 0


# --- repeats ----------------------------------------------------------------------------------------------------------


async def test_repeats_end_with_their_budget(built: OpenHouse) -> None:
    async with pooled(built, "retry: {budget: 0%, floor: 2}") as (house, service):
        uses: dict[asyncio.StreamReader, int] = {}

        async def once(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            uses[reader] = uses.get(reader, 0) + 1
            if uses[reader] == 2:
                return False  # closes under the hands of the second request on it
            writer.write(OK)
            return True

        service.reply = once
        statuses = [(await house.get("/x")).status for _ in range(4)]

        assert statuses == [200, 200, 200, 502]
        retries = await scraped(house, "gateway_upstream_retries_total")
        assert retries['{outcome="repeated",upstream="pooled"}'] == 2
        assert retries['{outcome="over_budget",upstream="pooled"}'] == 1


async def test_nothing_is_left_where_requests_were_repeated(built: OpenHouse) -> None:
    async with pooled(built, "connections: {max: 2, queue: 0}") as (house, service):
        uses: dict[asyncio.StreamReader, int] = {}

        async def once(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            uses[reader] = uses.get(reader, 0) + 1
            if uses[reader] == 2:
                return False
            writer.write(OK)
            return True

        service.reply = once
        statuses = [(await house.get("/x")).status for _ in range(8)]

        assert statuses == [200] * 8
        assert pool_of(house).repeats == 7
        assert is_at_rest(pool_of(house))


async def test_repeats_never_double_the_load_of_a_service_that_is_dying() -> None:
    rules = RetryRules(0.2, 10)
    async with bare(ConnectionRules()) as (pool, service):
        upstream = replace(pool.upstream, others=(pool.upstream.targets[0],), retry=rules)
        service.stop()
        both = Pool(upstream, Hands())

        outcomes = await asyncio.gather(*(both.take(1.0) for _ in range(200)), return_exceptions=True)

        assert {type(outcome) for outcome in outcomes} == {UpstreamUnreachable}
        assert both.repeats == 40
        assert is_at_rest(both)
        both.close()
