"""What crosses the gateway, asserted on the bytes that arrive: bodies, framing, streaming, upgrades, bad upstreams."""

import asyncio
import contextlib
import io
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.conftest import LOOPBACK, House, OpenHouse, Seen, cookie_header, read_body, reason_of
from tests.wire.services import Begins

PUBLIC = """
routes:
  - id: all
    match: {path: "/**"}
    auth: public
    upstream: legacy
    timeouts: {response: 1s, idle: 300ms}
    max_body: 64KiB
"""


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT"])
async def test_every_method_is_forwarded_as_it_is(house: House, method: str) -> None:
    reply = await house.send(method, "/public/x", data=b"body" if method in ("POST", "PUT", "PATCH") else None)

    assert reply.status == 200
    assert house.upstream.last.line == f"{method} /public/x HTTP/1.1"


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_connect_and_trace_are_refused(house: House, method: str) -> None:
    target = "/public/x" if method == "TRACE" else "app.example.com:443"
    reply = await house.raw(f"{method} {target} HTTP/1.1\r\nHost: app.example.com\r\n\r\n".encode())

    assert reply.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: DELETE, GET, " in reply
    assert house.upstream.seen == []


@pytest.mark.parametrize(
    "target",
    [
        "/public/a%20b?x=1&y=%2F",
        "/public/caf%C3%A9?",
        "/public/a+b",
        "/public/?a=b?c",
        "/public/a/",
        "/public/%5B1%5D/@me/!$&'()*,=:",
    ],
)
async def test_a_canonical_path_and_query_arrive_byte_for_byte(house: House, target: str) -> None:
    reply = await house.raw(f"GET {target} HTTP/1.1\r\nHost: app.example.com\r\n\r\n".encode())

    assert reply.startswith(b"HTTP/1.1 200 ")
    assert house.upstream.last.path == target


async def test_bodies_arrive_whole_in_both_framings(house: House) -> None:
    body = os.urandom(300_000)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    by_length = await house.send("POST", "/public/length", data=body)
    chunked = await house.send("POST", "/public/chunked", data=pieces())

    assert (by_length.status, chunked.status) == (200, 200)
    assert [seen.body == body for seen in house.upstream.seen] == [True, True]
    assert [seen.value("transfer-encoding") for seen in house.upstream.seen] == [None, "chunked"]


async def test_a_post_without_a_body_says_so(house: House) -> None:
    await house.raw(b"POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")

    assert house.upstream.last.value("content-length") == "0"


async def test_a_reply_goes_back_whole_in_every_framing(house: House) -> None:
    body = os.urandom(500_000)
    framings = {
        "/public/length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
        "/public/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (50_000, body[n : n + 50_000]) for n in range(0, len(body), 50_000))
        + b"0\r\n\r\n",
        "/public/close": b"HTTP/1.0 200 OK\r\n\r\n" + body,
    }

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(framings[seen.path])
        await writer.drain()
        return seen.path != "/public/close"

    house.upstream.reply = answer
    for path in framings:
        async with house.http.get(f"{house.url}{path}") as reply:
            assert await reply.read() == body, path


async def test_nothing_is_decompressed_and_nothing_is_added(house: House) -> None:
    house.upstream.reply = b"HTTP/1.1 200 Fine\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nnogzip"[:-1]

    reply = await house.raw(b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n")

    head, _, body = reply.partition(b"\r\n\r\n")
    names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
    assert head.startswith(b"HTTP/1.1 200 Fine\r\n")
    assert body == b"nogzi"
    assert sorted(names) == [b"content-encoding", b"content-length", b"x-request-id"]
    arrived = [line.split(b":")[0].lower() for line in house.upstream.last.head.split(b"\r\n")[1:] if line]
    assert not {b"accept", b"accept-encoding", b"user-agent"} & set(arrived)


async def test_redirects_are_passed_on_and_not_followed(house: House) -> None:
    house.upstream.reply = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"

    reply = await house.get("/public/x")

    assert (reply.status, reply.headers["Location"]) == (302, "/elsewhere")
    assert len(house.upstream.seen) == 1


async def test_several_set_cookie_lines_stay_several_and_no_jar_keeps_them(house: House) -> None:
    cookies = b"".join(b"Set-Cookie: c%d=%d; Path=/\r\n" % (n, n) for n in range(200))
    house.upstream.reply = b"HTTP/1.1 200 OK\r\n" + cookies + b"Content-Length: 0\r\n\r\n"

    first = await house.raw(b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n")
    await house.raw(b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n")

    assert first.count(b"\r\nSet-Cookie: c") == 200
    assert house.upstream.last.values("cookie") == []


@pytest.mark.parametrize("status", [204, 304])
async def test_204_and_304_have_no_body_and_the_connection_goes_on(house: House, status: int) -> None:
    house.upstream.reply = b'HTTP/1.1 %d X\r\nETag: "1"\r\n\r\n' % status

    replies = [await house.get("/public/x") for _ in range(3)]

    assert [reply.status for reply in replies] == [status] * 3
    assert house.upstream.connections == 1


async def test_f12_head_and_304_keep_their_content_length(house: House) -> None:
    house.upstream.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
    head = await house.send("HEAD", "/public/x")
    house.upstream.reply = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n"
    unchanged = await house.raw(b"GET /public/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", until_closed=True)

    assert head.headers["Content-Length"] == "1234"
    assert b"Content-Length: 1234" in unchanged


async def test_f12_interim_replies_of_the_upstream_are_not_the_reply(house: House) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Auth-Subject: root\r\n\r\n"
    house.upstream.reply = early + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    reply = await house.get("/public/x")

    assert (reply.status, reply.body) == (200, b"ok")
    assert "Link" not in reply.headers


async def test_trailers_of_a_reply_are_dropped(house: House) -> None:
    house.upstream.reply = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n2\r\nok\r\n0\r\nX-Late: yes\r\n\r\n"
    )

    reply = await house.raw(b"GET /public/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", until_closed=True)

    assert b"ok" in reply
    assert b"X-Late" not in reply


async def test_events_arrive_as_they_are_sent(house: House) -> None:
    go_on = asyncio.Event()

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n")
        await writer.drain()
        await go_on.wait()
        writer.write(b"data: two\n\n")
        return False

    house.upstream.reply = answer
    async with house.http.get(f"{house.url}/public/events") as reply:
        first = await reply.content.readany()
        metrics = await (await house.http.get(f"{house.admin}/metrics")).text()
        go_on.set()
        rest = await reply.content.read()

    assert (first, rest) == (b"data: one\n\n", b"data: two\n\n")
    assert 'gateway_open_streams{kind="sse"} 1.0' in metrics


async def test_100_continue_is_held_until_the_request_is_admitted(house: House) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    refused = await house.raw(head % b"/admin/x")
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(head % b"/public/x")
    interim = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"body")
    final = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert refused.startswith(b"HTTP/1.1 401 ")
    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert final.startswith(b"HTTP/1.1 200 ")
    assert house.upstream.last.body == b"body"
    assert house.upstream.last.values("expect") == []


async def test_any_other_expectation_is_nobodys(house: House) -> None:
    head = b"POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 200-maybe\r\n\r\nbody"

    assert (await house.raw(head)).startswith(b"HTTP/1.1 200 ")


async def test_http_1_0_clients_get_no_chunks(house: House) -> None:
    house.upstream.reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"

    reply = await house.raw(b"GET /public/x HTTP/1.0\r\n\r\n", until_closed=True)

    assert b"ransfer-" not in reply
    assert reply.endswith(b"\r\n\r\nok")


async def test_pipelined_requests_are_answered_in_order(house: House) -> None:
    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        body = seen.path.encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return True

    house.upstream.reply = answer
    requests = b"".join(b"GET /public/%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(5))
    last = b"GET /public/end HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

    replies = await house.raw(requests + last, until_closed=True)

    bodies = [part.split(b"HTTP/1.1")[0] for part in replies.split(b"\r\n\r\n")[1:]]
    assert bodies == [b"/public/0", b"/public/1", b"/public/2", b"/public/3", b"/public/4", b"/public/end"]


# --- limits on bodies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "in chunks"])
async def test_a_body_over_the_routes_limit_is_413(built: OpenHouse, chunked: bool) -> None:
    async with built(routes=PUBLIC) as house:
        size = 70_000
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size) if chunked else b"x" * size

        reply = await house.raw(b"POST /x HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n" + body)

        assert reply.startswith(b"HTTP/1.1 413 ")
        assert json.loads(reply.partition(b"\r\n\r\n")[2])["reason"] == "body_too_large"


async def test_t18_a_body_that_stops_coming_ends_the_request(built: OpenHouse) -> None:
    async with built(routes=PUBLIC) as house:
        reply = await house.raw(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc", until_closed=True)

        assert reply.startswith(b"HTTP/1.1 400 ")


# --- upstreams that misbehave ----------------------------------------------------------------------------------------

NONSENSE = {
    "no http": b"hello\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "folded line": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "nul in a value": b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "compressed transfer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "identity": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
    "compressed and whole": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "http 2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n",
    "unasked 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "a name with a blank": b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
    "nothing at all": b"",
}


@pytest.mark.parametrize("sent", NONSENSE.values(), ids=NONSENSE.keys())
async def test_f12_nonsense_from_an_upstream_is_502(house: House, sent: bytes) -> None:
    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(sent)
        await writer.drain()
        return False

    house.upstream.reply = answer

    reply = await house.get("/public/x")

    assert (reply.status, reason_of(reply)) == (502, "upstream_bad_reply")


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX: "], ids=["reason", "value"])
async def test_t18_an_endless_head_is_502_before_it_fills_memory(house: House, start: bytes) -> None:
    sent = 0

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        writer.write(start)
        for _ in range(500):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536
        return False

    house.upstream.reply = answer

    reply = await house.get("/public/x")

    assert reason_of(reply) == "upstream_bad_reply"
    assert sent < 8_000_000


async def test_t18_an_upstream_that_does_not_take_the_body_is_504(built: OpenHouse) -> None:
    over = asyncio.Event()

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await over.wait()
        return False

    async with built(routes=PUBLIC.replace("64KiB", "1GiB")) as house:
        house.upstream.reply = answer
        reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        writer.write(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 60000000\r\n\r\n")
        writer.write(b"x" * 60_000_000)

        status = await reader.readuntil(b"\r\n")
        over.set()
        writer.transport.abort()

        assert status.startswith(b"HTTP/1.1 504 ")


async def test_a_reply_goes_on_while_its_upstream_leaves_the_body_unread(built: OpenHouse) -> None:
    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for _ in range(8):
            writer.write(b"data: 1\n\n")
            await asyncio.sleep(0.1)
        return False

    async with built(routes=PUBLIC.replace("64KiB", "1GiB")) as house:
        house.upstream.reply = answer
        reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        writer.write(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 60000000\r\n\r\n")
        writer.write(b"x" * 60_000_000)
        reply = b""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                reply += data
        writer.transport.abort()

        assert reply.count(b"data: 1") == 8


async def test_t18_an_endless_trailer_ends_the_reply_before_it_fills_memory(house: House) -> None:
    sent = 0

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: ")
        for _ in range(500):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536
        return False

    house.upstream.reply = answer

    with pytest.raises(aiohttp.ClientError):
        await house.get("/public/x")
    assert sent < 8_000_000


async def test_t18_a_client_that_does_not_read_its_reply_is_let_go(built: OpenHouse) -> None:
    gone = asyncio.Event()

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        finally:
            gone.set()

    async with built(routes=PUBLIC) as house:
        house.upstream.reply = answer
        _, writer = await asyncio.open_connection(LOOPBACK, house.url.port, limit=4096)
        writer.write(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(5):
            await gone.wait()
        writer.close()


async def test_a_body_over_the_limit_after_the_reply_began_ends_both(built: OpenHouse) -> None:
    async with built(routes=PUBLIC) as house:
        house.upstream.reply = Begins(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        writer.write(b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await reader.readuntil(b"data: 1")
        writer.write(b"%x\r\n%b\r\n" % (70_000, b"x" * 70_000))
        async with asyncio.timeout(5):
            try:
                rest = await reader.read()
            except ConnectionError:
                rest = b""
        writer.close()

        assert not rest.endswith(b"0\r\n\r\n")


async def test_an_upstream_that_is_not_there_is_502(built: OpenHouse) -> None:
    async with built(
        routes="routes: [{id: gone, match: {path: '/**'}, auth: public, upstream: gone},"
        " {id: l, match: {path: /l}, auth: public, upstream: legacy}]",
        top="  gone: {url: 'http://127.0.0.1:1'}",
    ) as house:
        reply = await house.get("/x")

        assert (reply.status, reason_of(reply)) == (502, "upstream_unreachable")


async def test_an_upstream_that_never_answers_is_504(built: OpenHouse) -> None:
    async with built(routes=PUBLIC.replace("response: 1s", "response: 100ms")) as house:
        house.upstream.reply = Begins()

        reply = await house.get("/x")

        assert (reply.status, reason_of(reply)) == (504, "upstream_timeout")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", id="chunks"),
    ],
)
async def test_f13_half_a_reply_ends_the_clients_connection_and_never_looks_whole(house: House, head: bytes) -> None:
    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(head)
        await writer.drain()
        return False

    house.upstream.reply = answer

    with pytest.raises(aiohttp.ClientError):
        async with house.http.get(f"{house.url}/public/x") as reply:
            await reply.read()


async def test_a_reply_that_stops_half_way_ends_the_connection(built: OpenHouse) -> None:
    async with built(routes=PUBLIC) as house:
        house.upstream.reply = Begins(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

        with pytest.raises(aiohttp.ClientError):
            async with house.http.get(f"{house.url}/x") as reply:
                await reply.read()


async def test_a_client_that_goes_away_ends_its_request_at_the_upstream(house: House) -> None:
    gone = asyncio.Event()

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.read()
        gone.set()
        return False

    house.upstream.reply = answer
    _, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n")
    while not house.upstream.seen:
        await asyncio.sleep(0.01)
    writer.close()

    async with asyncio.timeout(5):
        await gone.wait()


@pytest.mark.parametrize(
    ("top", "count", "size", "status"),
    [
        ("", 2, 30_000, 200),
        ("", 3, 30_000, 431),
        ("", 1, 33_000, 431),
        ("", 201, 1, 431),
        ("  header_limits: {total: 128KiB, line: 64KiB, lines: 500}", 2, 60_000, 200),
        ("  header_limits: {total: 128KiB, line: 64KiB, lines: 500}", 450, 1, 200),
        ("  header_limits: {total: 128KiB, line: 64KiB, lines: 500}", 501, 1, 431),
        ("  header_limits: {total: 128KiB, line: 64KiB, lines: 500}", 3, 60_000, 431),
        ("  header_limits: {total: 4KiB, line: 2KiB, lines: 20}", 1, 2_100, 431),
        ("  header_limits: {total: 4KiB, line: 2KiB, lines: 20}", 3, 1_500, 431),
        ("  header_limits: {total: 4KiB, line: 2KiB, lines: 20}", 1, 1_500, 200),
    ],
)
async def test_t18_headers_are_as_large_as_the_route_file_lets_them_be(
    built: OpenHouse, top: str, count: int, size: int, status: int
) -> None:
    async with built(server=top) as house:
        lines = b"".join(b"X-%d: %b\r\n" % (number, b"v" * size) for number in range(count))
        reply = await house.raw(b"GET /public/x HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n")

        assert int(reply.split(b" ")[1]) == status
        if status == 200:
            assert house.upstream.last.value("x-0") == "v" * size


# --- T-17: who gets whose reply --------------------------------------------------------------------------------------


async def test_t17_a_connection_with_bytes_that_nobody_asked_for_serves_nobody_else(house: House) -> None:
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    house.upstream.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + poison

    bodies = [(await house.get("/public/x")).body for _ in range(3)]

    assert bodies == [b"ok"] * 3
    assert house.upstream.connections == 3


async def test_t17_a_body_on_head_and_204_reaches_nobody(house: House) -> None:
    house.upstream.reply = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    first = await house.get("/public/x")
    house.upstream.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    second = await house.get("/public/x")

    assert (first.status, second.body) == (204, b"ok")


async def test_t17_an_early_reply_while_the_body_is_still_coming_costs_the_connection(house: House) -> None:
    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await reader.read()
        return False

    house.upstream.reply = answer
    reply = await house.raw(b"POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc")
    house.upstream.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    second = await house.get("/public/y")

    assert reply.startswith(b"HTTP/1.1 403 ")
    assert b"Connection: close" in reply
    assert second.body == b"ok"
    assert house.upstream.connections == 2


async def test_a_kept_connection_that_the_upstream_closed_is_no_error_for_a_request_that_may_be_repeated(
    house: House,
) -> None:
    async def once(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if len(house.upstream.seen) == 2:
            return False  # closes under the hands of the second request
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True

    house.upstream.reply = once
    replies = [await house.get("/public/x") for _ in range(2)]

    assert [reply.status for reply in replies] == [200, 200]
    assert house.upstream.connections == 2


async def test_a_request_that_may_not_be_repeated_is_not(house: House) -> None:
    async def once(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await read_body(seen, reader)
        if len(house.upstream.seen) == 2:
            return False
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True

    house.upstream.reply = once
    statuses = [(await house.send("POST", "/public/x", data=b"pay")).status for _ in range(2)]

    assert statuses == [200, 502]
    assert len(house.upstream.seen) == 2


# --- upgrades ---------------------------------------------------------------------------------------------------------

UPGRADE = (
    b"GET /public/ws HTTP/1.1\r\nHost: app.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


async def echo_socket(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(SWITCHED + b"hello")
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    return False


async def test_after_the_upstreams_101_bytes_cross_untouched_both_ways(house: House) -> None:
    house.upstream.reply = echo_socket
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(UPGRADE % b"")
    head = await reader.readuntil(b"\r\n\r\n")
    greeting = await reader.readexactly(5)
    data = os.urandom(1_000_000)
    writer.write(data)
    echoed = await reader.readexactly(len(data))
    writer.close()

    assert head.startswith(b"HTTP/1.1 101 ")
    assert greeting == b"hello"
    assert echoed == data
    assert house.upstream.last.value("upgrade") == "websocket"


async def test_t17_no_byte_of_the_client_reaches_the_upstream_before_its_101(house: House) -> None:
    early: list[bytes] = []

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            async with asyncio.timeout(0.1):
                early.append(await reader.read(100))
        except TimeoutError:
            pass
        writer.write(SWITCHED)
        early.append(b"|" + await reader.read(100))
        return False

    house.upstream.reply = answer
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(UPGRADE % b"" + b"GET /admin HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    await reader.read()
    writer.close()

    assert early == [b"|GET /admin HTTP/1.1\r\n\r\n"]


@pytest.mark.parametrize("framing", [b"Content-Length: 63\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_t17_an_upgrade_with_a_body_is_no_request_to_be_forwarded(house: House, framing: bytes) -> None:
    smuggled = b"GET /admin/smuggled HTTP/1.1\r\nHost: a\r\nX-Auth-Subject: evil\r\n\r\n"
    reply = await house.raw(UPGRADE % framing + smuggled)

    assert reply.startswith(b"HTTP/1.1 400 ")
    assert house.upstream.seen == []


async def test_an_upgrade_over_http_1_0_is_not_asked_for(house: House) -> None:
    reply = await house.raw(UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0") % b"", until_closed=True)

    assert reply.startswith(b"HTTP/1.1 200 ")
    assert house.upstream.last.values("upgrade") == []


async def test_t17_an_upgrade_answered_200_is_an_ordinary_reply(house: House) -> None:
    reply = await house.raw(UPGRADE % b"")

    assert reply.startswith(b"HTTP/1.1 200 ")
    assert reply.endswith(b"ok")


async def test_an_upgrade_to_anything_else_is_not_asked_for(house: House) -> None:
    reply = await house.raw(
        b"GET /public/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
    )

    assert reply.startswith(b"HTTP/1.1 200 ")
    assert house.upstream.last.values("upgrade") + house.upstream.last.values("http2-settings") == []


async def test_a_websocket_ends_on_both_sides_when_either_ends_it(house: House) -> None:
    ended = asyncio.Event()

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(SWITCHED)
        if seen.path.endswith("upstream"):
            writer.write(b"bye")
            return False
        await reader.read()
        ended.set()
        return False

    house.upstream.reply = answer
    by_upstream = await house.raw(UPGRADE.replace(b"/ws", b"/upstream") % b"", until_closed=True)
    _, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(UPGRADE % b"")
    while len(house.upstream.seen) < 2:
        await asyncio.sleep(0.01)
    writer.close()
    async with asyncio.timeout(5):
        await ended.wait()

    assert by_upstream.endswith(b"bye")


async def test_a_stream_that_its_client_ends_is_no_interruption(built: OpenHouse) -> None:
    written = io.StringIO()
    async with built(log_form="json", log_stream=written) as house:
        house.upstream.reply = echo_socket
        reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        writer.write(UPGRADE % b"")
        await reader.readuntil(b"hello")
        writer.close()
        while house.upstream.closed == 0:
            await asyncio.sleep(0.01)

    record = json.loads(written.getvalue())
    assert (record["outcome"], record["status"]) == ("admitted", 101)


@pytest.mark.parametrize(
    ("headers", "admitted"),
    [
        pytest.param(b"Origin: http://app.example.com\r\n", True, id="own origin"),
        pytest.param(b"Sec-Fetch-Site: same-origin\r\nOrigin: http://app.example.com\r\n", True, id="same origin"),
        pytest.param(b"Origin: http://evil.example\r\n", False, id="foreign origin"),
        pytest.param(b"Origin: null\r\n", False, id="null origin"),
        pytest.param(b"", False, id="no origin"),
        pytest.param(b"Sec-Fetch-Site: cross-site\r\n", False, id="cross-site"),
        pytest.param(b"Sec-Fetch-Site: same-site\r\nOrigin: http://other.example.com\r\n", False, id="same-site"),
    ],
)
async def test_t24_an_upgrade_with_cookies_comes_from_our_own_origin(
    house: House, headers: bytes, admitted: bool
) -> None:
    house.upstream.reply = echo_socket
    cookie = f"Cookie: DS={house.cookies('ada@example.com')['DS']}\r\n".encode()

    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(UPGRADE.replace(b"/public/ws", b"/ws") % (headers + cookie))
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert head.split(b" ")[1] == (b"101" if admitted else b"403")
    assert bool(house.upstream.seen) == admitted


async def test_an_upgrade_without_cookies_needs_no_origin(house: House) -> None:
    house.upstream.reply = echo_socket
    bearer = f"Authorization: Bearer {house.cookies('ada@example.com')['DS']}\r\n".encode()

    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(UPGRADE.replace(b"/public/ws", b"/ws") % bearer)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert head.startswith(b"HTTP/1.1 101 ")


# --- where the upstream listens --------------------------------------------------------------------------------------


async def test_an_upstream_may_listen_on_a_unix_socket(built: OpenHouse, tmp_path: Any) -> None:
    socket = tmp_path / "app.sock"
    routes = "routes: [{id: all, match: {path: '/**'}, auth: public, upstream: by_socket}]"
    async with built(routes=routes, top=f"  by_socket: {{url: 'unix:{socket}'}}") as house:
        server = await asyncio.start_unix_server(house.upstream, socket)
        try:
            reply = await house.get("/x?y", headers={"Host": "app.example.com"})
        finally:
            server.close()

        assert reply.status == 200
        assert house.upstream.last.path == "/x?y"
        assert house.upstream.last.value("host") == "app.example.com"


async def test_a_slow_reader_holds_the_upstream_back_instead_of_filling_memory(house: House) -> None:
    written = 0
    block = b"x" * 65536

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1000 * len(block)))
        for _ in range(1000):
            writer.write(block)
            await writer.drain()
            written += len(block)
        return True

    house.upstream.reply = answer
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port, limit=4096)
    writer.write(b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    before = -1
    while before != written:
        before = written
        await asyncio.sleep(0.1)
    stalled_at = written
    total = 0
    while total < 1000 * len(block):
        total += len(await reader.read(1 << 20))
    writer.close()

    assert stalled_at < 500 * len(block)
    assert total == 1000 * len(block)


async def test_a_session_cookie_is_enough_for_a_post_from_our_own_page(house: House) -> None:
    headers = cookie_header(house.cookies("ada@example.com")) | {"Origin": "http://app.example.com"}

    reply = await house.send("POST", "/form", data=b"a=1", headers=headers)

    assert reply.status == 200
