"""Heads as they go out, to the upstream and to the client: the last place where a line break can be seen."""

import re

from gateway.clientside import ClientSide
from gateway.connection import Connection
from gateway.core.errors import UpstreamBadReply
from gateway.core.headers import Lines

_BREAK = re.compile("[\r\n\0]")
_ANNOUNCE_NO_BODY = frozenset({"POST", "PUT", "PATCH"})


def request_head(method: str, path: str, lines: Lines, client: ClientSide, *, is_upgrade: bool) -> bytes:
    first = f"{method} {path} HTTP/1.1"
    # Every part was checked where it was made, the lines by `Lines`; this is the last place before the wire.
    if not first.isprintable() and _BREAK.search(first):
        raise ValueError("a line break inside the first line of the forwarded request")
    framing = b""
    if is_upgrade:
        framing = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        if client.has_body:
            raise ValueError("an upgrade with a body would be two requests")
    elif client.has_body:
        length = client.body_length
        framing = b"Transfer-Encoding: chunked\r\n" if length is None else b"Content-Length: %d\r\n" % length
    elif method in _ANNOUNCE_NO_BODY:
        framing = b"Content-Length: 0\r\n"
    return b"".join((first.encode("latin-1"), b"\r\n", lines.text, framing, b"\r\n"))


def reply_head(connection: Connection, lines: list[bytes]) -> bytes:
    out = [b"HTTP/1.1 %d %b" % (connection.status, connection.reason), *lines]
    head = b"\r\n".join(out) + b"\r\n\r\n"
    # The parser refuses these; a value of ours could still carry one, and then half a header would be another's reply.
    if head.count(b"\n") != len(out) + 1 or head.count(b"\r") != len(out) + 1 or b"\0" in head:
        raise UpstreamBadReply("a line break inside a header of the reply")
    return head


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
