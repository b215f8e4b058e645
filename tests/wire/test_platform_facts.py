"""What the HTTP libraries below are known to get wrong, row by row, and what crosses the gateway instead.

F1 to F15 are rows of one list; each has at least one test here or elsewhere whose name begins with its number, in both
directions where the row has two. Everything is written and read as bytes.
"""

import ast
import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path

import certifi
import pytest

from tests.conftest import House, Seen
from tests.wire.raw import BETWEEN_S, PROBED, Line, Message, is_over, opened, read_reply, serves_again

ROOT = Path(__file__).parent.parent.parent
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(
    *lines: bytes, target: bytes = b"/public/x", host: bytes = b"app.example.com", version: bytes = b"1.1"
) -> bytes:
    return b"\r\n".join([b"GET %b HTTP/%b" % (target, version), b"Host: " + host, *lines]) + b"\r\n\r\n"


def post(framing: bytes, body: bytes, version: bytes = b"1.1") -> bytes:
    return b"POST /public/x HTTP/%b\r\nHost: h\r\n%b\r\n\r\n%b" % (version, framing, body)


async def ask(house: House, request: bytes) -> Message:
    """One request on a connection of its own."""
    async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
        writer.write(request)
        reply, _ = await read_reply(reader, request.partition(b" ")[0])
    return reply


async def cut_and_whole(house: House, request: bytes) -> set[int]:
    """The statuses of a request that comes in one piece and in two: two parsers read these."""
    statuses = {(await ask(house, request)).status}
    async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
        writer.write(request[:9])
        await asyncio.sleep(0.005)
        writer.write(request[9:])
        reply, _ = await read_reply(reader, request.partition(b" ")[0])
    return statuses | {reply.status}


def arrived(house: House) -> list[Line]:
    lines = house.upstream.last.head.split(b"\r\n")[1:]
    return [(name, value[1:]) for name, _, value in (line.partition(b":") for line in lines if line)]


def replying(house: House, sent: bytes, *, then_closes: bool = False) -> None:
    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if seen.path == "/public/probe":
            writer.write(PROBED)
            return True
        writer.write(sent)
        await writer.drain()
        return not then_closes

    house.upstream.reply = answer


ODD = [b"ad\xa0min", b"caf\xe9", b"\xff\xfe", b"\xe2\x82\xac", b"\xed\xa0\x80", b"\x85a\x85", b"a\tb", b"\xc3"]


@pytest.mark.parametrize("value", ODD, ids=repr)
async def test_f1_bytes_that_are_not_utf8_arrive_as_they_were_sent_both_ways(house: House, value: bytes) -> None:
    replying(house, b"HTTP/1.1 200 " + value + b"\r\nX-A: " + value + b"\r\nContent-Length: 0\r\n\r\n")
    request = get(b"X-A: " + value, b"Cookie: a=" + value, b"Referer: /" + value)

    for piece in (request, b"\r\n" + request):  # an empty line first goes another way through the gateway
        reply = await ask(house, piece)
        sent = [line for line in arrived(house) if line[0] in (b"X-A", b"Cookie", b"Referer")]
        assert sent == [(b"X-A", value), (b"Cookie", b"a=" + value), (b"Referer", b"/" + value)]
        assert reply.first == b"HTTP/1.1 200 " + value
        assert reply.values(b"x-a") == [value]


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nSet-Cookie: SECRET\0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSECRET : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSECRET\r\n\r\n",
        b"SECRET\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: SECRET\r\n\r\n",
    ],
)
async def test_f2_a_reply_that_cannot_be_parsed_is_quoted_nowhere(
    house: House, sent: bytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    replying(house, sent)
    with caplog.at_level(logging.DEBUG):
        reply = await ask(house, get())
    captured = capsys.readouterr()

    assert reply.status == 502
    assert b"SECRET" not in reply.body + repr(reply.lines).encode()
    assert "SECRET" not in caplog.text + captured.out + captured.err
    assert "Traceback" not in caplog.text + captured.out + captured.err


@pytest.mark.parametrize(
    ("target", "host", "sent"),
    [
        (b"/public/x", b"", None),
        (b"/public/x", b"a/b@c", None),
        (b"/public/x", b"a, b", None),
        (b"/public/x", b"a b", None),
        (b"/public/x", b"a@b", None),
        (b"/public/x", b"h:0", None),
        (b"http://h/public/x?y", b"h", b"/public/x?y"),
        (b"HTTPS://H:1/public/x", b"h:1", b"/public/x"),
        (b"http://other/public/x", b"h", None),
        (b"http://h:81/public/x", b"h", None),
        (b"http://a@h/public/x", b"h", None),
        (b"http://a@h/public/x", b"a@h", None),
        (b"ws://h/public/x", b"h", None),
        (b"http://h\\@evil/public/x", b"h", None),
        (b"http://h/public/../admin/x", b"h", None),
    ],
)
async def test_f3_a_target_with_a_host_must_name_the_host_header_and_is_sent_as_its_path(
    house: House, target: bytes, host: bytes, sent: bytes | None
) -> None:
    assert await cut_and_whole(house, get(target=target, host=host)) == {200 if sent else 400}
    assert {seen.path.encode() for seen in house.upstream.seen} == ({sent} if sent else set())
    assert {seen.value("host") for seen in house.upstream.seen} == ({host.decode()} if sent else set())


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        (b"/public/%2e%2e/admin", None),
        (b"/public/../admin", None),
        (b"/public/./x", None),
        (b"/public/..;/admin", None),
        (b"/public/..%2fadmin", None),
        (b"/public/a%2fb", None),
        (b"/public/a\\b", None),
        (b"/public/a%5Cb", None),
        (b"/public/%00", None),
        (b"/public/%2561", None),
        (b"/public/%c0%ae", None),
        (b"/public/%61%2D%7e", b"/public/a-~"),
        (b"/public/%c3%a9", b"/public/%C3%A9"),
        (b"/public/a%20b?%2e%2e/%61", b"/public/a%20b?%2e%2e/%61"),
    ],
)
async def test_f4_what_is_decided_on_is_what_is_sent_in_one_spelling(
    house: House, target: bytes, sent: bytes | None
) -> None:
    assert await cut_and_whole(house, get(target=target)) == {200 if sent else 400}
    assert {seen.path.encode() for seen in house.upstream.seen} == ({sent} if sent else set())


@pytest.mark.parametrize(
    "name", [b"X_Auth_Subject", b"x.auth_roles", b"X_Forwarded_For", b"X_Request_Id", b"X_Real.IP"]
)
async def test_f5_no_name_with_underscores_stands_for_one_of_ours(house: House, name: bytes) -> None:
    await ask(house, get(name + b": root", b"X_Thing: kept"))

    assert b"root" not in house.upstream.last.head
    assert (b"X_Thing", b"kept") in arrived(house)


@pytest.mark.parametrize("line", [b"Transfer_Encoding: chunked", b"Content_Length: 5", b"Content.Length: 5"])
async def test_f5_no_name_with_underscores_frames_a_body(house: House, line: bytes) -> None:
    assert await cut_and_whole(house, post(line, b"")) == {400}
    assert house.upstream.seen == []


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"//foo", 400),
        (b"/public//x", 400),
        (b"/public/%0a", 400),
        (b"/%0a", 400),
        (b"/public/?", 200),
        (b"/public?", 200),
    ],
)
async def test_f6_slashes_line_breaks_and_empty_queries_are_read_one_way(
    house: House, target: bytes, status: int
) -> None:
    assert await cut_and_whole(house, get(target=target)) == {status}
    assert {seen.path.encode() for seen in house.upstream.seen} == ({target} if status == 200 else set())


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (post(b"Transfer-Encoding: chunked", b"0\r\n\r\n", version=b"1.0"), {400}),
        (get(version=b"2.0"), {400}),
        (get(version=b"1.2"), {400}),
        (get(version=b"0.9"), {400}),
        (get().replace(b"GET", b"TRACE"), {405}),
        (b"CONNECT app.example.com:443 HTTP/1.1\r\nHost: app.example.com:443\r\n\r\n", {405}),
    ],
    ids=["1.0 with chunks", "2.0", "1.2", "0.9", "TRACE", "CONNECT"],
)
async def test_f7_other_versions_and_trace_reach_nobody(house: House, request_: bytes, statuses: set[int]) -> None:
    assert await cut_and_whole(house, request_) == statuses
    assert house.upstream.seen == []


CODINGS = [
    b"gzip, chunked",
    b"gzip",
    b"chunked, chunked",
    b"identity",
    b"chunked;q=1",
    b"chunked, identity",
    b"\x0bchunked",
]


@pytest.mark.parametrize("coding", CODINGS, ids=repr)
async def test_f8_no_transfer_coding_but_chunked_is_taken_either_way(house: House, coding: bytes) -> None:
    assert await cut_and_whole(house, post(b"Transfer-Encoding: " + coding, b"2\r\nok\r\n0\r\n\r\n")) == {400}
    assert house.upstream.seen == []

    replying(
        house, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding + b"\r\n\r\n2\r\nok\r\n0\r\n\r\n", then_closes=True
    )
    assert (await ask(house, get())).status == 502


@pytest.mark.parametrize(
    ("template", "status"),
    [
        (b"Cookie: a=1 DS=%b", 401),
        (b"Cookie: a=1, DS=%b", 401),
        (b"Cookie: a=1\tDS=%b", 401),
        (b'Cookie: DS="%b"', 401),
        (b'Cookie: q="x; DS=%b; y"', 200),
        (b"Cookie: a=1;DS=%b", 200),
        (b"Cookie: a=1\r\nCookie: DS=%b", 200),
        (b"Cookie: DS=%b\r\nCookie: a=1", 200),
        (b"Cookie: ds=%b", 401),
    ],
)
async def test_f9_the_session_cookie_is_read_at_semicolons_and_nowhere_else(
    house: House, template: bytes, status: int
) -> None:
    session = house.cookies("ada@example.com")["DS"].encode()

    assert await cut_and_whole(house, get(template % session, target=b"/admin/x")) == {status}
    assert all(session not in seen.head for seen in house.upstream.seen)


@pytest.mark.parametrize("between", [b"; ", b"\r\nCookie: "], ids=["one line", "two lines"])
@pytest.mark.parametrize("order", [1, -1], ids=["ada first", "bob first"])
async def test_f9_two_sessions_of_two_people_are_ambiguous_wherever_they_stand(
    house: House, between: bytes, order: int
) -> None:
    pairs = [f"DS={house.cookies(name)['DS']}".encode() for name in ("ada@example.com", "bob@example.com")]

    assert (await ask(house, get(b"Cookie: " + between.join(pairs[::order]), target=b"/x"))).status == 400
    assert house.upstream.seen == []


@pytest.mark.parametrize("connection", [b"X-Hop, close", b"x-HOP", b"keep-alive , \tX-hop"], ids=repr)
async def test_f10_what_connection_names_stays_behind_both_ways(house: House, connection: bytes) -> None:
    replying(
        house, b"HTTP/1.1 200 OK\r\nX-Hop: 1\r\nX-A: b\r\nConnection: " + connection + b"\r\nContent-Length: 0\r\n\r\n"
    )

    reply = await ask(house, get(b"X-Hop: 1", b"X-A: b", b"Connection: " + connection))

    names = [name.lower() for name, _ in arrived(house)]
    assert b"x-a" in names
    assert not {b"x-hop", b"connection"} & set(names)
    assert (reply.values(b"x-hop"), reply.values(b"x-a")) == ([], [b"b"])


async def test_f10_connection_cannot_take_away_what_the_gateway_says(house: House) -> None:
    session = house.cookies("ada@example.com")["DS"].encode()
    named = b"Connection: X-Auth-Subject, X-Forwarded-For, Host, X-Request-Id, Content-Length"
    await ask(house, get(named, b"Authorization: Bearer " + session, target=b"/admin/x"))

    assert {b"X-Auth-Subject", b"X-Forwarded-For", b"Host", b"X-Request-Id"} <= {name for name, _ in arrived(house)}


async def test_f11_nothing_is_added_that_nobody_sent(house: House) -> None:
    replying(house, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    ours = {b"host", b"x-request-id", b"forwarded", b"x-real-ip"}

    for request in (get(), post(b"Content-Length: 2", b"ok"), b"\r\n" + get()):
        reply = await ask(house, request)
        assert [name.lower() for name, _ in reply.lines] == [b"x-request-id", b"content-length"]
        names = {name.lower() for name, _ in arrived(house)} - {b"content-length"}
        assert {name for name in names if not name.startswith(b"x-forwarded-")} == ours


INTERIMS = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nSet-Cookie: DS=evil\r\nX-Early: 1\r\n\r\n"
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX-Early: 1\r\n\r\n"
)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_f12_no_client_gets_an_interim_reply_of_the_service(house: House, version: bytes) -> None:
    replying(house, INTERIMS + b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok")
    async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
        writer.write(get(b"Connection: keep-alive", version=version))
        reply, interim = await read_reply(reader, b"GET")
        again = await serves_again(reader, writer)

    assert interim == []
    assert (reply.first, reply.body, reply.values(b"x-early")) == (b"HTTP/1.1 200 Fine", b"ok", [])
    assert again
    assert house.upstream.connections == 1


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"X-%d: y" % n for n in range(300)], id="300 lines"),
        pytest.param([b"Set-Cookie: c%d=%b; Path=/" % (n, b"v" * 200) for n in range(200)], id="200 cookies"),
        pytest.param([b"X-A: " + b"y" * 60_000], id="a line of 60,000 bytes"),
        pytest.param([b"X-%d: %b" % (n, b"y" * 1_000) for n in range(64)], id="64 KiB"),
    ],
)
async def test_f12_a_large_head_of_a_reply_passes_whole(house: House, lines: list[bytes]) -> None:
    replying(house, b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"Content-Length: 2"]) + b"\r\n\r\nok")

    reply = await ask(house, get())

    assert [b": ".join(line) for line in reply.lines[: len(lines)]] == lines
    assert (reply.status, reply.body, len(reply.lines)) == (200, b"ok", len(lines) + 2)


async def test_f12_200_cookies_of_a_client_pass_whole(house: House) -> None:
    cookies = b"; ".join(b"c%d=%b" % (n, b"v" * 100) for n in range(200))
    lines = [b"Cookie: c%d=1" % n for n in range(190)]

    for sent in ([b"Cookie: " + cookies], lines):
        assert await cut_and_whole(house, get(*sent)) == {200}
        assert [line for line in arrived(house) if line[0] == b"Cookie"] == [(b"Cookie", line[8:]) for line in sent]


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"X: a\0b",
        b"X: a\rb",
        b"Content-Length : 5",
        b"X : y",
        b"X: a\n b",
    ],
    ids=repr,
)
async def test_f13_what_can_be_framed_two_ways_is_refused_both_ways(house: House, framing: bytes) -> None:
    assert await cut_and_whole(house, post(framing, b"")) == {400}
    assert house.upstream.seen == []

    replying(house, b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n0\r\n\r\n", then_closes=True)
    assert (await ask(house, get())).status == 502


@pytest.mark.parametrize(
    "half",
    [post(b"Content-Length: 9", b"half"), post(b"Transfer-Encoding: chunked", b"4\r\nhalf\r\n")],
    ids=["length", "chunks"],
)
async def test_f13_half_a_request_never_looks_whole_to_the_service(house: House, half: bytes) -> None:
    arrived_: list[bytes] = []

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        arrived_.append(await reader.read(-1))
        return False

    house.upstream.reply = answer
    async with opened(house.url.port) as (_, writer):
        writer.write(half)
        while not house.upstream.seen:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(BETWEEN_S):
        while not arrived_:
            await asyncio.sleep(0.01)

    assert arrived_[0] in (b"", b"half", b"4\r\nhalf\r\n")


@pytest.mark.parametrize("size", [b"1" + b"0" * 16, b"f" * 17, b"1" + b"0" * 40], ids=["64 bits and one", "17", "41"])
async def test_f14_a_chunk_of_more_than_64_bits_is_refused_at_once_both_ways(house: House, size: bytes) -> None:
    async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
        writer.write(post(b"Transfer-Encoding: chunked", size + b"\r\nok"))
        refused, _ = await read_reply(reader, b"POST")
        assert await is_over(reader)
    assert refused.status == 400

    replying(house, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nok")
    async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
        writer.write(get())
        try:
            status = (await read_reply(reader, b"GET"))[0].status
        except (asyncio.IncompleteReadError, ConnectionError):
            status = 0  # the head had gone out already: broken off
    assert status in (0, 502)


@pytest.mark.parametrize("version", [b"1.2", b"9.9"])
async def test_f14_no_made_up_version_is_taken(house: House, version: bytes) -> None:
    assert await cut_and_whole(house, get(version=version)) == {400}
    assert house.upstream.seen == []


def test_f14_without_the_parser_in_c_the_gateway_does_not_start() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--config", "config/routes.yaml", "--listen", "127.0.0.1:0"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "SSL_CERT_FILE": certifi.where(),
            "AIOHTTP_NO_EXTENSIONS": "1",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )

    assert done.returncode == 1
    assert "C parser" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_f15_every_middleware_calls_what_follows_it_by_the_name_that_is_passed() -> None:
    found = [
        [argument.arg for argument in node.args.args]
        for path in (ROOT / "gateway").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AsyncFunctionDef) and "web.middleware" in map(ast.unparse, node.decorator_list)
    ]

    assert found
    assert {names[-1] for names in found} == {"handler"}


async def test_f15_a_fault_behind_the_middleware_is_answered_in_its_form(house: House) -> None:
    async with house.http.get(f"{house.gateway.config.base_url}/v1/auth/nowhere") as reply:
        assert reply.status in (400, 404)
        assert (await reply.json())["errorCode"]
