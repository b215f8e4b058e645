"""SIGTERM's work: what runs goes on to its end, and nothing waits twice."""

import asyncio
import time

from tests.asking import Asking
from tests.conftest import LOOPBACK, OpenHouse, Seen
from tests.wire.test_exchanges import UPGRADE, echo_socket

SHORT = "shutdown: {grace: 500ms}"


async def test_an_upload_that_runs_is_finished_and_its_reply_is_the_last_one(built: OpenHouse) -> None:
    async with built(top=SHORT) as house:
        reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        writer.write(b"POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nfour")
        while not house.upstream.seen:
            await asyncio.sleep(0.01)
        stopping = asyncio.ensure_future(house.gateway.stop())
        await asyncio.sleep(0.05)
        writer.write(b"more")
        reply = await reader.read()
        await stopping
        writer.close()

        assert reply.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in reply
        assert house.upstream.last.body == b"fourmore"


async def test_an_open_socket_works_until_the_grace_is_over_and_is_waited_for_once(built: OpenHouse) -> None:
    async with built(top="shutdown: {grace: 2s}") as house:
        house.upstream.reply = echo_socket
        reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        writer.write(UPGRADE % b"")
        await reader.readuntil(b"hello")
        started_s = time.monotonic()
        stopping = asyncio.ensure_future(house.gateway.stop())
        await asyncio.sleep(0.05)
        writer.write(b"two")
        echoed = await reader.readexactly(3)
        rest = await reader.read()
        await stopping
        writer.close()

        assert (echoed, rest) == (b"two", b"")
        assert 1.9 < time.monotonic() - started_s < 3.8  # twice would be four


async def test_idle_connections_do_not_keep_the_gateway(built: OpenHouse) -> None:
    async with built(top="shutdown: {grace: 10s}") as house:
        reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        writer.write(b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"ok")
        started_s = time.monotonic()
        await house.gateway.stop()
        writer.close()

        assert time.monotonic() - started_s < 5


async def test_while_stopping_the_gateway_says_it_is_not_ready_and_serves_until_the_delay_is_over(
    built: OpenHouse,
) -> None:
    async with built(top="shutdown: {delay: 200ms, grace: 1s}") as house:
        stopping = asyncio.ensure_future(house.gateway.stop())
        await asyncio.sleep(0.05)
        ready = await house.http.get(f"{house.admin}/readyz")
        served = await house.get("/public/x")
        await stopping

        assert ready.status == 503
        assert served.status == 200


async def test_a_request_that_hangs_is_ended_with_the_grace(built: OpenHouse) -> None:
    async def never(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.read()
        return False

    async with built(top=SHORT) as house:
        house.upstream.reply = never
        _, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        writer.write(b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n")
        while not house.upstream.seen:
            await asyncio.sleep(0.01)
        started_s = time.monotonic()
        await house.gateway.stop()
        writer.close()

        assert time.monotonic() - started_s < 5


async def test_a_stop_under_load_cuts_nothing_off_and_refuses_nothing_before_the_delay_is_over(
    built: OpenHouse,
) -> None:
    async with built(top="shutdown: {delay: 2s, grace: 5s}") as house:
        async with Asking.on(house.url.port or 0, 200) as asking:
            began_s = time.monotonic()
            stopping = asyncio.ensure_future(house.gateway.stop())
            await asyncio.sleep(0)
            asking.join()
            await stopping

        asking.require_nobody_cut_off()
        assert min(asking.told_s) - began_s > 1.9
        assert set(asking.answers) == {b"200"}
