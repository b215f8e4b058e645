"""Processes that die, reload and stop: programs of their own, real signals, requests under way."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.asking import Asking
from tests.conftest import WORKER_KEY, Seen, cookie_header, reason_of, set_cookies
from tests.workers.conftest import Fleet, OpenFleet, running_worker
from tests.workers.test_promises import ADA, BOB, bearer, echo, opened, statuses

OPEN = """
routes:
  - {id: one, match: {path: "/**"}, auth: public, upstream: legacy}
"""
CLOSED = OPEN.replace("auth: public", "auth: session")


@dataclass
class Load:
    """Clients that ask again and again, each on a connection that it keeps, until told to stop."""

    answers: list[int] = field(default_factory=list)
    lost: int = 0


@asynccontextmanager
async def load_on(
    fleet: Fleet, clients: int, path: str = "/public/x", headers: dict[str, str] | None = None
) -> AsyncIterator[Load]:
    load, going = Load(), True

    async def ask() -> None:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            while going:
                try:
                    async with http.get(URL(str(fleet.url) + path), headers=headers) as reply:
                        await reply.read()
                        load.answers.append(reply.status)
                except aiohttp.ClientError:
                    load.lost += 1
                await asyncio.sleep(0.005)

    asking = [asyncio.ensure_future(ask()) for _ in range(clients)]
    while len(load.answers) < 2 * clients:
        await asyncio.sleep(0.01)
    try:
        yield load
    finally:
        going = False
        await asyncio.gather(*asking)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"


async def until_gone(pids: list[int]) -> None:
    async with asyncio.timeout(15):
        while any(map(is_alive, pids)):
            await asyncio.sleep(0.02)


# --- deaths -----------------------------------------------------------------------------------------------------------


async def test_a_killed_worker_loses_only_what_it_carried_and_is_replaced(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        before = fleet.pids["worker 1"]
        async with load_on(fleet, 20) as load:
            await fleet.replaced("worker 1")
            seen = len(load.answers)
            while len(load.answers) < seen + 100:
                await asyncio.sleep(0.01)

        assert set(load.answers) == {200}
        assert load.lost <= 20  # one for each client at most: what was on the killed worker's connections
        assert fleet.pids["worker 1"] != before
        assert [one["how"] for one in fleet.events("died")] == ["SIGKILL"]
        assert await fleet.metric("gateway_worker_ends_total") == 1


async def test_a_killed_keeper_loses_no_request_of_those_who_are_known(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        headers = cookie_header(fleet.cookies(ADA))
        async with load_on(fleet, 20, "/x", headers) as load:
            await fleet.replaced("keeper")

        assert set(load.answers) == {200}
        assert load.lost == 0


async def test_while_the_keeper_is_gone_who_needs_descope_is_told_to_come_again(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        old, valid = fleet.cookies(BOB, expired=True), fleet.cookies(ADA)
        fleet.emulator.fault("refresh", delay_s=5.0, times=1)
        asking = asyncio.ensure_future(fleet.get("/x", headers=cookie_header(old)))
        while not fleet.emulator.count("refresh"):
            await asyncio.sleep(0.01)
        fleet.kill("keeper")
        reply = await asking
        known = await fleet.many(8, headers=cookie_header(valid))

        assert reply.status == 503
        assert reason_of(reply) == "identity_provider_unavailable"
        assert int(reply.headers["Retry-After"]) >= 1
        assert "Set-Cookie" not in reply.headers
        assert statuses(known) == {200}


async def test_no_session_is_lost_with_a_keeper_or_a_worker(fleet_of: OpenFleet) -> None:
    """Renewed, with rotation on, and before its client is known to have it; then everybody but the parent dies."""
    async with fleet_of() as fleet:
        fleet.emulator.configure(refresh_rotation="on")
        sessions = [fleet.cookies(person, expired=True) for person in (ADA, BOB) for _ in range(5)]
        renewed = [set_cookies(await fleet.get("/x", headers=cookie_header(one))) for one in sessions]
        for name in ("keeper", "worker 1", "worker 2", "keeper"):
            await fleet.replaced(name)
        late = [[set_cookies(reply) for reply in await fleet.many(4, headers=cookie_header(one))] for one in sessions]
        again = [await fleet.many(4, headers=cookie_header(one)) for one in renewed]

        assert [{one["DSR"] for one in replies} for replies in late] == [{one["DSR"]} for one in renewed]
        assert {status for replies in again for status in statuses(replies)} == {200}
        assert fleet.emulator.count("reuse_detected") == 0
        assert fleet.emulator.count("refresh") == 10


async def test_t15_what_was_signed_out_stays_so_when_the_keeper_and_the_workers_die(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        cookies, other = fleet.cookies(ADA), fleet.cookies(BOB)
        await fleet.send("POST", "/.auth/logout", headers=cookie_header(cookies))
        await fleet.send("POST", "/.auth/logout-all", headers=cookie_header(other))
        for name in ("keeper", "worker 1", "worker 2"):
            await fleet.replaced(name)

        assert statuses(await fleet.many(12, headers=cookie_header(cookies))) == {401}
        assert statuses(await fleet.many(12, headers=cookie_header(other))) == {401}


async def test_t16_a_rest_outlives_the_keeper_that_was_told_of_it(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        old = fleet.cookies(BOB, expired=True)
        fleet.emulator.fault("refresh", status=429, headers={"Retry-After": "60"}, times=None)
        await fleet.get("/x", headers=cookie_header(old))
        await fleet.replaced("keeper")
        replies = await fleet.many(8, headers=cookie_header(old))

        assert {reason_of(reply) for reply in replies} == {"identity_provider_busy"}
        assert fleet.emulator.count("refresh") == 1


async def test_an_exchanged_key_outlives_the_keeper(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        await fleet.get("/jobs/x", headers=bearer(WORKER_KEY))
        await fleet.replaced("keeper")

        assert statuses(await fleet.many(12, "/jobs/x", headers=bearer(WORKER_KEY))) == {200}
        assert fleet.emulator.count("exchange") == 1


async def test_counters_never_go_down_whoever_is_killed(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        told = []
        for name in ("worker 1", "keeper", "worker 2", "keeper"):
            await fleet.many(30, "/public/x")
            told.append(await fleet.metric("gateway_requests_total", route="public"))
            await fleet.replaced(name)
            told.append(await fleet.metric("gateway_requests_total", route="public"))

        assert told == [30, 30, 60, 60, 90, 90, 120, 120]


async def test_what_a_dead_worker_had_open_counts_no_more(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        await fleet.many(30, "/public/x")
        before = await fleet.metric("gateway_upstream_connections")
        for name in ("worker 1", "worker 2"):
            await fleet.replaced(name)

        assert before > 0
        assert await fleet.metric("gateway_upstream_connections") == 0


async def test_a_stream_goes_on_while_the_keeper_is_replaced_and_ends_with_a_later_sign_out(
    fleet_of: OpenFleet,
) -> None:
    async with fleet_of() as fleet:
        fleet.upstream.reply = echo
        cookies = fleet.cookies(ADA)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            sockets = [await opened(fleet, http, cookies) for _ in range(6)]
            await fleet.replaced("keeper")
            for socket in sockets:
                await socket.send_str("still here")
            heard = {(await socket.receive()).data for socket in sockets}
            await fleet.send("POST", "/.auth/logout", headers=cookie_header(cookies))
            async with asyncio.timeout(5):
                ends = {(await socket.receive()).data for socket in sockets}

        assert heard == {"still here"}
        assert ends == {1008}


async def test_without_their_parent_the_others_finish_what_runs_and_end(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        let = fleet.hold_back()
        pids = list(fleet.pids.values())
        asking = asyncio.ensure_future(fleet.many(6, "/public/x"))
        while len(fleet.upstream.seen) < 6:
            await asyncio.sleep(0.01)
        fleet.process.kill()
        await fleet.process.wait()
        await asyncio.sleep(0.1)
        let.set()

        assert statuses(await asking) == {200}
        await until_gone(pids)
        assert fleet.events("the parent is gone; the workers finish what runs, and all ends")


# --- reload -----------------------------------------------------------------------------------------------------------


async def test_a_reload_reaches_all_workers_and_those_that_come_later(fleet_of: OpenFleet) -> None:
    async with fleet_of(routes=OPEN) as fleet:
        assert statuses(await fleet.many(12)) == {200}
        fleet.route_file.write_text(fleet.text(routes=CLOSED))
        fleet.process.send_signal(signal.SIGHUP)
        taken = (await fleet.until_logged("route file taken up"))[0]["version"]
        await fleet.until_ready(taken)
        assert statuses(await fleet.many(12)) == {401}
        for name in ("worker 1", "keeper", "worker 2"):
            await fleet.replaced(name)
            assert statuses(await fleet.many(12)) == {401}
            assert taken in (await fleet.asked("/readyz")).text


async def test_a_bad_route_file_reaches_no_worker_and_is_told_once(fleet_of: OpenFleet) -> None:
    async with fleet_of(routes=OPEN) as fleet:
        serving = (await fleet.asked("/readyz")).text
        fleet.route_file.write_text(fleet.text(routes=CLOSED + "  - nonsense\n"))
        fleet.process.send_signal(signal.SIGHUP)
        told = await fleet.until_logged("route file not taken up, the old one serves on")

        assert f"{fleet.route_file}:" in told[0]["problems"][0]
        assert len(told) == 1
        assert statuses(await fleet.many(12)) == {200}
        assert await fleet.metric("gateway_config_reload_success") == 0
        assert (await fleet.asked("/readyz")).text == serving


async def test_sighup_reads_a_file_anew_that_seems_to_be_the_same(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        fleet.process.send_signal(signal.SIGHUP)

        assert len(await fleet.until_logged("route file taken up")) == 1


async def test_a_swapped_symbolic_link_is_a_reload_of_all(fleet_of: OpenFleet) -> None:
    async with fleet_of(routes=OPEN) as fleet:
        other = fleet.route_file.with_name("other.yaml")
        other.write_text(fleet.text(routes=CLOSED))
        link = fleet.route_file.with_name("link")
        link.symlink_to(other)
        link.replace(fleet.route_file)
        await fleet.until_logged("route file taken up")

        assert statuses(await fleet.many(12)) == {401}


@pytest.mark.timeout(60)
async def test_two_hundred_reloads_of_two_workers_drop_no_request_and_leak_nothing(fleet_of: OpenFleet) -> None:
    async with fleet_of(routes=OPEN) as fleet:
        names = ("keeper", "worker 1", "worker 2")

        def held() -> list[int]:
            return [len(list(Path(f"/proc/{fleet.pids[name]}/fd").iterdir())) for name in names]

        def memory_kib() -> list[int]:
            lines = [Path(f"/proc/{fleet.pids[name]}/status").read_text().split("VmRSS:")[1] for name in names]
            return [int(text.split()[0]) for text in lines]

        async def reloaded(times: int) -> None:
            before = len(fleet.events("route file taken up"))
            for count in range(before, before + times):
                routes = OPEN if count % 2 else OPEN + '  - {id: two, match: {path: "/two"}, upstream: legacy}\n'
                fleet.route_file.write_text(fleet.text(routes=routes))
                fleet.process.send_signal(signal.SIGHUP)
                await fleet.until_logged("route file taken up", count + 1)

        async with load_on(fleet, 8) as load:
            await reloaded(40)
            before, memory = held(), memory_kib()
            await reloaded(160)
            grown = [now - then for now, then in zip(memory_kib(), memory, strict=True)]
            more = [now - then for now, then in zip(held(), before, strict=True)]

        assert set(load.answers) == {200}
        assert load.lost == 0
        assert max(more) <= 2  # a connection to the service or to a client more or less
        assert max(grown) < 8 * 1024


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_stop_under_load_cuts_nothing_off_and_refuses_nothing_before_the_delay_is_over(
    fleet_of: OpenFleet, number: signal.Signals
) -> None:
    async with fleet_of(top="shutdown: {delay: 2s, grace: 5s}") as fleet:
        pids = list(fleet.pids.values())
        async with Asking.on(fleet.url.port or 0, 200) as asking:
            began_s = time.monotonic()
            fleet.process.send_signal(number)
            async with asyncio.timeout(2):
                while (ready := await fleet.asked("/readyz")).status == 200:
                    await asyncio.sleep(0.01)
            asking.join()

        assert ready.text.startswith("stopping")
        asking.require_nobody_cut_off()
        assert min(asking.told_s) - began_s > 1.9
        assert set(asking.answers) == {b"200"}
        assert await fleet.ended() == 0
        assert not any(map(is_alive, pids))


async def test_a_stop_tells_the_streams_of_all_workers(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        fleet.upstream.reply = echo
        cookies = fleet.cookies(ADA)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            sockets = [await opened(fleet, http, cookies) for _ in range(8)]
            fleet.process.terminate()
            async with asyncio.timeout(5):
                ends = {(await socket.receive()).data for socket in sockets}
            for socket in sockets:
                await socket.close()

        assert ends == {1001}
        assert await fleet.ended() == 0


# --- what cannot be ---------------------------------------------------------------------------------------------------


async def test_a_folder_where_workers_cannot_meet_is_told_with_the_remedy(fleet_of: OpenFleet, tmp_path: Path) -> None:
    nowhere = tmp_path / ("long" * 30)
    nowhere.mkdir()
    async with fleet_of(environment={"TMPDIR": str(nowhere)}, is_ready=False) as fleet:
        assert await fleet.ended() == 1
        assert "set TMPDIR" in fleet.log_file.read_text()
        assert "Traceback" not in fleet.log_file.read_text()


async def test_what_a_worker_finds_wrong_at_start_ends_the_whole_with_one_message(
    fleet_of: OpenFleet, tmp_path: Path
) -> None:
    async with fleet_of(top=f"audit: {{file: {tmp_path / 'none' / 'audit'}}}", is_ready=False) as fleet:
        assert await fleet.ended() == 1
        said = fleet.log_file.read_text()
        assert said.count("audit.file") == 1
        assert fleet.events("died") == []
        assert "Traceback" not in said
        assert fleet.events("serving") == []


async def test_when_no_worker_stays_up_the_whole_gives_up_aloud(fleet_of: OpenFleet) -> None:
    async with fleet_of(pace="first_s=0.01, longest_s=0.05, tries=3") as fleet:
        for _ in range(3):
            for name in ("worker 1", "worker 2"):
                before = len(fleet.events("started"))
                fleet.kill(name)
                while len(fleet.events("started")) == before and not fleet.events("giving up: no worker stays up"):
                    await asyncio.sleep(0.01)

        assert await fleet.ended() == 1
        assert len(fleet.events("giving up: no worker stays up")) == 1
        assert [one["next_in_s"] for one in fleet.events("died") if one["died"] == "worker 1"] == [0.0, 0.01, 0.02]


async def test_ready_is_said_when_all_serve_and_not_before(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        fleet.process.send_signal(signal.SIGSTOP)  # so that it replaces nobody for a moment
        fleet.kill("worker 1")
        async with asyncio.timeout(5):
            while (reply := await fleet.asked("/readyz")).status == 200:
                await asyncio.sleep(0.01)
        fleet.process.send_signal(signal.SIGCONT)
        await fleet.until_ready()

        assert (reply.status, reply.text.splitlines()[0]) == (503, "1 of 2 workers serve")


async def test_a_worker_that_hangs_is_killed_when_the_grace_is_over(fleet_of: OpenFleet) -> None:
    async with fleet_of(pace="over_grace_s=0.2", top="shutdown: {grace: 0s}") as fleet:
        pids = list(fleet.pids.values())
        os.kill(fleet.pids["worker 1"], signal.SIGSTOP)
        fleet.process.terminate()

        assert await fleet.ended() == 0
        assert not any(map(is_alive, pids))


async def test_a_second_interrupt_ends_all_at_once(fleet_of: OpenFleet) -> None:
    async with fleet_of(top="shutdown: {grace: 60s}") as fleet:

        async def never(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            await asyncio.Event().wait()
            return False

        fleet.upstream.reply = never
        pids = list(fleet.pids.values())
        asking = asyncio.ensure_future(fleet.get("/public/x"))
        while not fleet.upstream.seen:
            await asyncio.sleep(0.01)
        fleet.process.send_signal(signal.SIGINT)
        while (await fleet.asked("/readyz")).status == 200:
            await asyncio.sleep(0.01)
        fleet.process.send_signal(signal.SIGINT)

        assert await fleet.ended() == 130
        assert not any(map(is_alive, pids))
        with pytest.raises(aiohttp.ClientError):
            await asking


async def test_a_new_keeper_answers_nobody_before_it_has_heard_every_worker(fleet_of: OpenFleet) -> None:
    """One worker is held still; what it knows may be what keeps a spent refresh token from Descope."""
    async with fleet_of() as fleet:
        cookies = cookie_header(fleet.cookies(ADA, expired=True))
        os.kill(fleet.pids["worker 2"], signal.SIGSTOP)
        try:
            async with running_worker(fleet) as (reader, writer):
                loop = asyncio.get_running_loop()
                began_s, status = loop.time(), b""
                fleet.kill("keeper")
                while not status.startswith(b"HTTP/1.1 200 "):
                    writer.write(f"GET /x HTTP/1.1\r\nHost: h\r\nCookie: {cookies['Cookie']}\r\n\r\n".encode())
                    status = await reader.readuntil(b"\r\n\r\n")
                    size = re.search(rb"Content-Length: ([0-9]+)", status)
                    await reader.readexactly(int(size[1]) if size is not None else 0)
                waited_s = loop.time() - began_s
        finally:
            os.kill(fleet.pids["worker 2"], signal.SIGCONT)

        assert waited_s > 2.0
