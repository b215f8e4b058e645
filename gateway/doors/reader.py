"""Reads a request's head out of the bytes that came, where those are one whole request and nothing else."""

import httptools

from gateway.core.facts import HeaderBlock, read_block
from gateway.core.memory import Memory, Sightings
from gateway.core.model import HeadLimits, Reason, noun
from gateway.core.outline import Outline, around_token, outline_of

_KEPT_BYTES = 8 * 1024 * 1024  # of header blocks in one generation, what follows from them included
_ONCE = frozenset(b"content-type content-location content-range etag max-forwards server user-agent".split())
_VERSIONS = {"1.1": (1, 1), "1.0": (1, 0)}

_Line = tuple[str, bytes, tuple[int, int]]  # a request's first: method, target, version


@noun
class Head:
    """A request's head as it was parsed, nothing decoded. is_last: the connection ends with this request."""

    method: str
    raw_target: bytes
    version: tuple[int, int]
    block: HeaderBlock | Reason
    is_last: bool
    asks_upgrade: bool = False


class Reader:
    """Reads a request that came whole, alone and without a body, through httptools; leaves everything else alone.

    Most callers send the same headers with every request, and ask for the same targets again. What the parser made of
    either is remembered by their very bytes, so that it need not be asked again; of headers that come for the first
    time, what they are around a bearer token. One reader serves all connections.
    """

    def __init__(self, limits: HeadLimits) -> None:
        self.limits = limits
        self._firsts: Memory[bytes, _Line] = Memory()
        self._rests: Memory[tuple[bytes, tuple[int, int]], tuple[HeaderBlock, bool]] = Memory(most_bytes=_KEPT_BYTES)
        self._outlines: Memory[tuple[bytes, tuple[int, int]], tuple[Outline, bool]] = Memory(most=512)
        self._seen = Sightings()
        self._renew()

    def _renew(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._begun = self._ended = 0
        self._is_last = False
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []

    def read(self, data: bytes, now_s: float) -> Head | None:
        """The head, where `data` is one request and nothing else; None where aiohttp shall read it."""
        first, _, rest = data.partition(b"\r\n")
        line = self._firsts.get(first, now_s)
        if line is not None:
            method, target, version = line
            known = self._rests.get((rest, version), now_s)
            if known is not None:
                return Head(method, target, version, known[0], known[1])
        # Of headers that never come again nothing is kept: tokens never seen before cost enough.
        is_again = self._seen.again(rest)
        cut = None if is_again else around_token(data, len(first))
        if cut is not None and line is not None:
            like = self._outlines.get((cut[0], line[2]), now_s)
            block = like[0].filled(cut[1]) if like is not None else None
            if like is not None and block is not None:
                return Head(line[0], line[1], line[2], block, like[1])
        head = self._parsed(data, first, line, now_s)
        if head is not None and not isinstance(head.block, Reason):
            if is_again:
                # It is there already where only the first line is new.
                if self._rests.get((rest, head.version), now_s) is None:
                    self._rests.keep((rest, head.version), (head.block, head.is_last), 3 * len(rest), now_s)
            elif cut is not None and self._seen.again(cut[0]):
                self._learn(cut, head.block, head, now_s)
        return head

    def _learn(self, cut: tuple[bytes, bytes], block: HeaderBlock, head: Head, now_s: float) -> None:
        """Keep the outline of headers that came with another token before."""
        key = (cut[0], head.version)
        outline = outline_of(block, cut[1], self.limits) if self._outlines.get(key, now_s) is None else None
        if outline is not None:
            self._outlines.keep(key, (outline, head.is_last), 6 * len(cut[0]), now_s)

    def _parsed(self, data: bytes, first: bytes, line: _Line | None, now_s: float) -> Head | None:
        """line: what is known of `first`."""
        self._begun = self._ended = 0
        self._target = b""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._renew()
            return None
        parser, headers = self._parser, tuple(self._headers)
        # As many lines as headers, or one of them is folded: parsers join such a one each in its own way.
        if self._begun != 1 or self._ended != 1 or data.count(b"\n") != len(headers) + 2:
            self._renew()
            return None
        self._headers.clear()
        method, target, version = line or (
            parser.get_method().decode("latin-1"),
            self._target,
            _VERSIONS.get(parser.get_http_version(), (0, 0)),
        )
        is_last = self._is_last
        block = read_block(headers, self.limits)
        if not isinstance(block, Reason):
            is_repeated = len(block.named) != len(headers)
            if is_repeated and any(len(values) > 1 and name in _ONCE for name, values in block.named.items()):
                self._renew()
                return None  # aiohttp refuses such a request, and so it is refused however it came
            if line is None:
                self._firsts.keep(first, (method, target, version), 2 * len(first), now_s)
        if is_last:
            self._renew()
        return Head(method, target, version, block, is_last)

    # what httptools calls

    def on_message_begin(self) -> None:
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value.rstrip(b" \t")))  # RFC 9110 section 5.5; llhttp leaves what is behind

    def on_body(self, _body: bytes) -> None:
        self._begun = 2

    def on_message_complete(self) -> None:
        self._ended += 1
        self._is_last = not self._parser.should_keep_alive()
