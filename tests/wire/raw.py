"""HTTP/1.1 messages as bytes, read by a reader of the tests' own that has nothing in common with any parser."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from tests.conftest import LOOPBACK

Line = tuple[bytes, bytes]
BETWEEN_S = 5.0


@dataclass(frozen=True)
class Message:
    """A request or reply. framing: `none`, `length`, `chunks` or `close` (the body ended with the connection)."""

    first: bytes
    lines: tuple[Line, ...]
    body: bytes = b""
    trailers: tuple[Line, ...] = ()
    framing: str = "none"

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.lines if key.lower() == name]

    @property
    def status(self) -> int:
        return int(self.first.split(b" ")[1])

    @property
    def says_last(self) -> bool:
        """Whether the connection ends behind this reply, by what it says."""
        return b"close" in [word.strip().lower() for value in self.values(b"connection") for word in value.split(b",")]


def split_lines(block: bytes) -> tuple[Line, ...]:
    """Names and values, the blanks around a value left out (RFC 9110 section 5.5)."""
    cut = [line.partition(b":") for line in block.split(b"\r\n") if line]
    return tuple((name, value.strip(b" \t")) for name, _, value in cut)


def read_head(head: bytes) -> Message:
    first, _, block = head.partition(b"\r\n")
    return Message(first, split_lines(block))


async def read_body(message: Message, reader: asyncio.StreamReader, *, is_reply: bool) -> Message:
    """The message with its body, read as its head says."""
    if b"chunked" in [value.lower() for value in message.values(b"transfer-encoding")]:
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0].strip(), 16):
            body += await reader.readexactly(size)
            assert await reader.readexactly(2) == b"\r\n"
        trailer = b""
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            trailer += line
        return replace(message, body=body, trailers=split_lines(trailer), framing="chunks")
    lengths = message.values(b"content-length")
    if lengths:
        assert len(lengths) == 1
        return replace(message, body=await reader.readexactly(int(lengths[0])), framing="length")
    if is_reply:
        return replace(message, body=await reader.read(), framing="close")
    return message


async def read_reply(reader: asyncio.StreamReader, method: bytes) -> tuple[Message, list[Message]]:
    """A final reply, and the interim ones before it."""
    interim: list[Message] = []
    while True:
        message = read_head(await reader.readuntil(b"\r\n\r\n"))
        if 100 <= message.status < 200 and message.status != 101:
            interim.append(message)
            continue
        if method == b"HEAD" or message.status in (101, 204, 304):
            return message, interim
        return await read_body(message, reader, is_reply=True), interim


async def write_pieces(writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
    """Each piece in a write of its own, with a turn or two of the loop between."""
    for number, piece in enumerate(pieces):
        if number:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if piece:
            writer.write(piece)
    await writer.drain()


@asynccontextmanager
async def opened(port: int | None) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection of a client's, closed in any case."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port, limit=2**20)
    try:
        yield reader, writer
    finally:
        writer.close()


async def is_over(reader: asyncio.StreamReader) -> bool:
    """Whether the connection ends here, without another byte."""
    async with asyncio.timeout(BETWEEN_S):
        return await reader.read() == b""


async def serves_again(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: bytes = b"/public/probe"
) -> bool:
    """Whether the connection answers another request as if nothing had been before."""
    writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: app.example.com\r\n\r\n")
    async with asyncio.timeout(BETWEEN_S):
        reply, interim = await read_reply(reader, b"GET")
    return reply.body == b"probed" and reply.status == 200 and not interim


PROBED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nprobed"
