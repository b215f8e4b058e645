"""A gateway as a program, with one worker or several, between the emulator and a recording upstream of this process."""

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from gateway.emulator import Emulator, load_seed, serve
from tests.conftest import LOOPBACK, OK, PROJECT, ROOT, ROUTES, Recorder, Reply, Seen

EXPIRED_S = 700.0
PACED = """
from functools import partial
from gateway import cli
from gateway.workers import plan

plan.made = partial(plan.made, pace=plan.Pace(PACE))
cli.main()
"""


@dataclass
class Fleet:
    """The program. events: what it has logged until now."""

    process: asyncio.subprocess.Process
    emulator: Emulator
    upstream: Recorder
    route_file: Path
    log_file: Path
    text: Callable[..., str]
    url: URL = field(default_factory=URL)
    admin: URL = field(default_factory=URL)

    # --- through the front door -------------------------------------------------------------------------------------

    async def get(self, path: str, **kwargs: Any) -> Reply:
        return await self.send("GET", path, **kwargs)

    async def send(self, method: str, path: str, **kwargs: Any) -> Reply:
        """On a connection of its own, so that any worker may get it."""
        target = URL(str(self.url) + path, encoded=True)
        connector = aiohttp.TCPConnector(force_close=True)
        jar = aiohttp.DummyCookieJar()
        async with (
            aiohttp.ClientSession(cookie_jar=jar, connector=connector) as http,
            http.request(method, target, allow_redirects=False, **kwargs) as response,
        ):
            return Reply(response.status, response.headers, await response.read())

    async def many(self, count: int, path: str = "/x", **kwargs: Any) -> list[Reply]:
        """The same request on `count` connections at once."""
        return await asyncio.gather(*(self.get(path, **kwargs) for _ in range(count)))

    def hold_back(self) -> asyncio.Event:
        """The service answers nobody until this is set."""
        let = asyncio.Event()

        async def slow(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            await let.wait()
            writer.write(OK)
            return True

        self.upstream.reply = slow
        return let

    def cookies(self, login_id: str, *, expired: bool = False) -> dict[str, str]:
        """A session of somebody; expired: one whose session token ran out long ago, and whose refresh token did not."""
        self.emulator.advance(-EXPIRED_S if expired else 0.0)
        session, refresh = self.emulator.sign_in(login_id)
        self.emulator.advance(EXPIRED_S if expired else 0.0)
        return {"DS": session, "DSR": refresh}

    # --- as an operator ---------------------------------------------------------------------------------------------

    async def asked(self, path: str) -> Reply:
        """What the admin listener answers; status 0 where there is none."""
        try:
            async with aiohttp.ClientSession() as http, http.get(self.admin / path.removeprefix("/")) as response:
                return Reply(response.status, response.headers, await response.read())
        except aiohttp.ClientConnectionError:
            return Reply(0, None, b"")  # type: ignore[arg-type]

    async def until_ready(self, version: str = "") -> None:
        async with asyncio.timeout(15):
            while True:
                reply = await self.asked("/readyz")
                if reply.status == 200 and version in reply.text:
                    return
                await asyncio.sleep(0.02)

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of one name with these labels."""
        families = text_string_to_metric_families((await self.asked("/metrics")).text)
        samples = (sample for family in families for sample in family.samples if sample.name == name)
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = self.log_file.read_text().splitlines()
        return [json.loads(line) for line in lines if f'"event": "{event}"' in line]

    async def until_logged(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        async with asyncio.timeout(15):
            while len(self.events(event)) < count:
                await asyncio.sleep(0.02)
        return self.events(event)

    # --- its processes ----------------------------------------------------------------------------------------------

    @property
    def pids(self) -> dict[str, int]:
        """By name ("keeper", "worker 1"), those that began last."""
        return {one["started"]: one["pid"] for one in self.events("started")}

    def kill(self, name: str) -> None:
        os.kill(self.pids[name], signal.SIGKILL)

    async def replaced(self, name: str) -> None:
        """Kill one, and wait until another serves in its place."""
        before = len(self.events("started"))
        self.kill(name)
        await self.until_logged("started", before + 1)
        await self.until_ready()

    async def ended(self) -> int:
        async with asyncio.timeout(15):
            return await self.process.wait()


@asynccontextmanager
async def running_worker(fleet: Fleet) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a worker that answers, where another does not."""
    connections = [await asyncio.open_connection(LOOPBACK, fleet.url.port) for _ in range(12)]
    for _, writer in connections:
        writer.write(b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n")
    reading = [asyncio.ensure_future(reader.readuntil(b"ok")) for reader, _ in connections]
    await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield connections[next(place for place, one in enumerate(reading) if one.done())]
    finally:
        for one in reading:
            one.cancel()
        for _, writer in connections:
            writer.close()


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _ends_with_the_tests() -> None:
    """A run that is cut short, as by a time limit, leaves no gateway behind; tests start them in the main thread."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


OpenFleet = Callable[..., AbstractAsyncContextManager[Fleet]]


@asynccontextmanager
async def open_fleet(
    signing_keys: Any,
    folder: Path,
    workers: int = 2,
    *,
    options: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    is_ready: bool = True,
    pace: str = "",
    **said: str,
) -> AsyncIterator[Fleet]:
    """pace: arguments of `Pace`, for what would take long otherwise. said: parts of the route file, for `text_of`."""
    emulator = Emulator(load_seed(ROOT / "config" / "emulator.yaml"), keys=signing_keys)
    recorder = Recorder()
    listening = await asyncio.start_server(recorder, LOOPBACK, 0, limit=2**20)
    recorder.port = listening.sockets[0].getsockname()[1]
    async with serve(emulator, LOOPBACK, 0) as base_url:
        text = partial(text_of, base_url, recorder.port)
        route_file, log_file = folder / "routes.yaml", folder / "log"
        route_file.write_text(text(**said))
        program = ["-c", PACED.replace("PACE", pace)] if pace else ["-m", "gateway"]
        command = [*program, "serve", "--config", str(route_file), "--workers", str(workers), *options]
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                preexec_fn=_ends_with_the_tests,
            )
        fleet = Fleet(process, emulator, recorder, route_file, log_file, text)
        try:
            if is_ready:
                serving = await fleet.until_logged("serving")
                fleet.url, fleet.admin = URL(f"http://{serving[0]['listen']}"), URL(f"http://{serving[0]['admin']}")
                await fleet.until_ready()
            yield fleet
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    async with asyncio.timeout(8):
                        await process.wait()
                except TimeoutError:
                    for pid in (*fleet.pids.values(), process.pid):
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
            listening.close()


def text_of(
    base_url: str,
    port: int,
    routes: str = ROUTES,
    top: str = "",
    upstream: str = "",
    server: str = "",
    public_url: str = "http://app.example.com",
) -> str:
    return f"""
version: 1
descope: {{project_id: {PROJECT}, base_url: "{base_url}"}}
server:
  public_urls: ["{public_url}"]
  cookies: {{secure: false}}
{server}
upstreams: {{legacy: {{url: "http://{LOOPBACK}:{port}"{upstream}}}}}
{top}
{routes}
"""


@pytest.fixture
def fleet_of(signing_keys: Any, tmp_path: Path) -> OpenFleet:
    return partial(open_fleet, signing_keys, tmp_path)


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def one_or_two(request: pytest.FixtureRequest) -> int:
    return int(request.param)
