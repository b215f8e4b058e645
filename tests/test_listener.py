"""Requests read in one piece: the same as aiohttp reads them, or left to it; and the order of replies."""

import asyncio
import gc
import re
import socket
import time
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from gateway.core.facts import HeaderBlock, gather, read_block
from gateway.core.model import HeadLimits, Reason, RequestFacts, ServerRules
from gateway.doors.client import Client
from gateway.doors.listener import Wire
from gateway.doors.reader import Head, Reader
from tests.conftest import LOOPBACK, OK, House, Seen, read_body
from tests.wire.raw import opened
from tests.wire.services import until

LIMITS = HeadLimits()
TOKEN = some.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=8).map(str.encode)
NAMES = some.one_of(
    some.sampled_from([b"Host", b"Connection", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Upgrade"]), TOKEN
)
VALUES = some.one_of(
    some.sampled_from(
        [b"h", b"close", b"keep-alive", b"Upgrade", b"websocket", b"0", b"5", b"chunked", b"", b"a\x00b"]
    ),
    some.binary(max_size=12),
)
ENDS = some.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\n ", b"\r\n\t", b"\r"])


@some.composite
def heads(draw: Any) -> bytes:
    method = draw(some.one_of(some.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"CONNECT", b"PRI"]), TOKEN))
    target = draw(
        some.one_of(some.sampled_from([b"/", b"/a?b", b"*", b"http://h/x"]), some.binary(min_size=1, max_size=9))
    )
    version = draw(some.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2"]))
    lines = draw(some.lists(some.tuples(NAMES, some.sampled_from([b": ", b":", b" : "]), VALUES, ENDS), max_size=4))
    head: bytes = b" ".join((method, target, version)) + b"\r\n" + b"".join(map(b"".join, lines)) + b"\r\n"
    behind: bytes = draw(some.sampled_from([b"", b"", b"", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET", b"body"]))
    return head + behind


def as_aiohttp_reads(data: bytes) -> tuple[object, ...] | None:
    """What aiohttp makes of a request without a body; None for anything else."""
    loop = asyncio.new_event_loop()
    try:
        protocol = BaseProtocol(loop)
        parser = HttpRequestParser(
            protocol, loop, 2**16, max_line_size=32768, max_field_size=32768, max_headers=200, auto_decompress=False
        )
        try:
            messages, _, tail = parser.feed_data(data)
        except HttpProcessingError:
            return None
        if len(messages) != 1 or messages[0][1] is not EMPTY_PAYLOAD or tail:
            return None
        message = messages[0][0]
        raw_target = message.path.encode("utf-8", "surrogateescape")
        return message.method, raw_target, tuple(message.version), message.raw_headers, message.should_close
    finally:
        loop.close()


def judged(head: Head) -> RequestFacts | Reason:
    return gather(
        method=head.method,
        raw_target=head.raw_target,
        version=head.version,
        block=head.block,
        peer="127.0.0.1",
        server=ServerRules(("http://h",)),
    )


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(heads())
@example(b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nX:\r\nY: \t\r\nZ: z \t\r\n\r\n")
@example(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
@example(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
@example(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
def test_what_is_read_at_once_is_what_aiohttp_reads(data: bytes) -> None:
    reader = Reader(LIMITS)
    reader.read(b"GET /warm HTTP/1.1\r\nHost: h\r\n\r\n", 0.0)

    heads = [reader.read(data, 0.0) for _ in range(3)]  # parsed, parsed and kept, kept

    for head in heads:
        if head is not None:
            read = as_aiohttp_reads(data)
            if read is None:
                # A request without a host, for one: refused all the same, only later.
                assert isinstance(judged(head), Reason)
                continue
            method, raw_target, version, raw_headers, should_close = read
            assert (head.method, head.raw_target) == (method, raw_target)
            assert head.version == version or head.version == (0, 0)
            assert head.is_last == should_close
            ours, theirs = head.block, read_block(raw_headers, LIMITS)  # type: ignore[arg-type]  # as aiohttp has typed it
            assert type(ours) is type(theirs)
            if isinstance(ours, HeaderBlock) and isinstance(theirs, HeaderBlock):
                assert ours.headers == theirs.headers


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n",
        b"\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
    ids=["folded", "two", "body", "upgrade", "connect", "half", "an empty line first"],
)
def test_what_is_not_one_whole_request_without_a_body_is_left_alone(data: bytes) -> None:
    reader = Reader(LIMITS)

    assert reader.read(data, 0.0) is None
    assert reader.read(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0.0) is not None


def test_headers_are_kept_from_the_second_time_on() -> None:
    reader = Reader(LIMITS)
    data = b"GET / HTTP/1.1\r\nHost: h\r\nX: 1\r\n\r\n"

    kept, heads = [], []
    for _ in range(3):
        heads.append(reader.read(data, 0.0))
        kept.append(len(reader._rests))

    first, second, third = (head.block for head in heads if head is not None)
    assert kept == [0, 1, 1]
    assert first is not second
    assert second is third


def test_the_same_headers_mean_another_end_in_another_version() -> None:
    reader = Reader(LIMITS)
    rest = b"\r\nHost: h\r\n\r\n"
    for version in (b"1.1", b"1.0") * 2:
        reader.read(b"GET / HTTP/" + version + rest, 0.0)

    newer, older = (reader.read(b"GET / HTTP/" + version + rest, 0.0) for version in (b"1.1", b"1.0"))

    assert newer is not None and older is not None  # noqa: PT018  # for the type checker
    assert (newer.is_last, older.is_last) == (False, True)
    assert (newer.version, older.version) == ((1, 1), (1, 0))


def with_token(token: bytes, *, version: bytes = b"1.1", before: bytes = b"", after: bytes = b"") -> bytes:
    line = b"Authorization: Bearer " + token + b"\r\n"
    return b"GET / HTTP/" + version + b"\r\nHost: h\r\n" + before + line + after + b"\r\n"


def test_headers_around_a_token_are_kept_from_the_second_token_on() -> None:
    reader = Reader(LIMITS)

    known = []
    for token in (b"a.b.c", b"d.e.f", b"g.h.i"):
        head = reader.read(with_token(token), 0.0)
        assert head is not None
        assert isinstance(head.block, HeaderBlock)
        assert head.block.named[b"authorization"] == (b"Bearer " + token,)
        known.append((len(reader._outlines), head.block.kept.outline is not None))

    assert known == [(0, False), (1, False), (1, True)]


def test_a_token_that_comes_again_is_kept_with_all_its_headers() -> None:
    reader = Reader(LIMITS)
    for token in (b"a.b.c", b"d.e.f"):
        reader.read(with_token(token), 0.0)

    first, second, third = (reader.read(with_token(b"g.h.i"), 0.0) for _ in range(3))

    assert first is not None and second is not None and third is not None  # noqa: PT018  # for the type checker
    assert second.block is third.block is not first.block


@pytest.mark.parametrize("connection", [b"", b"Connection: close\r\n"], ids=["as usual", "close"])
def test_the_same_headers_around_a_token_mean_another_end_in_another_version(connection: bytes) -> None:
    reader = Reader(LIMITS)
    for version in (b"1.1", b"1.0"):
        for token in (b"a.b.c", b"d.e.f"):
            reader.read(with_token(token, version=version, after=connection), 0.0)

    heads = [
        reader.read(with_token(token, version=version, after=connection), 0.0)
        for token, version in ((b"g.h.i", b"1.1"), (b"j.k.l", b"1.0"))
    ]

    assert [head.is_last for head in heads if head is not None] == [connection != b"", True]
    assert [head.version for head in heads if head is not None] == [(1, 1), (1, 0)]


def test_headers_that_are_known_stay_known_when_another_path_is_asked_for() -> None:
    reader = Reader(LIMITS)
    rest = b" HTTP/1.1\r\nHost: h\r\n\r\n"
    around = b" HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %b\r\n\r\n"
    for token in (b"a.b.c", b"d.e.f"):
        reader.read(b"GET /" + rest, 0.0)
        reader.read(b"GET /" + around % token, 0.0)
    before, outlined = reader.read(b"GET /" + rest, 0.0), reader.read(b"GET /" + around % b"g.h.i", 0.0)

    reader.read(b"GET /other" + rest, 0.0)
    reader.read(b"GET /more" + around % b"j.k.l", 0.0)
    after, still = reader.read(b"GET /" + rest, 0.0), reader.read(b"GET /" + around % b"m.n.o", 0.0)

    blocks = [head.block for head in (before, after, outlined, still) if head is not None]
    assert [isinstance(block, HeaderBlock) for block in blocks] == [True] * 4
    assert blocks[0] is blocks[1]
    outlines = [block.kept.outline for block in blocks[2:] if isinstance(block, HeaderBlock)]
    assert outlines[0] is outlines[1] is not None


LINES_AROUND = some.lists(
    some.tuples(NAMES, some.sampled_from([b": ", b":", b" : "]), VALUES, ENDS).map(b"".join), max_size=3
).map(b"".join)
OF_TOKENS = some.one_of(some.sampled_from([b"g.h.i", b"g.h", b"g.h.i, x", b"g\x00.h.i", b""]), some.binary(max_size=6))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=LINES_AROUND, after=LINES_AROUND, last=OF_TOKENS, version=some.sampled_from([b"1.1", b"1.0"]))
@example(before=b"", after=b"", last=b"g.h.i", version=b"1.1")
@example(before=b"", after=b" folded\r\n", last=b"g.h.i", version=b"1.1")
@example(before=b"X: y\r\n", after=b"Authorization: Bearer a.b.c\r\n", last=b"g.h.i", version=b"1.1")
@example(before=b"X: Authorization: Bearer a.b.c\r\n", after=b"", last=b"g.h.i", version=b"1.1")
@example(before=b"", after=b"X: y\r\n", last=b"g.h.i\r\nX: z", version=b"1.1")
def test_what_is_read_around_a_new_token_is_what_aiohttp_reads(
    before: bytes, after: bytes, last: bytes, version: bytes
) -> None:
    reader = Reader(LIMITS)
    reader.read(b"GET / HTTP/" + version + b"\r\nHost: h\r\n\r\n", 0.0)
    for token in (b"a.b.c", b"d.e.f"):
        reader.read(with_token(token, version=version, before=before, after=after), 0.0)
    data = with_token(last, version=version, before=before, after=after)

    head = reader.read(data, 0.0)

    if head is not None:
        read = as_aiohttp_reads(data)
        if read is None:
            assert isinstance(judged(head), Reason)
            return
        _, _, of_version, raw_headers, should_close = read
        assert (head.version, head.is_last) == (of_version, should_close)
        ours, theirs = head.block, read_block(raw_headers, LIMITS)  # type: ignore[arg-type]  # as aiohttp has typed it
        assert type(ours) is type(theirs)
        if isinstance(ours, HeaderBlock) and isinstance(theirs, HeaderBlock):
            assert (ours.headers, ours.named) == (theirs.headers, theirs.named)


# --- over a socket --------------------------------------------------------------------------------------------------

GET = b"GET /public/%d HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /public/post HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n\r\n\r\n"


def of_each_path(seen: Seen) -> bytes:
    body = seen.path.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def test_requests_in_any_pieces_are_answered_in_their_order(house: House) -> None:
    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await read_body(seen, reader)
        writer.write(of_each_path(seen))
        return True

    house.upstream.reply = answer
    stream = b"".join(
        GET % 1 + POST + GET % 2 + b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n" + GET % 3 for _ in range(3)
    )
    for size in (1, 7, 38, 40, 200, len(stream)):
        reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
        for at in range(0, len(stream), size):
            writer.write(stream[at : at + size])
            await asyncio.sleep(0)
        writer.write(b"GET /public/last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        replies = await asyncio.wait_for(reader.read(), 10)
        writer.close()

        bodies = [part.rpartition(b"\r\n\r\n")[2].partition(b"HTTP/1.1")[0] for part in replies.split(b"HTTP/1.1 ")[1:]]
        statuses = [part[:3] for part in replies.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [b"200", b"200", b"200", b"401", b"200"] * 3 + [b"200"]
        assert [body for body in bodies if body.startswith(b"/")] == [
            *[b"/public/1", b"/public/post", b"/public/2", b"/public/3"] * 3,
            b"/public/last",
        ]


async def test_a_refusal_does_not_overtake_the_reply_before_it(house: House) -> None:
    go_on = asyncio.Event()

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await go_on.wait()
        writer.write(of_each_path(seen))
        return True

    house.upstream.reply = answer
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(GET % 1)
    while not house.upstream.seen:
        await asyncio.sleep(0.01)
    writer.write(b"GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    await asyncio.sleep(0.05)
    go_on.set()
    replies = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert [part[:3] for part in replies.split(b"HTTP/1.1 ")[1:]] == [b"200", b"401"]


async def test_requests_that_come_with_their_connections_are_served_at_once(house: House) -> None:
    sockets = [socket.create_connection((LOOPBACK, house.url.port)) for _ in range(40)]
    for one in sockets:
        one.sendall(GET % 1)
    go_on = hold_back(house)

    await until(lambda: len(house.upstream.seen) == len(sockets))
    at_once = [wire.is_busy for wire in wires_of(house)]
    go_on.set()
    for one in sockets:
        one.close()

    assert at_once == [True] * len(sockets)


async def test_after_a_request_that_was_left_to_aiohttp_the_next_ones_are_served_at_once(house: House) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    go_on = hold_back(house)
    writer.write(POST)
    await until(lambda: len(house.upstream.seen) == 1)
    writer.write(GET % 1)  # while the task is busy
    await asyncio.sleep(0.05)
    go_on.set()
    await reader.readuntil(b"ok")
    await reader.readuntil(b"ok")
    go_on.clear()

    writer.write(GET % 2)
    await until(lambda: len(house.upstream.seen) == 3)
    at_once = [wire.is_busy for wire in wires_of(house)]
    go_on.set()
    await reader.readuntil(b"ok")
    writer.close()

    assert at_once == [True]


async def test_many_requests_that_come_with_their_connection_are_all_answered(house: House) -> None:
    house.upstream.reply = echo_path
    sent = socket.create_connection((LOOPBACK, house.url.port))
    sent.sendall(b"".join(GET % number for number in range(80)))
    reader, writer = await asyncio.open_connection(sock=sent)
    async with asyncio.timeout(5):
        answered = await paths_of(reader, 80)
    writer.close()

    assert answered == list(range(80))


async def test_many_requests_that_wait_for_one_are_all_answered(house: House) -> None:
    go_on = hold_back(house)
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(GET % 0)
    await until(lambda: len(house.upstream.seen) == 1)
    house.upstream.reply = echo_path
    writer.write(b"".join(GET % number for number in range(1, 80)))
    await asyncio.sleep(0.05)
    go_on.set()
    await reader.readuntil(b"ok")
    async with asyncio.timeout(5):
        answered = await paths_of(reader, 79)
    writer.close()

    assert answered == list(range(1, 80))


async def test_t02_replies_keep_their_order_where_aiohttps_parser_pauses_between_requests(house: House) -> None:
    house.upstream.reply = echo_path
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    # The parser counts one as waiting whose body came after its head, and so pauses before the queue is full.
    writer.write(b"POST /public/0 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
    await until(lambda: len(house.upstream.seen) == 1)
    writer.write(b"body")
    await paths_of(reader, 1)
    go_on = hold_back(house)
    writer.write(GET % 0)
    await until(lambda: len(house.upstream.seen) == 2)
    house.upstream.reply = echo_path
    for piece in (range(1, 31), range(31, 33)):
        writer.write(b"".join(GET % number for number in piece))
        await asyncio.sleep(0.05)
    go_on.set()
    await reader.readuntil(b"ok")
    async with asyncio.timeout(5):
        answered = await paths_of(reader, 31)
        writer.write(GET % 33)
        answered += await paths_of(reader, 2)
    writer.close()

    assert answered == list(range(1, 34))


async def echo_path(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await read_body(seen, reader)
    writer.write(of_each_path(seen))
    return True


async def paths_of(reader: asyncio.StreamReader, count: int) -> list[int]:
    """The numbers in the paths that the next replies tell."""
    found = []
    for _ in range(count):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        found.append(int((await reader.readexactly(length)).rpartition(b"/")[2]))
    return found


def hold_back(house: House) -> asyncio.Event:
    go_on = asyncio.Event()

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await read_body(seen, reader)
        await go_on.wait()
        writer.write(OK)
        return True

    house.upstream.reply = answer
    return go_on


def wires_of(house: House) -> list[Wire]:
    assert house.gateway._listener is not None
    return [wire for wire in house.gateway._listener.connections if isinstance(wire, Wire)]


async def test_half_of_a_request_behind_a_whole_one_is_completed_by_the_next_piece(house: House) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(GET % 1 + b"GET /public/2 HTTP/1.1\r\nHost: h\r\nX: ")
    await reader.readuntil(b"ok")
    writer.write(b"y\r\n\r\n")
    await reader.readuntil(b"ok")
    writer.close()

    assert house.upstream.last.values("x") == ["y"]


@pytest.mark.parametrize(
    "requests", [GET % 1, GET % 1 + GET % 2, POST, POST + GET % 2], ids=["one", "two", "with a body", "one of each"]
)
async def test_a_client_that_has_closed_its_half_is_let_go_with_its_last_reply(house: House, requests: bytes) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(requests)
    writer.write_eof()
    started_s = time.monotonic()
    replies = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert replies.count(b"HTTP/1.1 200 OK\r\n") == requests.count(b" HTTP/1.1\r\n")
    assert time.monotonic() - started_s < 1


async def test_what_a_client_asked_before_it_closed_its_half_is_answered(house: House) -> None:
    go_on = asyncio.Event()

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await go_on.wait()
        writer.write(of_each_path(seen))
        return True

    house.upstream.reply = answer
    async with opened(house.url.port) as (reader, writer), asyncio.timeout(10):
        writer.write(GET % 1)
        await until(lambda: bool(house.upstream.seen))
        writer.write(GET % 2)
        await asyncio.sleep(0.05)
        writer.write_eof()
        await asyncio.sleep(0.05)
        go_on.set()
        replies = await reader.read()

    assert [reply.rpartition(b"/")[2] for reply in replies.split(b"HTTP/1.1 200 OK")[1:]] == [b"1", b"2"]


async def test_t02_what_looks_like_a_request_inside_another_is_none(house: House) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port)
    writer.write(b"GET /public/1 HTTP/1.1\r\nHost: h\r\nX: ")
    await asyncio.sleep(0.05)
    writer.write(b"GET /public/2 HTTP/1.1\r\nY: y\r\n\r\n")
    await reader.readuntil(b"ok")
    writer.close()

    assert [seen.path for seen in house.upstream.seen] == ["/public/1"]
    assert house.upstream.last.values("x") == ["GET /public/2 HTTP/1.1"]


async def test_t18_a_client_that_sends_and_never_reads_is_not_answered_for_ever(house: House) -> None:
    house.upstream.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n" + b"x" * 16_000
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, (LOOPBACK, house.url.port))
        answered = 0
        for _ in range(2_000):
            await loop.sock_sendall(client, GET % 1)
            for _ in range(200):
                await asyncio.sleep(0.001)
                if len(house.upstream.seen) > answered:
                    break
            else:
                break
            answered = len(house.upstream.seen)

    # A socket's buffers and one high-water mark hold some hundred replies; the rest had to wait.
    assert 1 < answered < 1_500


async def test_a_caller_whose_headers_are_known_is_decided_on_anew(house: House) -> None:
    ada = {"Authorization": f"Bearer {house.cookies('ada@example.com')['DS']}"}
    for _ in range(3):
        assert (await house.get("/admin/x", headers=ada)).status == 200
    house.gateway.sessions.state.revocations.revoke_subject(house.upstream.last.values("x-auth-subject")[0])

    refused = await house.get("/admin/x", headers=ada)

    assert refused.status == 401


@pytest.mark.parametrize(
    "request_bytes",
    [GET % 1, POST],
    ids=["served at once", "with a body"],
)
async def test_a_request_that_is_over_leaves_nothing_for_the_collector(house: House, request_bytes: bytes) -> None:
    def under_way() -> int:
        return sum(isinstance(thing, Client) for thing in gc.get_objects())

    async with opened(house.url.port) as (reader, writer):
        gc.collect()
        before = under_way()
        gc.disable()
        try:
            for _ in range(2):
                writer.write(request_bytes)
                await reader.readuntil(b"ok")
            await until(lambda: under_way() == before)
        finally:
            gc.enable()
