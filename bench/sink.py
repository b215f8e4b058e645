"""The upstream for uploads and WebSockets: takes every body whole and then says whose it was; echoes every message.

Run by the bench as a process of its own, on the load's core: `python -m bench.sink PORT`.
"""

import asyncio
import sys
from typing import cast

import httptools
import uvloop

from bench.peer import LOOPBACK

_SUBJECT_HEADERS = (b"x-user", b"x-auth-subject")
# The accept value of the one key that the load sends (RFC 6455 section 1.3 has both).
_SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Sink(asyncio.Protocol):
    """One connection, first HTTP/1.1, after an upgrade WebSocket frames."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._subject = b""
        self._is_upgraded = False
        self._frames = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._is_upgraded:
            self._echo(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._is_upgraded = True
            self._write(_SWITCH)
            self._echo(data[upgrade.args[0] :])

    def on_message_begin(self) -> None:
        self._subject = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in _SUBJECT_HEADERS:
            self._subject = value

    def on_message_complete(self) -> None:
        if not self._parser.should_upgrade():
            self._write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self._subject), self._subject))

    def _echo(self, data: bytes) -> None:
        self._frames += data
        while len(self._frames) >= 2:
            size, head = self._frames[1] & 0x7F, 2
            if size >= 126:
                head = 4 if size == 126 else 10
                if len(self._frames) < head:
                    return
                size = int.from_bytes(self._frames[2:head], "big")
            end = head + 4 + size
            if len(self._frames) < end:
                return
            if any(self._frames[head : head + 4]):
                raise ValueError("the load masks with zeros, and something on the way changed that")
            said = bytes((self._frames[0], self._frames[1] & 0x7F)) + bytes(self._frames[2:head])
            self._write(said + bytes(self._frames[head + 4 : end]))
            del self._frames[:end]

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, LOOPBACK, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
