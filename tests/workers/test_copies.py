"""What one process learns, the others know: by what is told at once, and by what a newcomer is told."""

import asyncio
import json
import os
import signal
from base64 import urlsafe_b64decode
from collections.abc import Callable

import aiohttp
import pytest

from tests.conftest import OK, WORKER_KEY, Reply, cookie_header, reason_of, set_cookies
from tests.workers.conftest import Fleet, OpenFleet, running_worker
from tests.workers.test_promises import ADA, BOB, bearer, echo, statuses


async def until(fleet: Fleet, is_so: Callable[[list[Reply]], bool], headers: dict[str, str], path: str = "/x") -> None:
    """Ask until all workers answer so."""
    async with asyncio.timeout(8):
        while not is_so(await fleet.many(20, path, headers=headers)):
            await asyncio.sleep(0.05)


async def test_what_was_delivered_is_forgotten_by_all_after_the_grace(fleet_of: OpenFleet) -> None:
    async with fleet_of(top="refresh: {grace: 500ms}") as fleet:
        fleet.emulator.configure(refresh_rotation="on")
        old = cookie_header(fleet.cookies(ADA, expired=True))
        renewed = await fleet.get("/x", headers=old)
        await until(fleet, lambda replies: statuses(replies) == {401}, old)

        assert renewed.status == 200
        assert fleet.emulator.count("refresh") == 1
        assert fleet.emulator.count("reuse_detected") == 0


async def test_a_spent_refresh_token_is_not_sent_to_descope_by_a_new_keeper(fleet_of: OpenFleet) -> None:
    async with fleet_of(top="refresh: {grace: 500ms}") as fleet:
        fleet.emulator.configure(refresh_rotation="on")
        old = cookie_header(fleet.cookies(ADA, expired=True))
        new = set_cookies(await fleet.get("/x", headers=old))
        await until(fleet, lambda replies: statuses(replies) == {401}, old)
        await fleet.replaced("keeper")
        again = await fleet.many(8, headers=old)

        assert statuses(again) == {401}
        assert fleet.emulator.count("reuse_detected") == 0
        assert statuses(await fleet.many(8, headers=cookie_header(new))) == {200}


async def test_t13_a_withdrawn_key_stops_on_all_workers_as_soon_as_one_has_looked(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        before = cookie_header(fleet.cookies(ADA))
        assert statuses(await fleet.many(8, headers=before)) == {200}
        fleet.emulator.rotate_keys(keep_old=False)
        after = cookie_header(fleet.cookies(BOB))
        first = await fleet.get("/x", headers=after)

        assert first.status == 200
        await until(fleet, lambda replies: statuses(replies) == {401}, before)
        assert statuses(await fleet.many(8, headers=after)) == {200}


async def test_t14_a_key_that_is_refused_once_is_refused_by_all_from_memory(fleet_of: OpenFleet) -> None:
    async with fleet_of(top="access_keys: {remember: 1s, max_stale: 1s}") as fleet:
        assert statuses(await fleet.many(8, "/jobs/x", headers=bearer(WORKER_KEY))) == {200}
        fleet.emulator.fault("exchange", status=401, times=None)
        await until(fleet, lambda replies: statuses(replies) == {401}, bearer(WORKER_KEY), "/jobs/x")
        asked = fleet.emulator.count("exchange")
        refused = await fleet.many(12, "/jobs/x", headers=bearer(WORKER_KEY))

        assert {reason_of(reply) for reply in refused} == {"access_key_refused"}
        assert fleet.emulator.count("exchange") == asked


async def test_t24_streams_of_a_refused_access_key_end_on_all_workers(fleet_of: OpenFleet) -> None:
    async with fleet_of(top="access_keys: {remember: 1s, max_stale: 1s}") as fleet:
        fleet.upstream.reply = echo
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            where = str(fleet.url) + "/jobs/ws"
            sockets = [await http.ws_connect(where, headers=bearer(WORKER_KEY), autoclose=False) for _ in range(10)]
            fleet.upstream.reply = OK
            fleet.emulator.fault("exchange", status=401, times=None)
            await until(fleet, lambda replies: statuses(replies) == {401}, bearer(WORKER_KEY), "/jobs/x")
            async with asyncio.timeout(5):
                ends = {(await socket.receive()).data for socket in sockets}

        assert ends == {1008}


async def test_a_remembered_key_serves_while_there_is_no_keeper_and_not_for_ever(fleet_of: OpenFleet) -> None:
    async with fleet_of(top="access_keys: {remember: 1s, max_stale: 3s}") as fleet:
        assert statuses(await fleet.many(8, "/jobs/x", headers=bearer(WORKER_KEY))) == {200}
        os.kill(fleet.pids["keeper"], signal.SIGSTOP)
        try:
            known = await fleet.many(4, "/jobs/x", headers=bearer(WORKER_KEY))
        finally:
            os.kill(fleet.pids["keeper"], signal.SIGCONT)

        assert statuses(known) == {200}


async def test_t15_a_session_begun_after_a_sign_out_everywhere_counts_on_all_workers(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        old = fleet.cookies(ADA)
        await fleet.send("POST", "/.auth/logout-all", headers=cookie_header(old))
        form = {"login_id": ADA, "password": "ada-demo-password"}
        begun = await fleet.send("POST", "/.auth/login", data=form)
        fresh = cookie_header(set_cookies(begun))
        before = await fleet.many(12, headers=fresh)
        for name in ("keeper", "worker 1"):
            await fleet.replaced(name)

        assert statuses(before) == {200}
        assert statuses(await fleet.many(12, headers=fresh)) == {200}
        assert statuses(await fleet.many(12, headers=cookie_header(old))) == {401}


@pytest.mark.parametrize("name", ["DS", "DSR"])
async def test_t15_a_sign_out_is_answered_when_every_worker_has_heard_of_it(fleet_of: OpenFleet, name: str) -> None:
    """One worker is held still, and the other gets the sign-out: it waits, though not for ever."""
    async with fleet_of() as fleet:
        cookies = cookie_header({name: fleet.cookies(ADA)[name]})
        line = f"Host: h\r\nCookie: {cookies['Cookie']}\r\n"
        os.kill(fleet.pids["worker 2"], signal.SIGSTOP)
        try:
            async with running_worker(fleet) as (reader, writer):
                loop = asyncio.get_running_loop()
                began_s = loop.time()
                writer.write(f"POST /.auth/logout HTTP/1.1\r\n{line}Content-Length: 0\r\n\r\n".encode())
                answer = await reader.readuntil(b"\r\n\r\n")
                waited_s = loop.time() - began_s
        finally:
            os.kill(fleet.pids["worker 2"], signal.SIGCONT)

        assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 204", b"HTTP/1.1 303"))
        assert 0.8 < waited_s < 4


def key_id(assertion: str | None) -> str:
    assert assertion is not None
    head = assertion.partition(".")[0]
    return str(json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


async def test_all_workers_sign_assertions_with_one_key_whoever_dies(fleet_of: OpenFleet) -> None:
    async with fleet_of(upstream=", assertion: true") as fleet:
        headers = cookie_header(fleet.cookies(ADA))

        async def seen() -> tuple[set[str], set[str]]:
            fleet.upstream.seen.clear()
            await fleet.many(12, headers=headers)
            published = await fleet.many(8, "/.auth/jwks.json")
            names = {key["kid"] for reply in published for key in json.loads(reply.body)["keys"]}
            return {key_id(one.value("x-auth-assertion")) for one in fleet.upstream.seen}, names

        first = await seen()
        for name in ("keeper", "worker 1", "worker 2"):
            await fleet.replaced(name)

        assert len(first[0]) == 1
        assert first[0] == first[1]
        assert await seen() == first


async def test_a_tenant_that_was_chosen_on_one_worker_is_chosen_on_all(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        cookies = fleet.cookies("cleo@example.com")
        body = {"tenant": "acme"}
        reply = await fleet.send("POST", "/.auth/tenant", json=body, headers=cookie_header(cookies))
        late = await fleet.many(8, "/.auth/me", headers=cookie_header(set_cookies(reply) or cookies))

        assert reply.status == 200
        assert {json.loads(one.body)["tenant"] for one in late} == {"acme"}
