"""Promise 1: every doubt, error and outage ends in a refusal, and nothing that signs somebody in leaks."""

import asyncio
import io
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core import policy
from gateway.core.errors import GatewayError
from gateway.core.headers import RequestWriter
from gateway.doors import proxy
from gateway.gate import Gate
from gateway.keyring import Keyring
from gateway.sessions import Sessions
from gateway.telemetry import log, set_up_logging
from gateway.verification import Verifier
from tests.conftest import WORKER_KEY, House, OpenHouse, Seen, cookie_header, reason_of

BREAKING: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}


def breaks(
    name: str, owner: Any, attribute: str, error: Callable[[], BaseException], *, only_waiting: bool = False
) -> None:
    """only_waiting: on the way that a request takes when something has to be waited for."""

    def fail(*_: object, **__: object) -> object:
        raise error()

    def put(patch: pytest.MonkeyPatch) -> None:
        is_property = isinstance(getattr(owner, attribute), property)
        patch.setattr(owner, attribute, property(fail) if is_property else fail)
        if only_waiting:
            patch.setattr(Sessions, "caller_at_once", lambda *_: None)

    BREAKING[name] = put


breaks("facts", proxy, "gather", lambda: ValueError("secret-in-message"))
breaks("judge", Gate, "judge_at_once", lambda: RuntimeError("secret-in-message"))
breaks("judge who waits", Gate, "settle", lambda: RuntimeError("secret-in-message"), only_waiting=True)
breaks("caller", Sessions, "caller_at_once", lambda: KeyError("secret-in-message"))
breaks("caller waited for", Sessions, "caller", lambda: KeyError("secret-in-message"), only_waiting=True)
breaks("verification", Verifier, "at_once", lambda: TypeError("secret-in-message"))
breaks("verification waited for", Verifier, "verify", lambda: TypeError("secret-in-message"), only_waiting=True)
breaks("keys", Keyring, "fresh", lambda: AttributeError("secret-in-message"))
breaks("keys waited for", Keyring, "ready", lambda: AttributeError("secret-in-message"), only_waiting=True)
breaks("conditions", policy, "findings", lambda: RecursionError("secret-in-message"))
breaks("head for the upstream", RequestWriter, "lines", lambda: UnicodeError("secret-in-message"))
breaks("strange fault", Sessions, "caller", lambda: GatewayError("secret-in-message"), only_waiting=True)


@pytest.mark.parametrize("where", BREAKING)
async def test_t21_a_bug_at_any_step_is_a_500_and_never_a_forward(
    house: House, monkeypatch: pytest.MonkeyPatch, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    cookies = cookie_header(house.cookies("ada@example.com"))
    BREAKING[where](monkeypatch)
    with caplog.at_level(logging.DEBUG):
        reply = await house.get("/admin/x", headers=cookies)
        body = reply.text

    assert reply.status == 500
    assert json.loads(body)["reason"] == "internal_error"
    assert house.upstream.seen == []
    assert "secret-in-message" not in body + caplog.text


async def test_t21_no_keys_at_all_is_503_for_whoever_needs_them(built: OpenHouse) -> None:
    async with built() as house:
        cookies = cookie_header(house.cookies("ada@example.com"))
        house.gateway.keyring._keys = None
        house.emulator.fault("keys", status=500, times=None)

        needed = await house.get("/", headers=cookies)
        optional = await house.get("/optional/x", headers=cookies)
        public = await house.get("/public/x", headers=cookies)
        ready = await house.http.get(f"{house.admin}/readyz")

        assert reason_of(needed) == "identity_provider_unavailable"
        assert (optional.status, public.status, ready.status) == (200, 200, 503)
        assert house.upstream.last.values("x-auth-subject") == []


# --- T-01: one path, whoever reads it ------------------------------------------------------------------------------

PATHS = [
    "/public/../admin",
    "/public/%2e%2e/admin",
    "/public/%2E%2e%2fadmin",
    "/public/..%2fadmin",
    "/public/..;/admin",
    "/public/%2e%2e;x=1/admin",
    "//admin",
    "/./admin",
    "/admin%2fx",
    "/admin%2Fx",
    "/%61dmin",
    "/admin%00",
    "/admin%23x",
    "/admin#x",
    "/admin%3fx",
    "/admin\\x",
    "/admin%5cx",
    "/admin%252fx",
    "/admin/.",
    "/admin/..",
    "/admin;x",
    "/public/%c0%ae%c0%ae/admin",
    "/public/é/../admin",
    "http://app.example.com/admin",
    "http://evil.example/public/x",
    "http://user@app.example.com/public/x",
    "ws://app.example.com/public/x",
    "*",
    "admin",
    "/jobs/../admin",
    "/jobs//admin",
    "/jobs/%2e%2e/admin",
    "/public/%0a/admin",
    "/public/%25%32%65",
]


@pytest.mark.parametrize("path", PATHS)
async def test_t01_no_spelling_of_a_path_reaches_what_its_route_does_not_allow(house: House, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: app.example.com\r\nX-API-Key: {WORKER_KEY}\r\n\r\n".encode()

    reply = await house.raw(request)

    assert reply.split(b" ")[1] in (b"400", b"401")
    assert house.upstream.seen == []


async def test_t02_a_query_decides_nothing(house: House) -> None:
    for query in ("x=/public/", "/public", "%3F/public/", "a=1;b=/public/", "tenant=acme&tenant=globex"):
        reply = await house.get(f"/private?{query}")
        assert reply.status == 401

    assert house.upstream.seen == []


# --- T-03: host and method -----------------------------------------------------------------------------------------

HOSTED = """
routes:
  - {id: app, match: {host: app.example.com, path: "/**"}, auth: public, upstream: legacy}
"""


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param("GET / HTTP/1.1\r\nHost: app.example.com", 200, id="plain"),
        pytest.param("GET / HTTP/1.1\r\nHost: APP.Example.COM:8080", 200, id="capitals and port"),
        pytest.param("GET / HTTP/1.1\r\nHost: app.example.com.", 200, id="trailing dot"),
        pytest.param("GET / HTTP/1.1\r\nHost: other.example.com", 404, id="another host"),
        pytest.param("GET / HTTP/1.1\r\nHost: app.example.com\r\nHost: app.example.com", 400, id="two hosts"),
        pytest.param("GET / HTTP/1.1\r\nHost: ", 400, id="empty host"),
        pytest.param("GET / HTTP/1.1", 400, id="no host"),
        pytest.param("GET / HTTP/1.1\r\nHost: app.example.com/x", 400, id="host with a path"),
        pytest.param("GET / HTTP/1.1\r\nHost: a@app.example.com", 400, id="host with a user"),
        pytest.param("GET / HTTP/1.1\r\nHost: app.example.com, b", 400, id="host list"),
        pytest.param("GET / HTTP/1.1\r\nHost: app.example.com:99999", 400, id="no port"),
        pytest.param("GET http://app.example.com/ HTTP/1.1\r\nHost: other.example.com", 400, id="absolute, other host"),
        pytest.param("get / HTTP/1.1\r\nHost: app.example.com", 400, id="lower-case method"),
        pytest.param("GET / HTTP/2.0\r\nHost: app.example.com", 400, id="f7 another version"),
    ],
)
async def test_t03_host_and_method_are_read_one_way(built: OpenHouse, head: str, status: int) -> None:
    async with built(routes=HOSTED) as house:
        reply = await house.raw(head.encode() + b"\r\n\r\n")

        assert int(reply.split(b" ")[1]) == status


# --- T-17: framing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer_Encoding: chunked",
        "Content_Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: 5 , 5",
        "Content-Length: -1",
        "X: a\r\n b",
        "X: a\nY: b",
        "X: a\0b",
    ],
)
async def test_t17_a_request_that_two_parsers_could_frame_differently_is_400(house: House, framing: str) -> None:
    body = b"0\r\n\r\n"
    reply = await house.raw(f"POST /public/x HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n".encode() + body)

    assert reply.startswith(b"HTTP/1.1 400 ")
    assert house.upstream.seen == []


async def test_t17_http_1_0_with_chunks_is_400(house: House) -> None:
    reply = await house.raw(b"POST /public/x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    assert reply.startswith(b"HTTP/1.1 400 ")


async def test_t04_trailers_of_a_request_do_not_reach_the_upstream(house: House) -> None:
    body = b"4\r\nbody\r\n0\r\nX-Auth-Subject: root\r\n\r\n"
    await house.raw(b"POST /public/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    assert house.upstream.last.body == b"body"
    assert b"root" not in house.upstream.last.head


# --- T-18: too much ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param("X: " + "a" * 40_000, id="one line"),
        pytest.param("\r\n".join(f"X-{n}: a" for n in range(10_000)), id="many lines"),
        pytest.param("\r\n".join(f"X-{n}: {'a' * 1000}" for n in range(100)), id="too much in all"),
        pytest.param("Cookie: " + "; ".join(f"c{n}=1" for n in range(10_000)), id="a thousand cookies"),
        pytest.param("Authorization: Bearer a." + "b" * 9_000 + ".c", id="a large token"),
    ],
)
async def test_t18_headers_over_the_limits_are_431(house: House, headers: str) -> None:
    reply = await house.raw(f"GET /x HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n".encode())

    assert reply.startswith(b"HTTP/1.1 431 ")


async def test_t18_a_token_of_a_million_dots_is_no_work(house: House) -> None:
    reply = await house.raw(b"GET /x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + b"." * 30_000 + b"\r\n\r\n")

    assert reply.split(b" ")[1] == b"401"


# --- T-16: leakage -------------------------------------------------------------------------------------------------


async def test_t16_no_token_key_or_query_is_written_anywhere(
    built: OpenHouse, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    written = io.StringIO()
    async with built(log_form="json", log_stream=written) as house:
        cookies = house.cookies("ada@example.com")
        with caplog.at_level(logging.DEBUG):
            answers = await _everything_answered(house, cookies)
        metrics = await (await house.http.get(f"{house.admin}/metrics")).text()
    secrets = [cookies["DS"], cookies["DSR"], WORKER_KEY, "made-up-secret-key", "query-secret"]
    captured = capsys.readouterr()
    everything = written.getvalue() + caplog.text + captured.out + captured.err + metrics + answers

    assert "/admin/x" in written.getvalue()
    assert not [secret for secret in secrets if secret in everything]


async def _everything_answered(house: House, cookies: dict[str, str]) -> str:
    """All answers to requests with all kinds of credentials, but for the way back that a browser is sent along with."""
    answers = []
    for headers in (
        cookie_header(cookies),
        {"Authorization": f"Bearer {cookies['DS']}"},
        {"Authorization": f"Bearer {cookies['DS'][:-4]}AAAA"},
        {"Authorization": "Bearer made-up-secret-key"},
        {"X-API-Key": WORKER_KEY},
    ):
        for path in ("/admin/x", "/jobs/x", "/either/x"):
            for more in ({}, {"Accept": "text/html"}):
                reply = await house.get(f"{path}?token=query-secret", headers=headers | more)
                answers.append(reply.text + str(dict(reply.headers)).replace("%3Ftoken%3Dquery-secret", ""))
    await house.send("POST", "/.auth/logout", headers=cookie_header(cookies))
    return "".join(answers)


@pytest.mark.parametrize(
    "line",
    [
        b"Authorization: Bearer SECRET\0x",
        b"Authorization: Bearer SECRET\x01",
        b"Cookie : DS=SECRET",
        b"Authorization\x80: SECRET",
        b"SECRET",
    ],
)
async def test_f2_a_line_that_cannot_be_parsed_is_quoted_nowhere(
    house: House, line: bytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        reply = await house.raw(b"GET /x HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n")
    house.gateway.request_log.flush()
    captured = capsys.readouterr()

    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"SECRET" not in reply
    assert "SECRET" not in caplog.text + captured.out + captured.err


@pytest.mark.parametrize("form", ["json", "text"])
async def test_t16_log_lines_cannot_be_forged(built: OpenHouse, form: str) -> None:
    written = io.StringIO()
    async with built(log_form=form, log_stream=written) as house:
        await house.get("/public/%C2%A0%E2%80%AE")
        await house.raw(b"GET /public/x%0d%0aforged HTTP/1.1\r\nHost: h\r\n\r\n")
        await house.raw(b"G\x1b[31m /x HTTP/1.1\r\nHost: h\r\n\r\n")

    lines = written.getvalue().splitlines()
    assert len(lines) == 3
    assert all(line.isascii() and line.isprintable() for line in lines)


def test_logging_set_up_writes_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    try:
        set_up_logging("json", out)
        logging.getLogger("httpx").info("GET https://example.com/?loginId=ada")
        log.warning("something\nforged", detail="a\r\nb")
        lines = out.getvalue().splitlines()
    finally:
        logging.basicConfig(force=True)

    assert len(lines) == 1
    assert json.loads(lines[0])["event"] == "something\nforged"


# --- T-20: side doors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/", 404),
        ("/healthz/", 404),
        ("/healthz/../admin", 404),
        ("/healthz?x", 404),
        ("/HEALTHZ", 404),
        ("/admin/x", 404),
        ("/.auth/me", 404),
    ],
)
async def test_t20_the_admin_listener_answers_three_paths_and_nothing_else(
    house: House, path: str, status: int
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.admin.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    reply = await reader.read()
    writer.close()

    assert int(reply.split(b" ")[1]) == status
    assert house.upstream.seen == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_t20_the_public_listener_knows_no_admin_path(house: House, path: str) -> None:
    reply = await house.get(path, headers={"User-Agent": ""})

    assert reply.status == 401


# --- T-04: what a WSGI service would read --------------------------------------------------------------------------


async def test_t04_a_folding_service_reads_our_identity_or_none(house: House) -> None:
    spellings = ["X-Auth-Subject", "x-auth-subject", "X_Auth_Subject", "X.Auth.Subject", "x-Auth_Subject"]
    spoofed = "".join(f"{name}: root\r\n" for name in spellings).encode()
    session = f"Cookie: DS={house.cookies('ada@example.com')['DS']}\r\n".encode()
    for path, cookie in ((b"/public/x", b""), (b"/x", session), (b"/optional/x", b"")):
        await house.raw(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n" + spoofed + cookie + b"\r\n")

    environs = [_as_wsgi(seen) for seen in house.upstream.seen]
    assert [environ.get("HTTP_X_AUTH_SUBJECT", [""])[0][:2] for environ in environs] == ["", "U2", ""]
    assert all(len(values) == 1 for environ in environs for values in environ.values())


def _as_wsgi(seen: Seen) -> dict[str, list[str]]:
    """Header names as CGI spells them (RFC 3875), the way most servers fold them."""
    environ: dict[str, list[str]] = {}
    for line in seen.head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name:
            folded = "HTTP_" + name.upper().replace("-", "_").replace(".", "_")
            environ.setdefault(folded, []).append(value.strip())
    return environ
