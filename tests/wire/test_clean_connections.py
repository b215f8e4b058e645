"""Who may use a connection again, and how much a slow or hostile end may cost."""

import asyncio
import contextlib
import io
import socket
import struct
from collections.abc import Sequence

import pytest

from gateway.doors import listener
from tests.conftest import LOOPBACK, House, OpenHouse, Seen
from tests.wire.raw import BETWEEN_S, Message, is_over, opened, read_body, read_head, read_reply, write_pieces

PATIENT = """
routes:
  - {id: all, match: {path: "/**"}, auth: public, upstream: legacy, timeouts: {idle: 300ms}, max_body: 1GiB}
"""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FOREIGN = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign"
GET = b"GET /public/%b HTTP/1.1\r\nHost: h\r\n\r\n"


async def ask(house: House, request: bytes) -> Message:
    async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
        writer.write(request)
        return (await read_reply(reader, request.partition(b" ")[0]))[0]


async def until(house: House, closed: int) -> None:
    async with asyncio.timeout(BETWEEN_S):
        while house.upstream.closed < closed:
            await asyncio.sleep(0.01)


def own(seen: Seen) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(seen.path), seen.path.encode())


def replying_first(house: House, pieces: Sequence[bytes], *, takes_body: bool = True) -> None:
    """The first request gets these bytes, whoever comes after it an answer that names its own path."""

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if takes_body:
            await read_body(read_head(seen.head), reader, is_reply=False)
        await write_pieces(writer, pieces if seen is house.upstream.seen[0] else [own(seen)])
        return True

    house.upstream.reply = answer


UNCLEAN = {
    "a second reply": (b"GET", [OK + FOREIGN]),
    "a second reply a little later": (b"GET", [OK, b"", b"", FOREIGN]),
    "half of a second reply": (b"GET", [OK + FOREIGN[:20]]),
    "a body longer than it said": (b"GET", [OK + b"more"]),
    "something behind the last chunk": (
        b"GET",
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nX" + FOREIGN],
    ),
    "a body behind a head": (b"HEAD", [OK + FOREIGN]),
    "a body behind a head a little later": (b"HEAD", [OK[:-2], b"", b"", b"ok" + FOREIGN]),
    "chunks behind a head": (b"HEAD", [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"]),
    "a body behind 204": (b"GET", [b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nok" + FOREIGN]),
    "a body behind 304": (b"GET", [b"HTTP/1.1 304 Same\r\nContent-Length: 2\r\n\r\nok" + FOREIGN]),
    "the end announced": (b"GET", [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")]),
    "an old service": (b"GET", [OK.replace(b"1.1", b"1.0")]),
}


@pytest.mark.parametrize(("method", "pieces"), UNCLEAN.values(), ids=UNCLEAN.keys())
async def test_t17_an_exchange_that_did_not_end_cleanly_costs_the_connection(
    house: House, method: bytes, pieces: list[bytes]
) -> None:
    replying_first(house, pieces)

    first = await ask(house, (GET % b"a").replace(b"GET", method))
    await until(house, 1)
    others = [await ask(house, GET % name) for name in (b"b", b"c")]

    assert first.status in (200, 204, 304)
    assert first.body in (b"ok", b"")
    assert [reply.body for reply in others] == [b"/public/b", b"/public/c"]
    assert house.upstream.connections == 2


async def test_t17_a_clean_exchange_gives_its_connection_to_the_next(house: House) -> None:
    replying_first(house, [OK])

    bodies = [(await ask(house, GET % name)).body for name in (b"a", b"b", b"c")]

    assert bodies == [b"ok", b"/public/b", b"/public/c"]
    assert house.upstream.connections == 1


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 50\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"],
    ids=["length", "chunks"],
)
async def test_t17_a_reply_that_comes_before_the_body_is_out_costs_both_connections(
    house: House, framing: bytes
) -> None:
    replying_first(house, [OK], takes_body=False)
    async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
        writer.write(b"POST /public/a HTTP/1.1\r\nHost: h\r\n" + framing)
        reply, _ = await read_reply(reader, b"POST")
        writer.write(GET % b"smuggled")
        assert await is_over(reader)
    second = await ask(house, GET % b"b")

    assert (reply.body, reply.says_last) == (b"ok", True)
    assert second.body == b"/public/b"
    assert all("smuggled" not in seen.path for seen in house.upstream.seen)
    assert house.upstream.connections == 2


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf"], ids=["unanswered", "half"]
)
async def test_t17_a_client_that_leaves_half_way_costs_the_services_connection(house: House, sent: bytes) -> None:
    replying_first(house, [sent])
    async with opened(house.url.port) as (reader, writer):
        writer.write(GET % b"a")
        while not house.upstream.seen or (sent and not await reader.read(10)):
            await asyncio.sleep(0.01)
    await until(house, 1)

    assert (await ask(house, GET % b"b")).body == b"/public/b"
    assert house.upstream.connections == 2


async def test_t17_replies_of_many_clients_at_once_are_never_swapped(house: House) -> None:
    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(int(seen.path[-1]) / 500)
        await write_pieces(writer, [own(seen)[:9], own(seen)[9:]])
        return True

    house.upstream.reply = answer

    async def client(number: int) -> list[bool]:
        async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
            same = []
            for turn in range(10):
                path = b"/public/%d-%d" % (number, turn)
                writer.write(GET % path[8:])
                same.append((await read_reply(reader, b"GET"))[0].body == path)
            return same

    assert all(all(same) for same in await asyncio.gather(*map(client, range(20))))


async def test_t18_a_head_that_does_not_become_whole_ends_the_connection(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_KEEP_ALIVE_S", 0.2)
    for before in (b"", GET % b"a", b"POST /public/a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"):
        async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
            writer.write(before)
            if before:
                await read_reply(reader, b"GET")
            writer.write(b"GET /public/b HTTP/1.1\r\nHost: h\r\nX-Slow: ")
            with contextlib.suppress(ConnectionError, RuntimeError):
                while not (reader.at_eof() or reader.exception()):
                    writer.write(b"y")
                    await asyncio.sleep(0.05)
    assert all(seen.path == "/public/a" for seen in house.upstream.seen)


async def test_t18_a_body_may_come_as_slowly_as_it_likes_while_it_comes(built: OpenHouse) -> None:
    bodies = []

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        bodies.append((await read_body(read_head(seen.head), reader, is_reply=False)).body)
        writer.write(OK)
        return True

    async with built(routes=PATIENT) as house:
        house.upstream.reply = answer
        async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
            writer.write(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n")
            for _ in range(10):
                await asyncio.sleep(0.06)
                writer.write(b"x")
            reply, _ = await read_reply(reader, b"POST")

    assert (reply.body, bodies) == (b"ok", [b"x" * 10])


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
async def test_t18_a_service_that_is_slow_to_read_holds_the_client_back(built: OpenHouse, chunked: bool) -> None:
    go_on, block, number, arrived, taken = asyncio.Event(), b"x" * 65_536, 800, 0, 0

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal arrived
        await go_on.wait()
        end, tail = b"\r\n0\r\n\r\n" if chunked else b"x", b""
        while arrived < len(block) * number or not tail.endswith(end):
            data = await reader.read(1 << 20)
            arrived, tail = arrived + data.count(b"x"), (tail + data)[-7:]
        writer.write(OK)
        return True

    async def send(writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        for _ in range(number):
            writer.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
            await writer.drain()
            taken += 1
        writer.write(b"0\r\n\r\n" if chunked else b"")

    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (len(block) * number)
    async with built(routes=PATIENT.replace("300ms", "5s")) as house:
        house.upstream.reply = answer
        async with opened(house.url.port) as (reader, writer), asyncio.timeout(10):
            writer.write(b"POST /x HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
            sending = asyncio.create_task(send(writer))
            before = -1
            while before != taken:
                before = taken
                await asyncio.sleep(0.1)
            stalled_at = taken
            go_on.set()
            await sending
            reply, _ = await read_reply(reader, b"POST")

    # Two sockets' buffers on the way hold some megabytes; the gateway itself next to nothing.
    assert stalled_at < 400
    assert (reply.body, arrived) == (b"ok", len(block) * number)


async def test_t18_requests_behind_one_that_waits_are_not_read_without_end(house: House) -> None:
    go_on = asyncio.Event()

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await go_on.wait()
        writer.write(OK)
        return False

    house.upstream.reply = answer
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, (LOOPBACK, house.url.port))
        taken, flood = 0, (GET % b"x") * 2_000
        with contextlib.suppress(TimeoutError):
            while taken < 50_000_000:
                async with asyncio.timeout(0.3):
                    await loop.sock_sendall(client, flood)
                taken += len(flood)
    go_on.set()

    assert taken < 20_000_000
    assert len(house.upstream.seen) == 1


async def test_t18_a_storm_of_resets_leaves_nothing_behind(house: House) -> None:
    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if seen.path == "/public/last":
            writer.write(OK)
            return True
        await reader.read()
        return False

    house.upstream.reply = answer
    loop = asyncio.get_running_loop()
    for number in range(150):
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, (LOOPBACK, house.url.port))
            await loop.sock_sendall(client, (GET % b"x")[: None if number % 2 else 20])
            if number % 3:
                await asyncio.sleep(0)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert (await ask(house, GET % b"last")).body == b"ok"
    async with asyncio.timeout(BETWEEN_S):
        while house.upstream.connections - house.upstream.closed > 1:
            await asyncio.sleep(0.01)


LINE = b"X-%04d: "
LIMITS = {
    "64 KiB in all": ([LINE % n + b"y" * 1_013 for n in range(63)], 200),
    "more than 64 KiB in all": ([LINE % n + b"y" * 1_013 for n in range(65)], 431),
    "a line of 32 KiB": ([b"X: " + b"y" * 32_760], 200),
    "a line of more": ([b"X: " + b"y" * 33_000], 431),
    "200 lines": ([LINE % n + b"y" for n in range(199)], 200),
    "more than 200 lines": ([LINE % n + b"y" for n in range(201)], 431),
    "a line of a mebibyte": ([b"X: " + b"y" * 1_048_576], 431),
}


@pytest.mark.parametrize(("lines", "status"), LIMITS.values(), ids=LIMITS.keys())
@pytest.mark.parametrize("size", [10_000_000, 16_000], ids=["whole", "in pieces"])
async def test_t18_the_head_of_a_request_may_have_what_is_stated_and_no_more(
    house: House, lines: list[bytes], status: int, size: int
) -> None:
    request = b"\r\n".join([b"GET /public/x HTTP/1.1", b"Host: h", *lines]) + b"\r\n\r\n"
    found = 431  # a client that goes on sending may meet a closed door before it has read why
    with contextlib.suppress(ConnectionError, RuntimeError):
        async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
            for start in range(0, len(request), size):
                writer.write(request[start : start + size])
                await asyncio.sleep(0.001)
            found = (await read_reply(reader, b"GET"))[0].status

    assert found == status
    arrived = house.upstream.last.head.split(b"\r\n") if house.upstream.seen else []
    assert [line for line in arrived if line.startswith((b"X-0", b"X: "))] == (lines if status == 200 else [])


async def test_t24_a_token_in_a_websockets_query_is_written_nowhere(
    built: OpenHouse, capsys: pytest.CaptureFixture[str]
) -> None:
    written = io.StringIO()
    async with built(log_form="json", log_stream=written) as house:

        async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            await reader.read()
            return False

        house.upstream.reply = answer
        token = house.cookies("ada@example.com")["DS"].encode()
        async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
            writer.write(
                b"GET /public/ws?access_token=%b HTTP/1.1\r\nHost: app.example.com\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % token
            )
            head = await reader.readuntil(b"\r\n\r\n")
        await until(house, 1)
        metrics = await (await house.http.get(f"{house.admin}/metrics")).text()
    captured = capsys.readouterr()

    assert head.startswith(b"HTTP/1.1 101 ")
    assert "/public/ws" in written.getvalue()
    assert token.decode() not in written.getvalue() + metrics + captured.out + captured.err
    assert "access_token" not in written.getvalue() + metrics + captured.out + captured.err
