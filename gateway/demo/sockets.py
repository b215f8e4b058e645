"""A WebSocket that says what it hears (RFC 6455), over a plain blocking stream: as much of it as a demo needs.

Whole text messages of up to 64 KiB, ping and close. Anything else is answered with a close frame and its reason.
"""

import base64
import hashlib
import struct
from collections.abc import Mapping
from email.message import Message
from io import BufferedIOBase

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MESSAGE_BYTES = 64 * 1024
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_FINAL, _MASKED = 0x80, 0x80
_NORMAL, _PROTOCOL_ERROR, _UNSUPPORTED, _NOT_TEXT, _TOO_BIG = 1000, 1002, 1003, 1007, 1009


class _Refused(Exception):
    """A frame that this echo does not take; `code` goes into the close frame."""

    def __init__(self, code: int) -> None:
        self.code = code


def is_handshake(headers: Message | Mapping[str, str]) -> bool:
    """Whether these request headers ask for a WebSocket."""
    return (
        headers.get("Upgrade", "").lower() == "websocket"
        and headers.get("Sec-WebSocket-Version") == "13"
        and bool(headers.get("Sec-WebSocket-Key"))
    )


def echo(reader: BufferedIOBase, writer: BufferedIOBase, key: str) -> None:
    """Shake hands, then send every text message back until the other side closes or goes away."""
    # SHA-1 proves nothing here; the handshake of RFC 6455 section 4.2.2 asks for it.
    accept = base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()
    head = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
    writer.write("\r\n".join((*head, f"Sec-WebSocket-Accept: {accept}", "", "")).encode())
    writer.flush()
    try:
        while (answer := _answer(reader)) is not None:
            writer.write(answer)
            writer.flush()
            if answer[:1] == bytes([_FINAL | _CLOSE]):
                return
    except _Refused as refused:
        writer.write(_frame(_CLOSE, struct.pack(">H", refused.code)))
        writer.flush()
    except OSError:
        return  # gone without a word


def _answer(reader: BufferedIOBase) -> bytes | None:
    """The frame to send for the next one that comes; None at the end of the stream."""
    read = _read(reader)
    if read is None:
        return None
    opcode, payload = read
    match opcode:
        case 0x1:
            try:
                payload.decode()
            except UnicodeDecodeError:
                raise _Refused(_NOT_TEXT) from None
            return _frame(_TEXT, payload)
        case 0x8:
            return _frame(_CLOSE, payload[:2] or struct.pack(">H", _NORMAL))
        case 0x9:
            return _frame(_PONG, payload)
        case 0xA:
            return b""
        case _:
            raise _Refused(_UNSUPPORTED)


def _read(reader: BufferedIOBase) -> tuple[int, bytes] | None:
    """Opcode and unmasked payload of one frame (RFC 6455 section 5.2); None at the end of the stream."""
    head = reader.read(2)
    if len(head) < 2:
        return None
    if not head[0] & _FINAL:
        raise _Refused(_UNSUPPORTED)  # a message in pieces
    if head[0] & 0x70 or not head[1] & _MASKED:
        raise _Refused(_PROTOCOL_ERROR)
    size = head[1] & 0x7F
    if size >= 126:
        size = int.from_bytes(reader.read(2 if size == 126 else 8), "big")
    if size > _MESSAGE_BYTES:
        raise _Refused(_TOO_BIG)
    mask = reader.read(4)
    masked = reader.read(size)
    if len(mask) < 4 or len(masked) < size:
        return None
    return head[0] & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))


def _frame(opcode: int, payload: bytes) -> bytes:
    """One unmasked frame, as servers send them."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 65536:
        length = bytes([126]) + size.to_bytes(2, "big")
    else:
        length = bytes([127]) + size.to_bytes(8, "big")
    return bytes([_FINAL | opcode]) + length + payload
