"""The loads that wrk has no words for: long bodies, WebSockets, and connections that lie idle.

They know exactly what came back, and count nothing that was not finished.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from bench.errors import BenchError
from bench.peer import LOOPBACK

_PIECE = 256 * 1024
_WAVE = 50
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Moved:
    """How many units were finished in which time, and what one took; latencies in order."""

    count: int
    seconds: float
    latencies_s: tuple[float, ...]


class Wire:
    """One connection for long bodies, kept between them."""

    def __init__(self, port: int, token: str) -> None:
        self._socket = socket.create_connection((LOOPBACK, port), timeout=_PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"Host: {LOOPBACK}:{port}\r\nAuthorization: Bearer {token}\r\n"
        self._room = bytearray(_PIECE)

    def close(self) -> None:
        self._socket.close()

    def download(self, path: str, size: int) -> None:
        self._socket.sendall(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())
        length, there = self._reply()
        if length != size:
            raise BenchError(f"a body of {size} bytes was announced as {length}")
        view = memoryview(self._room)
        while there < size:
            got = self._socket.recv_into(view)
            if not got:
                raise BenchError(f"a body of {size} bytes ended after {there}")
            there += got

    def upload(self, path: str, size: int) -> None:
        head = f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {size}\r\n\r\n"
        self._socket.sendall(head.encode())
        view = memoryview(self._room)
        for start in range(0, size, _PIECE):
            self._socket.sendall(view[: min(_PIECE, size - start)])
        length, there = self._reply()
        if there < length:
            self._exactly(length - there)

    def _reply(self) -> tuple[int, int]:
        """The length of the body that follows, and how much of it has come. Raises BenchError unless it is a 200."""
        got = b""
        while b"\r\n\r\n" not in got:
            piece = self._socket.recv(16 * 1024)
            if not piece:
                raise BenchError("the connection ended before the reply")
            got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        if not lines[0].startswith(b"http/1.1 200"):
            raise BenchError(f"the reply is {lines[0].decode('latin-1')}")
        length = next((line[15:] for line in lines if line.startswith(b"content-length:")), None)
        if length is None:
            raise BenchError("the reply says no length")
        return int(length), len(body)

    def _exactly(self, count: int) -> None:
        while count:
            got = self._socket.recv(count)
            if not got:
                raise BenchError("the connection ended within the reply")
            count -= len(got)


def move(transfer: Callable[[], None], seconds: float) -> Moved:
    """One transfer after the other, the last one finished when the time is over."""
    began_s = last_s = time.perf_counter()
    latencies: list[float] = []
    while last_s - began_s < seconds:
        transfer()
        now_s = time.perf_counter()
        latencies.append(now_s - last_s)
        last_s = now_s
    return Moved(len(latencies), last_s - began_s, tuple(latencies))


# --- WebSocket ------------------------------------------------------------------------------------------------------


def frame(payload: bytes) -> bytes:
    """A final binary frame as clients send it. Its mask is four zeros: masked by the rules, and legible to the echo."""
    return _frame_head(len(payload), 0x80) + bytes(4) + payload


def echoed(payload: bytes) -> bytes:
    """The same frame as servers send it."""
    return _frame_head(len(payload), 0) + payload


def _frame_head(size: int, masked: int) -> bytes:
    if size < 126:
        return bytes((0x82, masked | size))
    if size < 65_536:
        return bytes((0x82, masked | 126)) + size.to_bytes(2, "big")
    return bytes((0x82, masked | 127)) + size.to_bytes(8, "big")


@dataclass
class _Talk:
    """What all connections share. is_on: whether echoes are counted and followed by another message."""

    sent: bytes
    expected: bytes
    is_on: bool = False
    latencies: list[float] = field(default_factory=list)


class _Speaker(asyncio.Protocol):
    """Says a message, waits for all of its echo, says it again."""

    def __init__(self, request: bytes, talk: _Talk) -> None:
        self._request = request
        self._talk = talk
        self._got = bytearray()
        self._missing = 0
        self._sent_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._is_first = True
        loop = asyncio.get_running_loop()
        self._now_s = time.perf_counter  # the loop's own clock counts whole milliseconds
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            if self._is_first:
                self._got += data
            self._missing -= len(data)
            if self._missing <= 0:
                self._echo_is_there()
            return
        self._got += data
        head, found, _ = bytes(self._got).partition(b"\r\n\r\n")
        if found:
            self._got.clear()
            if head.startswith(b"HTTP/1.1 101"):
                self.opened.set_result(None)
            else:
                self._fail(f"an upgrade was answered {head[:60].decode('latin-1')!r}")

    def say(self) -> None:
        assert self._transport is not None
        self._missing = len(self._talk.expected)
        self._sent_s = self._now_s()
        self._transport.write(self._talk.sent)

    def _echo_is_there(self) -> None:
        if (self._is_first and self._got != self._talk.expected) or self._missing < 0:
            self._fail("an echo is not what was said")
            return
        self._is_first = False
        self._got.clear()
        if self._talk.is_on:
            self._talk.latencies.append(self._now_s() - self._sent_s)
            self.say()
        elif not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, err: Exception | None) -> None:
        self._fail("a WebSocket was closed")

    def _fail(self, what: str) -> None:
        for future in (self.opened, self.ended):
            if not future.done():
                future.set_exception(BenchError(what))

    def close(self) -> None:
        for future in (self.opened, self.ended):
            future.cancel()
        if self._transport is not None:
            self._transport.abort()


async def talk(
    port: int, token: str, *, size: int, connections: int, seconds: float, meter: Callable[[], float]
) -> tuple[Moved, float]:
    """Echoes over many WebSockets, one message at a time on each. Also returns how far the meter went meanwhile."""
    request = (
        f"GET /ws HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
    payload = bytes(range(256)) * (size // 256 + 1)
    shared = _Talk(frame(payload[:size]), echoed(payload[:size]))
    loop = asyncio.get_running_loop()
    speakers: list[_Speaker] = []
    try:
        for _ in range(connections):
            _, speaker = await loop.create_connection(lambda: _Speaker(request, shared), LOOPBACK, port)
            speakers.append(speaker)
            await asyncio.wait_for(asyncio.shield(speaker.opened), _PATIENCE_S)
        shared.is_on = True
        before, began_s = meter(), time.perf_counter()
        for speaker in speakers:
            speaker.say()
        await asyncio.sleep(seconds)
        after, ended_s, done = meter(), time.perf_counter(), tuple(shared.latencies)
        shared.is_on = False
        # Whoever broke meanwhile, or now gives no echo any more, makes the run fail.
        await asyncio.wait_for(asyncio.gather(*(asyncio.shield(one.ended) for one in speakers)), _PATIENCE_S)
    finally:
        for speaker in speakers:
            speaker.close()
    return Moved(len(done), ended_s - began_s, tuple(sorted(done))), after - before


# --- idle connections -----------------------------------------------------------------------------------------------


class _Idler(asyncio.Protocol):
    """Asks once, and then only keeps its connection."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._got = b""
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self._got.endswith(b'"}') and not self.answered.done():
            if self._got.startswith(b"HTTP/1.1 200"):
                self.answered.set_result(None)
            else:
                self.answered.set_exception(BenchError(f"a request was answered {self._got[:60].decode('latin-1')!r}"))
            self._got = b""

    def connection_lost(self, err: Exception | None) -> None:
        self.is_lost = True
        if not self.answered.done():
            self.answered.set_exception(BenchError(f"a connection was closed instead of answered: {self._got[:60]!r}"))


async def lie_idle(port: int, token: str, count: int, meter: Callable[[], float]) -> float:
    """How far the meter goes from no connection to `count` that were all served once and are all still open."""
    head = f"GET /api/items?x=1 HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    request = head.encode()
    loop = asyncio.get_running_loop()
    idlers: list[_Idler] = []
    before = meter()
    try:
        for start in range(0, count, _WAVE):
            number = min(_WAVE, count - start)
            opening = (loop.create_connection(lambda: _Idler(request), LOOPBACK, port) for _ in range(number))
            wave = [idler for _, idler in await asyncio.gather(*opening)]
            idlers.extend(wave)
            await asyncio.wait_for(asyncio.gather(*(idler.answered for idler in wave)), _PATIENCE_S)
        await asyncio.sleep(0.5)
        lost = sum(idler.is_lost for idler in idlers)
        if lost:
            raise BenchError(f"{lost} of {count} idle connections were closed")
        return meter() - before
    finally:
        for idler in idlers:
            if idler.transport is not None:
                idler.transport.abort()
        await asyncio.sleep(0.1)
