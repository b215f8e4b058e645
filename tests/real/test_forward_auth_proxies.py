"""Real proxies ask the gateway, with the configurations under `deploy/`: what reaches the service, and the browser."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import LOOPBACK, OK, WORKER_KEY, Seen, cookie_header, set_cookies
from tests.real.browser import free_port
from tests.real.proxies import ARGUMENTS, Front, open_proxied, running

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Accept": "text/html"}
IDENTITY = {b"subject", b"email", b"name", b"roles", b"permissions", b"tenant", b"method", b"key-id"}


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=sorted(ARGUMENTS))
async def opened(
    request: pytest.FixtureRequest, signing_keys: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Front]:
    async with open_proxied(signing_keys, request.param, tmp_path_factory.mktemp(request.param)) as front:
        yield front


@pytest.fixture
def front(opened: Front) -> Front:
    opened.house.upstream.seen.clear()
    opened.house.upstream.reply = OK
    return opened


def auth_names(seen: Seen) -> list[bytes]:
    """What a service that folds `_` and `.` onto `-` would take for the gateway's word, where it says anything."""
    lines = [line.partition(b":") for line in seen.head.split(b"\r\n")[1:] if line]
    folded = [(name.lower().replace(b"_", b"-").replace(b".", b"-"), value.strip()) for name, _, value in lines]
    return [name for name, value in folded if name.startswith(b"x-auth-") and value]


def no_secret(seen: Seen, *secrets: str) -> bool:
    return not any(secret.encode() in seen.head for secret in secrets)


async def test_an_admitted_request_arrives_with_its_caller_and_without_the_session(front: Front) -> None:
    cookies = front.house.cookies("ada@example.com")

    reply = await front.house.get("/admin/x?y=1", headers=cookie_header(cookies | {"theme": "dark"}))

    seen = front.house.upstream.last
    assert (reply.status, reply.text) == (200, "ok")
    assert seen.path == "/admin/x?y=1"
    assert seen.value("X-Auth-Email") == "ada@example.com"
    assert "admin" in (seen.value("X-Auth-Roles") or "")
    assert seen.value("Cookie") == "theme=dark"
    assert seen.value("X-Request-Id")
    if front.dialect != "envoy":  # which puts the machine's own address in the place of a loopback one
        assert seen.value("X-Forwarded-For") == LOOPBACK
    assert no_secret(seen, *cookies.values())


async def test_nobody_gets_401_and_the_service_hears_nothing(front: Front) -> None:
    reply = await front.house.get("/x")

    assert reply.status == 401
    assert json.loads(reply.body)["reason"] == "no_credentials"
    assert front.house.upstream.seen == []


async def test_a_navigation_goes_to_sign_in_and_the_page_is_there(front: Front) -> None:
    reply = await front.house.get("/x?a=1", headers=NAVIGATION)
    page = await front.house.get("/.auth/login?rd=/x", headers=NAVIGATION)

    assert (reply.status, page.status) == (302, 200)
    assert reply.headers["Location"].removeprefix(str(front.house.url)) == "/.auth/login?rd=/x%3Fa%3D1"
    assert front.house.upstream.seen == []


async def test_who_lacks_the_role_gets_403(front: Front) -> None:
    reply = await front.house.get("/admin/x", headers=cookie_header(front.house.cookies("bob@example.com")))

    assert reply.status == 403
    assert json.loads(reply.body)["reason"] == "role_missing"
    assert front.house.upstream.seen == []


SPELLINGS = {
    "X-Auth-Subject": "U1",
    "x-auth-roles": "admin",
    "X_Auth_Roles": "admin",
    "X.Auth.Roles": "admin",
    "X-Auth_Roles": "admin",
    "X-Auth-Key-Id": "K1",
    "X-Auth-Assertion": "e30.e30.x",
    "X-Original-URL": "/admin",
    "X-Rewrite-URL": "/admin",
    "X-HTTP-Method-Override": "DELETE",
    "X_HTTP_Method_Override": "DELETE",
    "X.HTTP.Method.Override": "DELETE",
    "X_Forwarded_For": "198.51.100.7",
    "X_Real_IP": "198.51.100.7",
    "X-Client-IP": "198.51.100.7",
    "True-Client-IP": "198.51.100.7",
    "CF-Connecting-IP": "198.51.100.7",
    "X-Cluster-Client-IP": "198.51.100.7",
}


@pytest.mark.parametrize("path", ["/public/x", "/x", "/optional/x"])
async def test_t04_what_a_client_says_of_itself_does_not_arrive(front: Front, path: str) -> None:
    cookies = cookie_header(front.house.cookies("bob@example.com")) if path == "/x" else {}

    reply = await front.house.get(path, headers=SPELLINGS | cookies)

    seen = front.house.upstream.last
    names = auth_names(seen)
    assert reply.status == 200
    assert len(names) == len(set(names))
    assert set(names) <= ({b"x-auth-" + name for name in IDENTITY} if cookies else set())
    assert no_secret(seen, "U1\r", "e30.e30.x", "/admin", "DELETE", "K1\r", "198.51.100.7")
    assert "admin" not in (seen.value("X-Auth-Roles") or "")


async def test_t05_nobody_names_a_request_but_the_gateway(front: Front) -> None:
    claimed = {"X-Request-Id": "mine"}
    refused = await front.house.get("/x", headers=claimed)
    await front.house.get("/public/x", headers=claimed)
    page = await front.house.get("/.auth/login", headers=claimed)

    assert front.house.upstream.last.value("x-request-id") not in (None, "mine")
    assert "mine" not in (refused.headers.get("X-Request-Id"), page.headers.get("X-Request-Id"))


async def test_t05_what_a_client_says_of_the_request_decides_nothing(front: Front) -> None:
    claimed = {
        "X-Original-URI": "/public/x",
        "X-Original-Method": "GET",
        "X-Original-Host": "other.example.com",
        "X-Forwarded-Uri": "/public/x",
        "X-Forwarded-Method": "GET",
        "X-Forwarded-Host": "other.example.com",
        "X-Forwarded-For": "198.51.100.7",
        "Forwarded": "for=198.51.100.7;host=other.example.com",
    }

    reply = await front.house.get("/admin/x", headers=claimed)

    assert reply.status in (400, 401)
    assert front.house.upstream.seen == []


@pytest.mark.parametrize(
    "target", ["/public/../admin/x", "/public/%2e%2e/admin/x", "//admin/x", "/public/..%2fadmin/x"]
)
async def test_t01_an_address_with_two_meanings_does_not_arrive(front: Front, target: str) -> None:
    reply = await front.house.raw(
        f"GET {target} HTTP/1.1\r\nHost: {front.house.url.authority}\r\nConnection: close\r\n\r\n".encode()
    )

    assert int(reply.split(b" ")[1]) in (400, 401, 403, 404)
    assert front.house.upstream.seen == []


async def test_t03_a_host_that_is_two_does_not_arrive(front: Front) -> None:
    host = f"other.example.com,{front.house.url.authority}"

    await front.house.raw(f"GET /public/x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert front.house.upstream.seen == []


async def test_nobody_outside_may_ask(front: Front) -> None:
    for path in ("/.auth/verify", "/.auth/verify/public/x"):
        reply = await front.house.get(path, headers={"X-Original-URI": "/public/x"})
        assert (reply.status, front.house.upstream.seen) == (404, [])


async def test_an_access_key_opens_and_stays_behind(front: Front) -> None:
    reply = await front.house.send("POST", "/jobs/x", headers={"X-API-Key": WORKER_KEY}, data=b"work")

    seen = front.house.upstream.last
    assert reply.status == 200
    assert seen.value("X-Auth-Method") == "access_key"
    assert no_secret(seen, WORKER_KEY)


async def test_a_body_arrives_whole(front: Front) -> None:
    body = bytes(range(256)) * 1024
    headers = cookie_header(front.house.cookies("ada@example.com"))

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 10_000):
            yield body[at : at + 10_000]

    for data in (body, pieces()):
        reply = await front.house.send("POST", "/x", headers=headers, data=data)
        assert reply.status == 200
        assert front.house.upstream.last.body == body
        assert front.house.upstream.last.line.startswith("POST /x ")


async def test_a_refused_body_does_not_arrive(front: Front) -> None:
    reply = await front.house.send("POST", "/x", data=b"x" * 1000)

    assert reply.status == 401
    assert front.house.upstream.seen == []


async def test_head_is_judged_as_head(front: Front) -> None:
    admitted = await front.house.send("HEAD", "/only-get")
    refused = await front.house.send("HEAD", "/x")

    assert (admitted.status, refused.status) == (200, 401)
    assert front.house.upstream.last.line.startswith("HEAD ")


async def test_the_cookies_of_a_renewed_session_reach_the_browser_alone(front: Front) -> None:
    cookies = front.house.cookies("ada@example.com")
    front.house.put_forward(3600)
    headers = cookie_header(cookies) | NAVIGATION

    reply = await front.house.get("/x", headers=headers)
    if not front.renews:
        assert (reply.status, set_cookies(reply)) == (302, {})
        place = reply.headers["Location"].removeprefix(str(front.house.url))
        assert place == "/.auth/renew?rd=/x"
        reply = await front.house.get(place, headers=headers)
        assert (reply.status, reply.headers["Location"]) == (303, "/x")
        assert front.house.upstream.seen == []

    fresh = {name: value for name, value in set_cookies(reply).items() if value}
    again = await front.house.get("/x", headers=cookie_header(fresh) | NAVIGATION)
    assert fresh.keys() == {"DS", "DSR"}
    assert again.status == 200
    for seen in front.house.upstream.seen:
        assert no_secret(seen, *fresh.values(), *cookies.values())


async def test_a_program_with_a_session_that_has_run_out_renews_it_by_posting(front: Front) -> None:
    headers = cookie_header(front.house.cookies("ada@example.com"))
    front.house.put_forward(3600)

    reply = await front.house.get("/x", headers=headers)
    if not front.renews:
        assert (reply.status, set_cookies(reply)) == (401, {})
        reply = await front.house.send("POST", "/.auth/refresh", headers=headers)

    assert reply.status == 200
    assert {"DS", "DSR"} <= set_cookies(reply).keys()


async def test_who_asks_too_often_is_told_how_long_to_wait(front: Front) -> None:
    replies = [await front.house.get("/few") for _ in range(3)]

    assert replies[-1].status == 429
    assert int(replies[-1].headers["Retry-After"]) > 0
    assert len(front.house.upstream.seen) <= 2


def handshake(front: Front, headers: dict[str, str]) -> bytes:
    lines = {
        "Host": front.house.url.authority,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    text = "".join(f"{name}: {value}\r\n" for name, value in (lines | headers).items())
    return f"GET /x HTTP/1.1\r\n{text}\r\n".encode()


async def test_a_socket_is_opened_for_who_may_and_carries_bytes_both_ways(front: Front) -> None:
    async def echo(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        )
        writer.write(b"heard " + await reader.readexactly(4))
        await writer.drain()
        await reader.read()
        return False

    front.house.upstream.reply = echo
    cookies = front.house.cookies("ada@example.com")
    reader, writer = await asyncio.open_connection(LOOPBACK, front.house.url.port)
    writer.write(handshake(front, cookie_header(cookies) | {"Origin": str(front.house.url)}))
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"ping")
    heard = await reader.readexactly(10)
    writer.close()

    seen = front.house.upstream.last
    assert head.startswith(b"HTTP/1.1 101 ")
    assert heard == b"heard ping"
    assert seen.value("X-Auth-Email") == "ada@example.com"
    assert no_secret(seen, *cookies.values())


def spoken(front: Front, lines: str) -> bytes:
    cookies = cookie_header(front.house.cookies("ada@example.com"))["Cookie"]
    return f"GET /x HTTP/1.1\r\nHost: {front.house.url.authority}\r\nCookie: {cookies}\r\n{lines}\r\n".encode()


@pytest.mark.parametrize("upgrade", ["h2c", "h2c, websocket", "websocket, h2c", "websocket\r\nUpgrade: h2c"])
async def test_t17_no_other_protocol_leads_past_the_gateway(front: Front, upgrade: str) -> None:
    settings = "HTTP2-Settings: AAMAAABkAAQAAP__\r\n"

    reply = await front.house.raw(
        spoken(front, f"Upgrade: {upgrade}\r\nConnection: Upgrade, HTTP2-Settings\r\n{settings}")
    )

    assert reply.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 4"))
    for seen in front.house.upstream.seen:
        assert "h2c" not in ",".join(seen.values("Upgrade"))
        assert seen.values("HTTP2-Settings") == []


async def test_t06_the_callers_headers_are_nobodys_to_take_off(front: Front) -> None:
    reply = await front.house.raw(spoken(front, "Connection: keep-alive, X-Auth-Subject, X-Auth-Roles\r\n"))

    seen = front.house.upstream.last
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert seen.value("X-Auth-Subject")
    assert "admin" in (seen.value("X-Auth-Roles") or "")
    assert "auth" not in ",".join(seen.values("Connection")).lower()


async def test_t24_a_socket_from_another_site_is_refused(front: Front) -> None:
    cookies = cookie_header(front.house.cookies("ada@example.com"))

    reply = await front.house.raw(handshake(front, cookies | {"Origin": "http://evil.example"}))

    assert reply.startswith(b"HTTP/1.1 403 ")
    assert front.house.upstream.seen == []


async def test_t18_more_headers_than_anybody_sends_are_refused_and_the_proxy_lives_on(front: Front) -> None:
    many = "".join(f"X-A{at}: a\r\n" for at in range(97))
    host = front.house.url.authority

    reply = await front.house.raw(f"GET /x HTTP/1.1\r\nHost: {host}\r\n{many}\r\n".encode())
    after = await front.house.get("/public/x")

    assert int(reply.split(b" ")[1]) in (400, 401, 431)
    assert after.status == 200


async def test_t21_a_script_that_breaks_off_lets_nothing_pass(front: Front, tmp_path: Path) -> None:
    if front.dialect != "haproxy":
        return  # the others ask without a script
    port, gateway, service = free_port(), front.gateway_port, front.house.upstream.port
    broken = ("local function question(txn)", 'local function question(txn) error("broken off")')
    async with (
        running("haproxy", tmp_path, front=port, gateway=gateway, service=service, changed=broken),
        front.house.http.get(f"http://{LOOPBACK}:{port}/public/x") as reply,
    ):
        status = reply.status

    assert status == 503
    assert front.house.upstream.seen == []


async def test_t21_without_the_gateway_nothing_passes(front: Front, tmp_path: Path) -> None:
    port = free_port()
    service = front.house.upstream.port
    async with (
        running(front.dialect, tmp_path, front=port, gateway=free_port(), service=service),
        front.house.http.get(f"http://{LOOPBACK}:{port}/public/x") as reply,
    ):
        status = reply.status

    assert status >= 500
    assert front.house.upstream.seen == []
