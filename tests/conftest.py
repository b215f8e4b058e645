"""Real servers for the tests: an emulator, a recording upstream and a gateway between, all in process on loopback."""

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import aiohttp
import certifi
import pytest
import uvloop
from aiohttp import web_app
from multidict import CIMultiDictProxy
from yarl import URL

from gateway.app import Gateway
from gateway.emulator import Emulator, fresh_key, load_seed, serve
from gateway.listening import Address
from gateway.routefile import parse

ROOT = Path(__file__).parent.parent
PROJECT = "P2demo0000000000000000000000"
WORKER_KEY = "K2worker00000000000000000000demoworkerkey"
LOOPBACK = "127.0.0.1"


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that serves is the loop that is tested."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session", autouse=True)
def one_certificate_file() -> Iterator[None]:
    """One CA file instead of the machine's whole store: loading that costs every gateway that starts."""
    before = {name: os.environ.pop(name, None) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR")}
    os.environ["SSL_CERT_FILE"] = certifi.where()
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(autouse=True)
def no_application_outlives_its_test() -> Iterator[None]:
    """aiohttp remembers a thousand applications with all that they hold, here emulators; the collector goes through
    them again and again, and a run takes half as long again."""
    yield
    web_app._cached_build_middleware.cache_clear()


@pytest.fixture(autouse=True)
def no_log_outlives_its_test() -> Iterator[None]:
    """A test that sets logging up writes to a stream that is closed behind it; the next would see that fail."""
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)


class Hands:
    """A clock that goes on by itself and can be put forward."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def now_s(self) -> float:
        return time.time() + self.offset_s

    def mono_s(self) -> float:
        return time.monotonic() + self.offset_s


@dataclass
class Seen:
    """One request as it arrived at the upstream, byte for byte."""

    head: bytes
    body: bytes = b""

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]

    def values(self, name: str) -> list[str]:
        wanted = name.lower().encode()
        return [
            value.strip().decode("latin-1")
            for key, _, value in (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
            if key.lower() == wanted
        ]

    def value(self, name: str) -> str | None:
        found = self.values(name)
        assert len(found) < 2, f"{name} arrived {len(found)} times"
        return found[0] if found else None


Answering = Callable[[Seen, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Recorder:
    """An upstream that writes down what arrives and answers what it is told, in raw bytes."""

    seen: list[Seen] = field(default_factory=list)
    reply: bytes | Answering = OK
    connections: int = 0
    port: int = 0
    closed: int = 0

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                seen = Seen(head)
                self.seen.append(seen)
                if callable(self.reply):
                    if not await self.reply(seen, reader, writer):
                        break
                    continue
                seen.body = await read_body(seen, reader)
                writer.write(self.reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed += 1
            writer.close()


async def read_body(seen: Seen, reader: asyncio.StreamReader) -> bytes:
    length = seen.value("content-length")
    if length is not None:
        return await reader.readexactly(int(length))
    body = b""
    if seen.value("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).strip(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    return body


@dataclass(frozen=True)
class Reply:
    """A whole reply."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def media_type(self) -> str:
        return self.headers["Content-Type"].partition(";")[0]


@dataclass
class House:
    """A gateway with all that stands around it. `get` and `send` go through the front door."""

    gateway: Gateway
    emulator: Emulator
    upstream: Recorder
    clock: Hands
    url: URL
    admin: URL
    http: aiohttp.ClientSession

    def put_forward(self, seconds: float) -> None:
        """Move the gateway's clock and Descope's together."""
        self.clock.offset_s += seconds
        self.emulator.advance(seconds)

    async def get(self, path: str, **kwargs: Any) -> Reply:
        return await self.send("GET", path, **kwargs)

    async def send(self, method: str, path: str, **kwargs: Any) -> Reply:
        """Paths go out as written, cookies only when given, redirects are not followed."""
        target = URL(str(self.url) + path, encoded=True)
        async with self.http.request(method, target, allow_redirects=False, **kwargs) as response:
            return Reply(response.status, response.headers, await response.read())

    async def raw(self, data: bytes, *, until_closed: bool = False) -> bytes:
        """Write bytes, read one reply's bytes (or all until the connection ends)."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.url.port)
        writer.write(data)
        await writer.drain()
        try:
            async with asyncio.timeout(5):
                if until_closed:
                    return await reader.read()
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
                )
                return head + await reader.readexactly(length)
        finally:
            writer.close()

    def cookies(self, login_id: str) -> dict[str, str]:
        """A fresh session of somebody, as a browser would send it."""
        session, refresh = self.emulator.sign_in(login_id)
        return {"DS": session, "DSR": refresh}


def cookie_header(cookies: dict[str, str]) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


def set_cookies(response: Reply) -> dict[str, str]:
    """Name to value of what a reply sets, deletions as empty text."""
    found = {}
    for line in response.headers.getall("Set-Cookie", []):
        name, _, value = line.partition(";")[0].partition("=")
        found[name] = value
    return found


def reason_of(response: Reply) -> str:
    problem = json.loads(response.body)
    assert problem["status"] == response.status
    assert problem["request_id"] == response.headers["X-Request-Id"]
    return str(problem["reason"])


ROUTES = """
routes:
  - {id: public, match: {path: "/public/**"}, auth: public, upstream: legacy}
  - {id: optional, match: {path: "/optional/**"}, auth: optional, upstream: legacy}
  - {id: admin, match: {path: "/admin/**"}, require: {roles: {any: [admin]}}, upstream: legacy}
  - id: docs
    match: {path: "/t/{tenant}/docs/**"}
    auth: any
    require: {tenant: "{path.tenant}", permissions: {all: [docs.read]}}
    upstream: legacy
  - id: jobs
    match: {path: "/jobs/**"}
    auth: access_key
    require: {roles: {any: [worker]}}
    rewrite: {strip_prefix: /jobs}
    upstream: legacy
  - {id: either, match: {path: "/either/**"}, auth: any, upstream: legacy}
  - {id: only-get, match: {path: "/only-get", methods: [GET]}, auth: public, upstream: legacy}
  - {id: rest, match: {path: "/**"}, upstream: legacy}
"""


@pytest.fixture(scope="session")
def signing_keys() -> Any:
    """One pair of keys for all emulators of a run; making an RSA key takes longer than most tests."""
    return {algorithm: fresh_key(algorithm).private for algorithm in ("RS256", "ES256")}


@asynccontextmanager
async def open_house(
    signing_keys: Any,
    routes: str = ROUTES,
    top: str = "",
    server: str = "",
    *,
    hold: bool = False,
    profile: bool = False,
    log_form: str = "off",
    log_stream: TextIO | None = None,
    public_url: str = "http://app.example.com",
    port: int = 0,
    cookies: str = "{secure: false}",
    static_url: str = "",
    traces: Any = None,
    status: bool = False,
) -> AsyncIterator[House]:
    """Emulator, recording upstream, gateway. top: YAML after the upstreams; server: more keys of `server`."""
    clock = Hands()
    emulator = Emulator(load_seed(ROOT / "config" / "emulator.yaml"), keys=signing_keys)
    recorder = Recorder()
    listening = await asyncio.start_server(recorder, LOOPBACK, 0, limit=2**20)
    recorder.port = listening.sockets[0].getsockname()[1]
    try:
        async with (
            serve(emulator, LOOPBACK, 0) as base_url,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
        ):
            text = f"""
version: 1
descope: {{project_id: {PROJECT}, base_url: "{base_url}", static_url: "{static_url}"}}
server:
  public_urls: ["{public_url}"]
  cookies: {cookies}
{server}
upstreams:
  legacy:
    url: "http://{LOOPBACK}:{recorder.port}"
    retry_after: {"hold" if hold else "pass"}
    profile: {str(profile).lower()}
{top}
{routes}
"""
            gateway = Gateway(
                parse(text, "test.yaml", {}), log_form=log_form, log_stream=log_stream, clock=clock, traces=traces
            )
            public, admin = await gateway.start(
                Address(LOOPBACK, port), Address(LOOPBACK, 0), Address(LOOPBACK, 0) if status else None
            )
            assert admin is not None
            try:
                await gateway.keyring.ready()
                yield House(gateway, emulator, recorder, clock, URL(f"http://{public}"), URL(f"http://{admin}"), http)
            finally:
                await http.close()
                await gateway.stop()
    finally:
        listening.close()


OpenHouse = Callable[..., Any]


@pytest.fixture
async def house(signing_keys: Any) -> AsyncIterator[House]:
    """The usual house; tests that need other routes use `built`."""
    async with open_house(signing_keys) as opened:
        yield opened


@pytest.fixture
def built(signing_keys: Any) -> OpenHouse:
    """A house of one's own: `async with built(routes=..., top=..., server=...) as house`."""

    def build(**kwargs: Any) -> Any:
        return open_house(signing_keys, **kwargs)

    return build
