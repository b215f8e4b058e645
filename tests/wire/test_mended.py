"""What the differential test once found: exchanges that were changed, lost or let through."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.conftest import House, Seen
from tests.wire.raw import (
    BETWEEN_S,
    Message,
    opened,
    read_body,
    read_head,
    read_reply,
    split_lines,
    write_pieces,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
WITH_TRAILER = b"POST /public/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n%b\r\n\r\n"


@pytest.fixture
def answering(house: House) -> House:
    """A house whose service reads each request whole before it answers."""

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await read_body(read_head(seen.head), reader, is_reply=False)
        writer.write(OK)
        return True

    house.upstream.reply = answer
    return house


async def replies_to(house: House, pieces: Sequence[bytes], number: int, *, half_close: bool = False) -> list[Message]:
    """So many replies as there are until the connection ends, waits or has given all of them."""
    replies: list[Message] = []
    async with opened(house.url.port) as (reader, writer):
        await write_pieces(writer, pieces)
        if half_close:
            writer.write_eof()
        try:
            async with asyncio.timeout(1):
                while len(replies) < number:
                    replies.append((await read_reply(reader, b"GET"))[0])
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
    return replies


# --- a request's trailers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [b"X-Late: 1", b"Cookie: planted=1", b"X-Api-Key: of-somebody"])
@pytest.mark.parametrize("together", [True, False], ids=["in one piece", "in pieces"])
async def test_t17_a_trailer_of_a_request_is_no_header_of_the_next(
    answering: House, line: bytes, together: bool
) -> None:
    first = WITH_TRAILER % line
    pieces = [first + GET] if together else [first + GET[:10], GET[10:]]

    replies = await replies_to(answering, pieces, 2)

    # aiohttp's parser would take it for one, so a request in chunks is the last on its connection.
    assert [reply.status for reply in replies] == [200]
    assert [len(seen.head.split(b"GET")) for seen in answering.upstream.seen] == [1]


async def test_t17_a_trailer_of_a_request_signs_nobody_in_on_the_next(answering: House) -> None:
    bearer = f"Authorization: Bearer {answering.cookies('ada@example.com')['DS']}".encode()
    second = GET.replace(b"/public/x", b"/admin/x")

    replies = await replies_to(answering, [WITH_TRAILER % bearer + second], 2)

    assert [reply.status for reply in replies] == [200]
    assert len(answering.upstream.seen) == 1


# --- what comes behind ----------------------------------------------------------------------------------------------


HALF_CLOSED = {
    "a body in one piece with its head": ([POST], 1),
    "a head in two pieces": ([GET[:-2], GET[-2:]], 1),
    "two requests in one piece": ([GET + GET], 2),
    "two requests with bodies": ([POST + POST], 2),
}


@pytest.mark.parametrize(("pieces", "number"), HALF_CLOSED.values(), ids=HALF_CLOSED.keys())
async def test_a_client_that_closes_its_half_gets_every_reply_it_asked_for(
    answering: House, pieces: list[bytes], number: int
) -> None:
    replies = await replies_to(answering, pieces, number, half_close=True)

    assert [reply.status for reply in replies] == [200] * number


async def test_a_client_that_closed_its_half_gets_a_reply_that_takes_longer_than_two_seconds(house: House) -> None:
    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n")
        for _ in range(25):
            writer.write(b"x")
            await asyncio.sleep(0.1)
        return True

    house.upstream.reply = answer
    async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
        writer.write(GET)
        writer.write_eof()
        reply, _ = await read_reply(reader, b"GET")

    assert reply.body == b"x" * 25


# --- bytes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 ", b"HTTP/1.1 404 "], ids=["200", "404"])
async def test_an_empty_reason_stays_empty(house: House, first: bytes) -> None:
    house.upstream.reply = first + b"\r\nContent-Length: 0\r\n\r\n"

    assert (await replies_to(house, [GET], 1))[0].first == first


async def test_a_blank_behind_the_length_of_a_reply_is_no_fault(house: House) -> None:
    house.upstream.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2 \r\n\r\nok"

    assert [(reply.status, reply.body) for reply in await replies_to(house, [GET], 1)] == [(200, b"ok")]


@pytest.mark.parametrize("name", [b"Cookie", b"Authorization", b"X-Api-Key"])
async def test_a_line_without_a_value_goes_on_as_it_came(answering: House, name: bytes) -> None:
    await replies_to(answering, [b"GET /public/x HTTP/1.1\r\nHost: h\r\n" + name + b":\r\n\r\n"], 1)

    assert (name, b"") in split_lines(answering.upstream.last.head.partition(b"\r\n")[2])


@pytest.mark.parametrize("name", [b"Server", b"User-Agent", b"Content-Type", b"ETag", b"Max-Forwards"])
async def test_a_header_that_comes_twice_has_one_fate_however_the_request_is_cut(answering: House, name: bytes) -> None:
    request = GET[:-2] + name + b": a\r\n" + name + b": b\r\n\r\n"
    statuses = [
        (await replies_to(answering, pieces, 1))[0].status for pieces in ([request], [request[:9], request[9:]])
    ]

    assert statuses[0] == statuses[1]


@pytest.mark.parametrize(
    "value",
    [b"max-age=5,immutable", b'no-cache="set-cookie,age"', b"max-age=5 , immutable", b'x="a, public, b"', b"private,"],
)
async def test_a_cache_control_that_needs_no_change_comes_back_as_it_was(house: House, value: bytes) -> None:
    house.upstream.reply = b"HTTP/1.1 200 OK\r\nCache-Control: " + value + b"\r\nContent-Length: 0\r\n\r\n"
    bearer = f"\r\nAuthorization: Bearer {house.cookies('ada@example.com')['DS']}".encode()

    reply = (await replies_to(house, [b"GET /x HTTP/1.1\r\nHost: h" + bearer + b"\r\n\r\n"], 1))[0]

    assert reply.values(b"cache-control") == [value]


# --- connections ----------------------------------------------------------------------------------------------------


async def test_t17_a_reply_of_http_1_0_in_chunks_costs_the_connection(house: House) -> None:
    house.upstream.reply = (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )
    for _ in range(2):
        await replies_to(house, [GET], 1)

    assert house.upstream.connections == 2
