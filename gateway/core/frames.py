"""Where a stream may be ended: between two frames of a WebSocket (RFC 6455), or behind an event of an event stream.

Nothing is decoded and nothing copied: of a frame only the length is read, so that extensions (permessage-deflate) and
whatever they do to the payload pass untouched. The trackers read what the upstream says as it passes, in any pieces.
"""

import re

GOING_AWAY = 1001
POLICY_VIOLATION = 1008
_CLOSE = 0x8
_FINAL = 0x80
_MASKED = 0x80
_LONGEST_HEAD = 14
_MOST_REASON_BYTES = 123
# A line may end with CR LF, LF or CR; an event ends with an empty line (WHATWG HTML section 9.2.5).
_EMPTY_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")


class Frames:
    """Follows one direction of a WebSocket. closing: a close frame has begun, so nothing may be said after it."""

    __slots__ = ("_head", "_left", "closing")

    def __init__(self) -> None:
        self._left = 0  # bytes of the frame under way that are still to come, its head aside
        self._head = b""  # the beginning of a head that came in pieces
        self.closing = False

    @property
    def is_between(self) -> bool:
        """Whether all that has come so far is whole frames."""
        return not self._left and not self._head

    def feed(self, data: bytes) -> None:
        """Take notice of the next piece."""
        size = len(data)
        if size <= self._left:
            self._left -= size  # the middle of a large frame
            return
        at = self._left
        while at < size:
            at = self._next(data, at)
        self._left = at - size

    def feed_to_boundary(self, data: bytes) -> int | None:
        """Take notice of `data` up to the end of the frame under way: how far that is, None where it is not in it.

        0 where no frame is under way.
        """
        at, size = self._left, len(data)
        if self._head:
            at = self._next(data, 0)
        if at > size or (at == size and self._head):
            self._left = at - size
            return None
        self._left = 0
        return at

    def _next(self, data: bytes, at: int) -> int:
        """Where the frame whose head stands at `at` ends, perhaps behind `data`; keeps a head that is not whole."""
        known = len(self._head)
        head = self._head + data[at : at + _LONGEST_HEAD - known]
        if len(head) >= 2:
            length, size = head[1] & 0x7F, 2
            if length >= 126:
                size = 4 if length == 126 else 10
                length = int.from_bytes(head[2:size], "big")
            if head[1] & _MASKED:
                size += 4
            if len(head) >= size:
                self.closing = self.closing or head[0] & 0x0F == _CLOSE
                self._head = b""
                return at + size - known + length
        self._head = head
        return len(data)


def close_frame(code: int, reason: str) -> bytes:
    """A close frame as servers send it, unmasked. reason: a few words for whoever debugs the client."""
    payload = code.to_bytes(2, "big") + reason.encode("utf-8")
    if len(payload) - 2 > _MOST_REASON_BYTES:
        raise ValueError("the reason of a close frame has at most 123 bytes")
    return bytes((_FINAL | _CLOSE, len(payload))) + payload


class Events:
    """Follows an event stream, so that no event is cut in two."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    @property
    def is_between(self) -> bool:
        """Whether nothing has come so far, or the last of it is the end of an event."""
        return _ends(self._tail, len(self._tail)) is not None

    def feed(self, data: bytes) -> None:
        """Take notice of the next piece."""
        # The longest empty line with the line end before it has four bytes.
        self._tail = data[-4:] if len(data) >= 4 else (self._tail + data)[-4:]

    def feed_to_boundary(self, data: bytes) -> int | None:
        """Take notice of `data`: how far the event under way reaches into it, None where its end is not in it."""
        known = len(self._tail)
        text = self._tail + data
        self.feed(data)
        end = _ends(text, known)
        return None if end is None else end - known


def _ends(text: bytes, known: int) -> int | None:
    """Where the first event that does not end before `known` ends; a stream that has said nothing is between two."""
    if not known:
        return 0
    found = _EMPTY_LINE.search(text)
    while found is not None and found.end() < known:
        found = _EMPTY_LINE.search(text, found.start() + 1)
    return found.end() if found is not None else None
