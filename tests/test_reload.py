"""Another route file without a restart: whole or not at all, and nobody's request is the worse for it."""

import asyncio
import contextlib
import gc
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from yarl import URL

from gateway.core.errors import ConfigError
from gateway.pool import Pool
from gateway.reload import Reloader
from gateway.routefile import Config, parse
from gateway.telemetry import Metrics
from tests.authority import authority
from tests.conftest import LOOPBACK, PROJECT, House, OpenHouse, Seen, cookie_header, read_body, reason_of
from tests.wire.services import until
from tests.wire.test_exchanges import UPGRADE, echo_socket

OPEN = '  - {id: all, match: {path: "/**"}, auth: public, upstream: legacy}\n'
CLOSED = '  - {id: all, match: {path: "/**"}, require: {roles: {any: [admin]}}, upstream: legacy}\n'


def text_of(house: House, routes: str = OPEN, top: str = "", **said: str) -> str:
    """A route file for a house's surroundings. said: server, descope, upstreams: more of each."""
    return f"""
version: 1
descope: {{project_id: {PROJECT}, base_url: "{house.gateway.config.base_url}"{said.get("descope", "")}}}
server: {{public_urls: ["http://app.example.com"], cookies: {{secure: false}}{said.get("server", "")}}}
upstreams:
  legacy: {{url: "http://{LOOPBACK}:{house.upstream.port}", retry_after: hold{said.get("legacy", "")}}}
{said.get("upstreams", "")}
{top}
routes:
{routes}
"""


def config_of(house: House, routes: str = OPEN, top: str = "", **said: str) -> Config:
    return parse(text_of(house, routes, top, **said), "routes.yaml", {})


# --- what changes ---------------------------------------------------------------------------------------------------


async def test_the_next_request_is_decided_by_the_new_table_on_the_same_connection(house: House) -> None:
    async with contextlib.AsyncExitStack() as stack:
        reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        stack.callback(writer.close)
        get = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
        statuses = []
        for routes in (OPEN, CLOSED, OPEN):
            house.gateway.take_up(config_of(house, routes))
            writer.write(get)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
            statuses.append(head[9:12])

        assert statuses == [b"200", b"401", b"200"]


async def test_a_request_under_way_is_finished_on_the_table_that_it_came_to(house: House) -> None:
    go_on = asyncio.Event()

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await read_body(seen, reader)
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True

    house.gateway.take_up(config_of(house))
    house.upstream.reply = answer
    waiting = asyncio.ensure_future(house.get("/x"))
    await until(lambda: bool(house.upstream.seen))
    house.gateway.take_up(config_of(house, CLOSED, legacy=", host: upstream"))
    after = await house.get("/x")
    go_on.set()

    assert (await waiting).body == b"ok"
    assert after.status == 401


async def test_an_upstream_that_has_not_changed_keeps_its_connections(house: House) -> None:
    house.gateway.take_up(config_of(house))
    await house.get("/x")
    before = house.upstream.connections
    house.gateway.take_up(config_of(house, OPEN + '  - {id: more, match: {path: "/more"}, upstream: legacy}\n'))
    await house.get("/x")

    assert house.upstream.connections == before


async def test_an_upstream_that_has_changed_gets_connections_of_its_own_and_the_old_ones_end(house: House) -> None:
    house.gateway.take_up(config_of(house))
    await house.get("/x")
    before = house.upstream.connections
    house.gateway.take_up(config_of(house, legacy=", host: upstream"))
    await house.get("/x")

    assert house.upstream.connections == before + 1
    await until(lambda: pools_with_connections() == 1)


def pools_with_connections() -> int:
    gc.collect()
    return sum(pool.idle + pool.busy > 0 for pool in gc.get_objects() if isinstance(pool, Pool))


async def test_metrics_tell_of_the_upstreams_that_serve_and_of_no_others(house: House) -> None:
    async def upstreams() -> set[str]:
        async with house.http.get(house.admin / "metrics") as scraped:
            return set(re.findall(r'gateway_upstream_waiting{upstream="(\w+)"}', await scraped.text()))

    house.gateway.take_up(config_of(house, upstreams='  other: {url: "http://127.0.0.1:9"}'))
    two = await upstreams()
    house.gateway.take_up(config_of(house))

    assert two == {"legacy", "other"}
    assert await upstreams() == {"legacy"}


async def test_the_health_of_an_upstream_that_has_gone_is_asked_for_no_more(house: House) -> None:
    asked = []

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        asked.append(seen.path)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return False

    house.upstream.reply = answer
    house.gateway.take_up(config_of(house, legacy=", health: {path: /healthz, interval: 10ms}"))
    await until(lambda: len(asked) > 2)
    house.gateway.take_up(config_of(house))
    await asyncio.sleep(0.05)
    before = len(asked)
    await asyncio.sleep(0.1)

    assert len(asked) == before


async def test_a_stream_is_judged_by_the_new_table_at_its_next_look(built: OpenHouse) -> None:
    async with built() as house:
        house.upstream.reply = echo_socket
        house.gateway.take_up(config_of(house, CLOSED))
        cookies = cookie_header(house.cookies("ada@example.com"))["Cookie"]
        reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        writer.write(UPGRADE % f"Cookie: {cookies}\r\nOrigin: http://app.example.com\r\n".encode())
        await reader.readuntil(b"hello")
        house.gateway.take_up(config_of(house, CLOSED.replace("admin", "nobody")))
        writer.write(b"on")
        assert await reader.readexactly(2) == b"on"
        house.put_forward(31)
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()
        ended = {"kind": "websocket", "reason": "role_missing"}
        count = house.gateway.metrics.registry.get_sample_value("gateway_streams_ended_total", ended)

    assert count == 1


async def test_what_a_limit_has_counted_it_goes_on_counting(house: House) -> None:
    limited = OPEN.replace("upstream: legacy", "limit: [few], upstream: legacy")
    statuses = []
    for _ in range(4):
        house.gateway.take_up(config_of(house, limited, "limits: {few: {rate: 2/h, per: client}}"))
        statuses.append((await house.get("/x")).status)

    assert statuses == [200, 200, 429, 429]


async def test_who_asked_the_upstream_for_a_pause_keeps_it(house: House) -> None:
    house.upstream.reply = b"HTTP/1.1 429 Too Many\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n"
    house.gateway.take_up(config_of(house))
    first = await house.get("/x")
    house.gateway.take_up(config_of(house, OPEN))
    second = await house.get("/x")

    assert first.status == 429
    assert reason_of(second) == "upstream_busy"


async def test_methods_of_signing_in_come_and_go(house: House) -> None:
    before = await house.get("/.auth/password/signup")
    house.gateway.take_up(config_of(house, CLOSED, "login: {methods: [password], sign_up: true}"))
    after = await house.get("/.auth/password/signup")

    assert (before.status, after.status) == (404, 200)


async def test_assertions_begin_with_the_upstream_that_wants_them(house: House) -> None:
    house.gateway.take_up(config_of(house, CLOSED))
    without = await house.get("/.auth/jwks.json")
    house.gateway.take_up(config_of(house, CLOSED, legacy=", assertion: true"))
    keys = await house.get("/.auth/jwks.json")
    await house.get("/x", headers=cookie_header(house.cookies("ada@example.com")))

    assert (without.status, keys.status) == (404, 200)
    assert house.upstream.last.value("x-auth-assertion")


# --- what does not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("descope", {"descope": ', audience: ["x"]'}),
        ("server.header_limits", {"server": ", header_limits: {lines: 50}"}),
        ("refresh", {"top": "refresh: {grace: 5s}"}),
        ("access_keys", {"top": "access_keys: {remember: 5s}"}),
        ("assertion", {"top": "assertion: {rotate: 48h}", "legacy": ", assertion: true"}),
        ("audit", {"top": "audit: stdout"}),
        ("shutdown", {"top": "shutdown: {grace: 5s}"}),
    ],
)
async def test_what_needs_a_restart_is_named_and_nothing_changes(house: House, key: str, said: dict[str, str]) -> None:
    house.gateway.take_up(config_of(house))
    serving = house.gateway.config

    with pytest.raises(ConfigError) as told:
        house.gateway.take_up(config_of(house, CLOSED, **said))

    assert [problem.partition(" ")[0] for problem in told.value.problems] == [key]
    assert "restart" in str(told.value)
    assert house.gateway.config is serving
    assert (await house.get("/x")).status == 200


async def test_a_changed_certificate_file_name_needs_a_restart(house: House, tmp_path: Path) -> None:
    cert, key = authority(tmp_path).issue(tmp_path, "app.example.com")
    text = text_of(house, server=f", tls: {{cert: {cert}, key: {key}}}").replace("http://app", "https://app")

    with pytest.raises(ConfigError, match=r"server\.tls has changed"):
        house.gateway.take_up(parse(text, "routes.yaml", {}))


# --- the file ---------------------------------------------------------------------------------------------------------


@dataclass
class Desk:
    """A route file and who reads it."""

    path: Path
    reloader: Reloader
    taken: list[Config]
    metrics: Metrics

    def success(self) -> float | None:
        return self.metrics.registry.get_sample_value("gateway_config_reload_success")


FILE = """
version: 1
descope: {project_id: P2demo0000000000000000000000}
server: {public_urls: ["https://app.example.com"]}
upstreams: {legacy: {url: "http://127.0.0.1:9"}}
routes: [{id: %s, match: {path: "/**"}, upstream: legacy}]
"""


def taker(taken: list[Config]) -> Callable[[str, Config], Awaitable[None]]:
    async def take_up(text: str, config: Config) -> None:
        assert parse(text, "r", {}).version == config.version
        taken.append(config)

    return take_up


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    path, taken, metrics = tmp_path / "routes.yaml", list[Config](), Metrics()
    path.write_text(FILE % "one")
    metrics.reload_success.set(1)
    serving = parse(path.read_text(), str(path), {})
    return Desk(path, Reloader(path, {}, serving, taker(taken), metrics), taken, metrics)


@contextlib.asynccontextmanager
async def watching(desk: Desk) -> AsyncIterator[None]:
    watch = asyncio.ensure_future(desk.reloader.keep_watch(0.02))
    await asyncio.sleep(0.05)
    yield
    watch.cancel()


def ids(desk: Desk) -> list[str]:
    return [config.table.routes[0].id for config in desk.taken]


async def test_a_file_that_changes_is_taken_up(desk: Desk) -> None:
    async with watching(desk):
        desk.path.write_text(FILE % "two")
        await until(lambda: bool(desk.taken))

    assert ids(desk) == ["two"]
    assert desk.success() == 1


async def test_a_mounted_file_changes_by_a_swapped_link(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "routes.yaml").write_text(FILE % version)
    (tmp_path / "data").symlink_to("one")
    path, taken = tmp_path / "routes.yaml", list[Config]()
    path.symlink_to("data/routes.yaml")
    reloader = Reloader(path, {}, parse(path.read_text(), "r", {}), taker(taken), Metrics())
    desk = Desk(path, reloader, taken, Metrics())
    async with watching(desk):
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").replace(tmp_path / "data")
        await until(lambda: bool(taken))

    assert ids(desk) == ["two"]


async def test_a_file_that_is_touched_and_says_the_same_changes_nothing(desk: Desk) -> None:
    async with watching(desk):
        os.utime(desk.path)
        await asyncio.sleep(0.1)
        os.utime(desk.path, (1, 1))
        await asyncio.sleep(0.1)

    assert desk.taken == []


async def test_a_signal_has_it_read_whatever_it_says(desk: Desk) -> None:
    async with watching(desk):
        desk.reloader.tell()
        await until(lambda: bool(desk.taken))

    assert ids(desk) == ["one"]


async def test_a_bad_file_is_told_with_every_problem_and_the_old_one_serves_on(desk: Desk) -> None:
    desk.path.write_text((FILE % "two").replace("upstream: legacy", "upstream: lgacy, auht: public"))
    with structlog.testing.capture_logs() as lines:
        good = await desk.reloader.reload()

    assert not good
    assert desk.taken == []
    assert desk.success() == 0
    assert [line["event"] for line in lines] == ["route file not taken up, the old one serves on"]
    problems: Sequence[str] = lines[0]["problems"]
    assert len(problems) == 2
    assert all(re.match(rf"{re.escape(str(desk.path))}:6:\d+: ", problem) for problem in problems)


@pytest.mark.parametrize("text", ["", FILE[:60], FILE % "two" + "routes: ["], ids=["empty", "half", "torn"])
async def test_a_file_that_is_half_written_is_no_route_file_and_the_whole_one_is_taken_up_then(
    desk: Desk, text: str
) -> None:
    async with watching(desk):
        desk.path.write_text(text)
        await until(lambda: desk.success() == 0)
        desk.path.write_text(FILE % "two")
        await until(lambda: bool(desk.taken))

    assert ids(desk) == ["two"]
    assert desk.success() == 1


async def test_a_file_that_is_being_written_is_left_alone_until_it_lies_still(desk: Desk) -> None:
    whole = FILE % "two"
    watch = asyncio.ensure_future(desk.reloader.keep_watch(0.05))
    with structlog.testing.capture_logs() as lines:
        for end in range(len(whole) - 60, len(whole) + 1):
            desk.path.write_text(whole[:end])
            await asyncio.sleep(0.004)
        await until(lambda: bool(desk.taken))
    watch.cancel()

    assert [line["event"] for line in lines] == ["route file taken up"]


async def test_a_file_that_has_gone_is_told_and_the_old_one_serves_on(desk: Desk) -> None:
    desk.path.unlink()

    assert not await desk.reloader.reload()
    assert desk.success() == 0


async def test_readiness_says_which_file_serves(house: House) -> None:
    async with house.http.get(house.admin / "readyz") as ready:
        before = await ready.text()
    house.gateway.take_up(config_of(house))
    async with house.http.get(house.admin / "readyz") as ready:
        after = await ready.text()

    assert before.startswith("ready\nroute file ")
    assert after == f"ready\nroute file {house.gateway.config.version}\n"
    assert before != after


# --- under load -------------------------------------------------------------------------------------------------------


async def test_two_hundred_reloads_under_load_drop_no_request_and_leak_nothing(house: House) -> None:
    one = config_of(house)
    other = config_of(house, legacy=", host: upstream", upstreams='  more: {url: "http://127.0.0.1:9"}')
    house.gateway.take_up(one)
    statuses: list[int] = []
    over = asyncio.Event()

    async def ask() -> None:
        while not over.is_set():
            statuses.append((await house.get("/x")).status)

    async def reloads(count: int) -> None:
        for number in range(count):
            house.gateway.take_up(other if number % 2 else one)
            await asyncio.sleep(0.001)

    def held() -> tuple[int, int]:
        gc.collect()
        kinds = ("Pool", "ProxyDoor", "Gate", "RequestWriter", "SignIn")
        count = sum(type(found).__name__ in kinds for found in gc.get_objects())
        return count, len(list(Path("/proc/self/fd").iterdir()))

    askers = [asyncio.ensure_future(ask()) for _ in range(8)]
    await reloads(20)
    objects, descriptors = held()
    await reloads(200)
    later, later_descriptors = held()
    over.set()
    await asyncio.gather(*askers)

    assert set(statuses) == {200}
    assert len(statuses) > 200
    assert later <= objects + 12
    assert later_descriptors <= descriptors + 12


# --- the program ------------------------------------------------------------------------------------------------------


async def test_sighup_and_a_change_on_disk_reach_a_running_program(house: House, tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(text_of(house))
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(path), "--listen", "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(
        *command, "--admin", "127.0.0.1:0", stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(15):
            lines: list[str] = []

            async def heard(event: str) -> str:
                while True:
                    assert process.stderr is not None
                    line = (await process.stderr.readline()).decode()
                    assert line, lines
                    lines.append(line)
                    if f'"event": "{event}"' in line:
                        return line

            found = re.search(r'"listen": "([^"]+)"', await heard("serving"))
            assert found is not None
            url = URL(f"http://{found[1]}/x")

            async def status() -> int:
                async with house.http.get(url) as reply:
                    return reply.status

            assert await status() == 200
            path.write_text(text_of(house, CLOSED))
            await heard("route file taken up")
            assert await status() == 401
            path.write_text(text_of(house, OPEN + "  - nonsense\n"))
            process.send_signal(signal.SIGHUP)
            bad = await heard("route file not taken up, the old one serves on")
            assert f"{path}:" in bad
            assert await status() == 401
            path.write_text(text_of(house))
            process.send_signal(signal.SIGHUP)
            await heard("route file taken up")
            assert await status() == 200
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
