"""Two things that go wrong at once, processes that hang, and signals that come at the wrong moment."""

import asyncio
import os
import resource
import shutil
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import certifi
import pytest

from gateway.core.errors import ConfigError
from gateway.workers.plan import Meeting
from tests.authority import authority
from tests.conftest import LOOPBACK, cookie_header
from tests.test_listener_tls import NAME, serial, serial_of
from tests.workers.conftest import Fleet, OpenFleet
from tests.workers.test_copies import key_id
from tests.workers.test_processes import CLOSED, OPEN, is_alive
from tests.workers.test_promises import ADA, BOB, statuses

GONE = "the keeper is gone; what only Descope can tell is 503 until another has taken its place"


@asynccontextmanager
async def held(fleet: Fleet, *names: str) -> AsyncIterator[None]:
    """These do nothing meanwhile; "parent" is the one that was started."""
    pids = [fleet.process.pid if name == "parent" else fleet.pids[name] for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def until_serving(fleet: Fleet, count: int) -> None:
    """So many processes have begun, and all serve."""
    await fleet.until_logged("started", count)
    await fleet.until_ready()


async def test_a_sigterm_to_all_processes_at_once_is_one_to_the_parent(fleet_of: OpenFleet) -> None:
    async with fleet_of(top="shutdown: {delay: 1s, grace: 3s}") as fleet:
        fleet.emulator.configure(refresh_rotation="on")
        one, two = (cookie_header(fleet.cookies(person, expired=True)) for person in (ADA, BOB))
        fleet.emulator.fault("refresh", delay_s=0.5, times=1)
        asking = asyncio.ensure_future(fleet.get("/x", headers=one))
        while not fleet.emulator.count("refresh"):
            await asyncio.sleep(0.01)
        for pid in (fleet.process.pid, *fleet.pids.values()):
            os.kill(pid, signal.SIGTERM)
        late = await fleet.get("/x", headers=two)

        assert ((await asking).status, late.status) == (200, 200)
        assert await fleet.ended() == 0


@pytest.mark.parametrize("path", ["/.auth/logout", "/.auth/logout-all"])
async def test_t15_a_sign_out_without_a_keeper_is_kept_for_the_next_one(fleet_of: OpenFleet, path: str) -> None:
    async with fleet_of() as fleet:
        cookies, other = fleet.cookies(ADA), fleet.cookies(ADA)
        async with held(fleet, "parent"):
            fleet.kill("keeper")
            await fleet.until_logged(
                "the keeper is gone; what only Descope can tell is 503 until another has taken its place"
            )
            await fleet.send("POST", path, headers=cookie_header(cookies))
        await until_serving(fleet, 4)

        for name in ("DS", "DSR"):
            assert statuses(await fleet.many(8, headers=cookie_header({name: cookies[name]}))) == {401}
        assert statuses(await fleet.many(8, headers=cookie_header(other))) == {401 if "all" in path else 200}


async def test_t15_a_worker_that_begins_with_a_new_keeper_admits_nobody_who_was_signed_out(
    fleet_of: OpenFleet,
) -> None:
    async with fleet_of() as fleet:
        cookies = cookie_header(fleet.cookies(ADA))
        await fleet.send("POST", "/.auth/logout", headers=cookies)
        async with held(fleet, "worker 1"):
            fleet.kill("worker 2")
            fleet.kill("keeper")
            await fleet.until_logged("started", 5)
            asking = [asyncio.ensure_future(fleet.get("/x", headers=cookies)) for _ in range(10)]
            await asyncio.sleep(0.1)

        assert statuses(await asyncio.gather(*asking)) == {401}


async def test_two_deaths_at_once_leave_one_key_for_assertions(fleet_of: OpenFleet) -> None:
    async with fleet_of(upstream=", assertion: true") as fleet:
        headers = cookie_header(fleet.cookies(ADA))
        await fleet.get("/x", headers=headers)
        before = key_id(fleet.upstream.last.value("x-auth-assertion"))
        async with held(fleet, "worker 1"):
            fleet.kill("worker 2")
            fleet.kill("keeper")
            await fleet.until_logged("started", 5)
            await asyncio.sleep(0.1)
        await fleet.until_ready()
        fleet.upstream.seen.clear()
        await fleet.many(12, headers=headers)

        assert {key_id(seen.value("x-auth-assertion")) for seen in fleet.upstream.seen} == {before}


async def test_one_worker_that_stays_up_is_enough_to_go_on(fleet_of: OpenFleet) -> None:
    async with fleet_of(pace="first_s=0.01, longest_s=0.02, tries=2, settled_s=0.5") as fleet:
        for _ in range(2):
            await fleet.replaced("worker 1")
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            while fleet.events("started")[-1]["started"] != "worker 1":
                await asyncio.sleep(0.01)
        for _ in range(5):
            await asyncio.sleep(0.1)  # it has settled now
        for _ in range(3):
            await fleet.replaced("worker 2")

        assert fleet.process.returncode is None
        assert statuses(await fleet.many(8, "/public/x")) == {200}


async def test_a_parent_that_can_start_nobody_tries_again(fleet_of: OpenFleet) -> None:
    async with fleet_of(pace="longest_s=0.1") as fleet:
        pid = fleet.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, hard))
        fleet.kill("keeper")
        await fleet.until_logged("no process can be started; it is tried again")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        await until_serving(fleet, 4)

        assert statuses(await fleet.many(4, headers=cookie_header(fleet.cookies(ADA, expired=True)))) == {200}


async def test_after_the_delay_new_connections_are_refused_and_do_not_hang(
    fleet_of: OpenFleet, one_or_two: int
) -> None:
    async with fleet_of(one_or_two, top="shutdown: {grace: 5s}") as fleet:
        let = fleet.hold_back()
        asking = asyncio.ensure_future(fleet.many(10, "/public/x"))
        while len(fleet.upstream.seen) < 10:
            await asyncio.sleep(0.01)
        fleet.process.terminate()
        async with asyncio.timeout(3):
            while True:
                try:
                    _, writer = await asyncio.open_connection(LOOPBACK, fleet.url.port)
                except ConnectionRefusedError:
                    break
                except ConnectionResetError:
                    continue  # it lay in the queue when that was closed
                writer.close()
                await asyncio.sleep(0.02)
        let.set()

        assert statuses(await asking) == {200}
        assert await fleet.ended() == 0


async def serials(fleet: Fleet, context: ssl.SSLContext) -> set[int]:
    """Of the certificates that are shown on many connections."""
    found = set()
    for _ in range(12):
        _, writer = await asyncio.open_connection(LOOPBACK, fleet.url.port, ssl=context, server_hostname=NAME)
        found.add(serial(writer))
        writer.close()
    return found


async def test_a_renewed_certificate_is_shown_by_all_workers(fleet_of: OpenFleet, tmp_path: Path) -> None:
    signer = authority(tmp_path, "ca")
    cert, key = signer.issue(tmp_path, NAME)
    tls = f"  tls: {{cert: {cert}, key: {key}}}"
    async with fleet_of(server=tls, public_url=f"https://{NAME}") as fleet:
        context = ssl.create_default_context(cafile=str(signer.file))
        assert await serials(fleet, context) == {serial_of(cert)}
        (tmp_path / "new").mkdir()
        for new, old in zip(signer.issue(tmp_path / "new", NAME), (cert, key), strict=True):
            new.replace(old)
        fleet.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(15):
            while await serials(fleet, context) != {serial_of(cert)}:
                await asyncio.sleep(0.1)


async def test_a_certificate_that_does_not_fit_its_key_is_told_once_and_nothing_serves(
    fleet_of: OpenFleet, tmp_path: Path
) -> None:
    signer = authority(tmp_path, "ca")
    cert, _ = signer.issue(tmp_path, NAME)
    (tmp_path / "other").mkdir()
    _, other = signer.issue(tmp_path / "other", NAME)
    tls = f"  tls: {{cert: {cert}, key: {other}}}"
    async with fleet_of(server=tls, public_url=f"https://{NAME}", is_ready=False) as fleet:
        assert await fleet.ended() == 1
        said = fleet.log_file.read_text()
        assert said.count("server.tls") == 1
        assert "Traceback" not in said


@pytest.mark.parametrize("name", ["worker 1", "keeper"])
async def test_who_hangs_is_killed_and_replaced(fleet_of: OpenFleet, name: str) -> None:
    async with fleet_of(pace="sign_of_life_s=0.2") as fleet:
        os.kill(fleet.pids[name], signal.SIGSTOP)
        await until_serving(fleet, 4)

        assert [one["how"] for one in fleet.events("died")] == ["SIGKILL"]
        assert statuses(await fleet.many(12, headers=cookie_header(fleet.cookies(ADA, expired=True)))) == {200}


async def test_a_greeting_that_fails_is_tried_again(fleet_of: OpenFleet, tmp_path: Path) -> None:
    """A new keeper serves another file, and one worker cannot take it up at first."""
    ca = tmp_path / "ca.pem"
    shutil.copy(certifi.where(), ca)
    async with fleet_of() as fleet:
        other = fleet.text(upstream=f'}}, other: {{url: "https://127.0.0.1:1", tls: {{ca: "{ca}"}}')
        async with held(fleet, "worker 1"):
            fleet.kill("keeper")
            await fleet.until_logged("started", 4)
            fleet.route_file.write_text(other)
            await fleet.until_logged("route file taken up")
            ca.unlink()
        await fleet.until_logged("the keeper could not be greeted; trying again")
        shutil.copy(certifi.where(), ca)
        await fleet.until_ready()

        assert statuses(await fleet.many(8, headers=cookie_header(fleet.cookies(ADA, expired=True)))) == {200}


async def test_a_route_file_that_changes_while_the_gateway_starts_is_taken_up(fleet_of: OpenFleet) -> None:
    async with fleet_of(routes=OPEN, is_ready=False) as fleet:
        await fleet.until_logged("started")
        fleet.route_file.write_text(fleet.text(routes=CLOSED))

        assert (await fleet.until_logged("route file taken up"))[0]["version"]


async def test_without_their_parent_the_others_idle_until_all_is_finished(fleet_of: OpenFleet) -> None:
    async with fleet_of(top="shutdown: {grace: 3s}") as fleet:
        let = fleet.hold_back()
        asking = asyncio.ensure_future(fleet.many(10, "/public/x"))
        while len(fleet.upstream.seen) < 10:
            await asyncio.sleep(0.01)
        fleet.process.kill()
        await fleet.until_logged("the parent is gone; the workers finish what runs, and all ends")
        pid = fleet.pids["worker 1"]
        before = cpu_ticks(pid)
        for _ in range(10):
            await asyncio.sleep(0.1)
        taken = cpu_ticks(pid) - before
        let.set()

        assert statuses(await asking) == {200}
        assert taken < 10  # hundredths of a second, in one second


async def test_the_keeper_ends_with_a_parent_that_left_its_words_unread(fleet_of: OpenFleet) -> None:
    async with fleet_of() as fleet:
        try:
            fleet.process.send_signal(signal.SIGSTOP)
            await fleet.asked("/metrics")  # the parent is told of every count
            fleet.process.kill()
            await fleet.until_logged("the parent is gone; the workers finish what runs, and all ends")

            async with asyncio.timeout(10):
                while (await fleet.asked("/readyz")).status:
                    await asyncio.sleep(0.02)
        finally:
            with suppress(ProcessLookupError):
                fleet.kill("keeper")  # nobody else would end one that lived on


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def test_a_meeting_place_that_was_cleaned_away_is_made_again(fleet_of: OpenFleet, tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    async with fleet_of(environment={"TMPDIR": str(folder)}) as fleet:
        for one in folder.iterdir():
            shutil.rmtree(one)
        fleet.kill("keeper")
        await until_serving(fleet, 4)

        assert statuses(await fleet.many(8, headers=cookie_header(fleet.cookies(ADA, expired=True)))) == {200}
    assert list(folder.iterdir()) == []


async def test_a_stop_while_everything_starts_is_quick(fleet_of: OpenFleet) -> None:
    for count in (1, 2, 3):
        async with fleet_of(is_ready=False, top="shutdown: {grace: 1s}") as fleet:
            await fleet.until_logged("started", count)
            fleet.process.terminate()
            async with asyncio.timeout(6):
                code = await fleet.process.wait()

            assert code == 0
            assert not any(map(is_alive, fleet.pids.values()))
            fleet.log_file.write_text("")


def test_nobody_but_this_user_may_enter_where_workers_meet() -> None:
    meeting = Meeting()
    try:
        assert Path(meeting.path).parent.stat().st_mode & 0o777 == 0o700
    finally:
        meeting.close()
    assert not Path(meeting.path).parent.exists()


def test_a_meeting_place_that_somebody_else_has_made_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    meeting = Meeting()
    folder = Path(meeting.path).parent
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "other").touch()
    with pytest.raises(OSError, match=r"exists|not empty"):
        meeting.mend()
    meeting.close()


def test_a_socket_path_that_is_too_long_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(ConfigError, match="set TMPDIR"):
        Meeting()
    assert list(long.iterdir()) == []
