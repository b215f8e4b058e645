"""One exchange, held twice: with the upstream itself, and with it through the gateway.

What arrives there and what comes back may differ by the documented header rules (docs/headers.md) and by nothing else.
The rules are written once more here, from that page alone; whatever else the gateway changed would be a fault.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from tests.conftest import House, Seen
from tests.wire.raw import (
    BETWEEN_S,
    PROBED,
    Line,
    Message,
    is_over,
    opened,
    read_body,
    read_head,
    read_reply,
    serves_again,
    write_pieces,
)

# --- the documented rules -------------------------------------------------------------------------------------------

HOP_BY_HOP = set(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding"
    b" upgrade http2-settings".split()
)
TAKEN_AWAY = HOP_BY_HOP | set(
    b"forwarded x-real-ip x-original-url x-rewrite-url x-original-uri x-original-method x-client-ip x-cluster-client-ip"
    b" true-client-ip cf-connecting-ip x-http-method-override x-http-method x-method-override expect content-length"
    b" x-request-id host".split()
)
OUR_PREFIXES = (b"x-auth-", b"x-forwarded-", b"x-gateway-")
OUR_COOKIE = re.compile(rb"(DS|DSR)(\.[0-9]+)?")
ADDED = set(
    b"host x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port x-real-ip forwarded x-request-id".split()
)
FRAMING = {b"content-length", b"transfer-encoding", b"connection"}
ANNOUNCE_NO_BODY = (b"POST", b"PUT", b"PATCH")


def nominated(message: Message) -> set[bytes]:
    return {word.strip().lower() for value in message.values(b"connection") for word in value.split(b",")}


def kept_cookies(value: bytes) -> bytes:
    pairs = [p for p in value.split(b";") if not OUR_COOKIE.fullmatch(p.partition(b"=")[0].strip(b" \t"))]
    return value if len(pairs) == value.count(b";") + 1 else b";".join(pairs).strip(b" \t")


def forwarded_of(request: Message) -> list[Line]:
    """The client's lines that go on, in their order."""
    kept = []
    for name, value in request.lines:
        lower = name.lower()
        folded = lower.replace(b"_", b"-").replace(b".", b"-")
        if folded in TAKEN_AWAY or folded.startswith(OUR_PREFIXES) or lower in nominated(request):
            continue
        shown = kept_cookies(value) if lower == b"cookie" else value
        if shown or lower != b"cookie":
            kept.append((name, shown))
    return kept


def added_to(request: Message, house: House) -> dict[bytes, bytes]:
    """What the gateway says itself on a public route, but for the request id."""
    host = next(iter(request.values(b"host")), b"")
    ours = {b"host": host, b"x-forwarded-for": b"127.0.0.1", b"x-real-ip": b"127.0.0.1", b"x-forwarded-proto": b"http"}
    if not host:
        return ours | {b"host": b"127.0.0.1:%d" % house.upstream.port, b"forwarded": b"for=127.0.0.1;proto=http"}
    port = host.rpartition(b":")[2] if b":" in host else b"80"
    seen_as = {b"x-forwarded-host": host, b"x-forwarded-port": port}
    return ours | seen_as | {b"forwarded": b'for=127.0.0.1;proto=http;host="%b"' % host}


def canonical_first(first: bytes) -> bytes:
    """Unreserved characters plain, other escapes in capitals, the query as it came, always HTTP/1.1."""
    method, target, _ = first.split(b" ")
    path, mark, query = target.partition(b"?")

    def respelt(escape: re.Match[bytes]) -> bytes:
        byte = bytes((int(escape[1], 16),))
        return byte if re.match(rb"[A-Za-z0-9._~-]", byte) else escape[0].upper()

    return b"%b %b%b%b HTTP/1.1" % (method, re.sub(rb"%([0-9A-Fa-f]{2})", respelt, path), mark, query)


def check_request(direct: Message, through: Message, house: House) -> None:
    """What arrived through the gateway is what arrived directly, but for the rules."""
    assert through.first == canonical_first(direct.first)
    assert through.body == direct.body
    assert through.trailers == ()
    assert [line for line in through.lines if line[0].lower() not in ADDED | FRAMING] == forwarded_of(direct)
    said = [(name.lower(), value) for name, value in through.lines if name.lower() in ADDED]
    assert len(dict(said)) == len(said)
    assert re.fullmatch(rb"[0-9a-f]{9,}", dict(said).pop(b"x-request-id"))
    assert {name: value for name, value in said if name != b"x-request-id"} == added_to(direct, house)
    if direct.framing == "chunks" or direct.body:
        assert through.framing == direct.framing
    else:
        assert through.framing == ("length" if direct.first.split(b" ")[0] in ANNOUNCE_NO_BODY else "none")
    assert len([line for line in through.lines if line[0].lower() in FRAMING]) == (through.framing != "none")


def returned_of(reply: Message) -> list[Line]:
    kept = []
    for name, value in reply.lines:
        lower = name.lower()
        is_ours = lower in (b"clear-site-data", b"x-request-id") or lower.startswith(b"x-auth-")
        is_our_cookie = lower == b"set-cookie" and OUR_COOKIE.fullmatch(value.partition(b"=")[0].strip(b" \t"))
        if not (is_ours or is_our_cookie or lower in HOP_BY_HOP | FRAMING or lower in nominated(reply)):
            kept.append((name, value))
    return kept


def check_reply(direct: Message, through: Message, method: bytes, *, http10: bool) -> None:
    """What came back through the gateway is what came back directly, but for the rules."""
    assert through.first.partition(b" ")[2] == direct.first.partition(b" ")[2]
    assert through.first.startswith(b"HTTP/1.1 ")
    assert through.body == direct.body
    assert through.trailers == ()
    assert len(through.values(b"x-request-id")) == 1
    back = [line for line in through.lines if line[0].lower() not in FRAMING | {b"x-request-id"}]
    assert back == returned_of(direct)
    lengths = through.values(b"content-length")
    if direct.status == 204:
        assert (lengths, through.framing) == ([], "none")
    elif method == b"HEAD" or direct.status == 304:
        assert lengths == direct.values(b"content-length")
        assert through.framing == "none"
    elif direct.framing == "length":
        assert lengths == direct.values(b"content-length")
    else:
        # Whole before its head was written: the length is known after all.
        assert through.framing in ("length", "close" if http10 else "chunks")
    assert len(lengths) + len(through.values(b"transfer-encoding")) <= 1


# --- the two conversations ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One exchange. cuts: where a reply goes out in pieces; closes: the service ends the connection behind it."""

    request: bytes
    reply: bytes
    cuts: tuple[int, ...] = ()
    closes: bool = False

    @property
    def method(self) -> bytes:
        return self.request.partition(b" ")[0]

    @property
    def http10(self) -> bool:
        return b" HTTP/1.0\r\n" in self.request

    @property
    def is_last(self) -> bool:
        """Whether the client asks for the connection's end, or sends chunks, behind which nothing may follow."""
        head = self.request.partition(b"\r\n\r\n")[0]
        words = nominated(read_head(head))
        if b"\r\ntransfer-encoding:" in head.lower():
            return True
        return b"close" in words or (self.http10 and b"keep-alive" not in words)


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in at})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


class Stage:
    """The upstream of a house, made to answer from a list of cases in their order, and the requests it was sent."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.cases: list[Case] = []
        self.arrived: list[Message] = []
        house.upstream.reply = self.answer

    async def answer(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if seen.path == "/public/probe":
            writer.write(PROBED)
            return True
        request = await read_body(read_head(seen.head), reader, is_reply=False)
        case = self.cases[len(self.arrived)]
        self.arrived.append(request)
        await write_pieces(writer, cut(case.reply, case.cuts))
        return not case.closes

    def begin(self, cases: Sequence[Case]) -> None:
        self.cases, self.arrived = list(cases), []

    async def directly(self, case: Case) -> tuple[Message, Message]:
        self.begin([case])
        async with opened(self.house.upstream.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
            writer.write(case.request)
            reply, _ = await read_reply(reader, case.method)
        return self.arrived[0], reply

    async def through(self, cases: Sequence[Case], cuts: Sequence[int], *, half_close: bool = False) -> list[Message]:
        """The replies to all cases on one connection; afterwards the connection must do what its last reply says."""
        self.begin(cases)
        replies = []
        async with opened(self.house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
            await write_pieces(writer, cut(b"".join(case.request for case in cases), cuts))
            if half_close:
                writer.write_eof()
            for case in cases:
                reply, interim = await read_reply(reader, case.method)
                assert interim == []
                replies.append(reply)
            if replies[-1].says_last or half_close:
                assert await is_over(reader)
            else:
                assert await serves_again(reader, writer)
        return replies

    async def compare(self, cases: Sequence[Case], cuts: Sequence[int] = (), *, half_close: bool = False) -> None:
        direct = [await self.directly(case) for case in cases]
        replies = await self.through(cases, cuts, half_close=half_close)
        assert len(self.arrived) == len(cases)
        for case, (request, reply), arrived, back in zip(cases, direct, self.arrived, replies, strict=True):
            check_request(request, arrived, self.house)
            check_reply(reply, back, case.method, http10=case.http10)
            if not half_close:
                assert back.says_last == case.is_last or (case.http10 and back.framing == "close")


async def in_a_thread(examples: Callable[..., None]) -> None:
    """Hypothesis is not asynchronous: its examples run in a thread, what they await in this loop."""
    await asyncio.to_thread(examples)


def asked_of(loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, None]], None]:
    return lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(BETWEEN_S * 2)


def bounded(examples: int) -> Callable[[Any], Any]:
    """The same examples in every run; not shrunk, for an exchange that hangs takes its time in each attempt."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


# --- what is generated ----------------------------------------------------------------------------------------------

METHODS = b"GET HEAD POST PUT PATCH DELETE OPTIONS PROPFIND REPORT MKCOL LOCK SEARCH PURGE M-SEARCH QUERY LINK".split()
SEGMENTS = (
    b"a b.c ~u x..y ...z @me !$&'()*+,=: [1] %7E %41 %2d %c3%a9 %C3%A9 %20 %22 %E2%82%ac %3b %40 %25 -_. .git".split()
)
QUERY_PARTS = [b"a=b", b"&", b"?", b"//", b"%2f", b"%00", b"%", b"/../", b"[]", b"\"'<>`{}|^\\", b";", b"+"]
NAMES = (
    b"Accept accept-ENCODING User-Agent X-Thing x-thing X_Thing X.Thing Content-Type Origin-Agent Via If-None-Match"
    b" ETag Retry-After X-Api-Key Authorization Cookie Cookie COOKIE !#$%&'*+-.^_`|~09 Server Date Location Vary Age"
    b" X-Late"
).split()
ONCE = b"content-type etag server user-agent".split()  # a request that repeats one of these may be refused
TAKEN_NAMES = (
    b"X-Auth-Subject x_auth_roles X.AUTH.Email X-Forwarded-For X_Real_IP Forwarded X-Request-Id X-Gateway-Debug"
    b" Keep-Alive TE Trailer Proxy-Connection Proxy-Authorization CF-Connecting-IP X-HTTP-Method-Override"
).split()
VISIBLE = bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))
VALUES = some.one_of(
    some.sampled_from(
        [b"", b"x", b"a,b", b"a;b", b"a  b", b"a\tb", b'"q"', b"\xa0", b"caf\xe9", b"\x85x\x85", b":", b"\xff" * 9]
    ),
    some.binary(max_size=12).map(lambda raw: bytes(VISIBLE[byte % len(VISIBLE)] for byte in raw)),
)
CREDENTIALS = some.sampled_from([b"Basic QWRhOmxvdmVsYWNl", b"Bearer opaque-of-the-service", b"Digest a=b"])
COOKIES = some.lists(
    some.sampled_from(
        [b"a=1", b"DS=x", b"DSR=y", b"DS.1=z", b"theme=dark", b"DSX=1", b"ds=1", b"b=\xff", b"c=", b"d=e=f"]
    ),
    min_size=1,
    max_size=6,
)
BLANKS = some.sampled_from([b" ", b"", b"\t", b"  ", b" \t "])
ENDS = some.sampled_from([b"", b"", b" ", b"\t", b" \t "])
CUTS = some.lists(some.integers(0, 4000), max_size=4)
BODIES = some.one_of(
    some.binary(max_size=60),
    some.sampled_from([b"\r\n\r\n", b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n", b"0\r\n\r\n", b"\0" * 40_000]),
)


@some.composite
def lines(draw: Any, *, taken: Sequence[bytes]) -> list[bytes]:
    out, seen = [], set()
    for name in draw(some.lists(some.sampled_from([*NAMES, *NAMES, *taken]), max_size=9)):
        lower = name.lower()
        if lower in ONCE and lower in seen:
            continue
        seen.add(lower)
        if lower == b"cookie":
            value = b"; ".join(draw(COOKIES))
        elif lower in (b"authorization", b"x-api-key"):
            value = draw(CREDENTIALS)
        else:
            value = draw(VALUES)
        out.append(name + b":" + draw(BLANKS) + value + draw(ENDS))
    return out


def as_chunks(draw: Any, body: bytes, *, trailers: bool) -> bytes:
    out = b""
    for piece in cut(body, draw(some.lists(some.integers(0, 100), max_size=3))):
        if piece:
            extension = draw(some.sampled_from([b"", b"", b";x", b';a="b;c"', b";ab=1;d"]))
            size = draw(some.sampled_from([b"%x", b"%X", b"000%x"])) % len(piece)
            out += size + extension + b"\r\n" + piece + b"\r\n"
    trailer = draw(some.sampled_from([b"", b"", b"X-Late: 1\r\n", b"X-Auth-Subject: root\r\nETag:\r\n"]))
    return out + b"0\r\n" + (trailer if trailers else b"") + b"\r\n"


@some.composite
def requests(draw: Any, *, last: bool) -> bytes:
    method = draw(some.sampled_from(METHODS))
    path = b"/public/" + b"/".join(draw(some.lists(some.sampled_from(SEGMENTS), max_size=3)))
    query = draw(some.one_of(some.none(), some.lists(some.sampled_from(QUERY_PARTS), max_size=4).map(b"".join)))
    http10 = last and draw(some.integers(0, 3)) == 0
    head = [b"%b %b%b HTTP/1.%d" % (method, path, b"" if query is None else b"?" + query, not http10)]
    host = draw(some.sampled_from([b"app.example.com", b"APP.example.com:8080", b"other", b"[::1]:81", b"a_b.c."]))
    before = draw(lines(taken=TAKEN_NAMES))
    if not http10 or draw(some.booleans()):
        before.insert(draw(some.integers(0, len(before))), draw(some.sampled_from([b"Host: ", b"host:"])) + host)
    head += before
    connections = [b"keep-alive", b"X-Thing", b"x-thing, TE, keep-alive", b"Cookie", b"X-Auth-Subject,x-forwarded-for"]
    if last:
        connections += [b"close", b"Close", b"keep-alive, close"] if not http10 else [b"keep-alive", b"Keep-Alive"] * 3
    for value in draw(some.lists(some.sampled_from(connections), max_size=1)):
        head.append(draw(some.sampled_from([b"Connection: ", b"connection: "])) + value)
    kinds = ["none", "none", "length", "chunks"] if not http10 else ["none", "length"]
    kind, body = draw(some.sampled_from(kinds)), draw(BODIES)
    if kind == "length":
        head.append(
            draw(some.sampled_from([b"Content-Length: %d", b"content-length:%d", b"CONTENT-LENGTH: %d "])) % len(body)
        )
    elif kind == "chunks":
        head.append(draw(some.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked"])))
        body = as_chunks(draw, body, trailers=last)
    else:
        body = b""
    head.append(b"\r\n" + body)
    request: bytes = b"\r\n".join(head)
    return request


INTERIM = [
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nX-Late: 1\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
]
STATUSES = [200, 200, 200, 201, 204, 206, 301, 304, 404, 418, 429, 500, 503, 599]
REASONS = [b"OK", b"Not Modified", b"I'm a teapot", b"caf\xe9", b"a  b", b"\xff", b"200 OK"]
SET_COOKIES = [
    b"a=1; Path=/",
    b"DS=x; Path=/",
    b"DSR=y",
    b"a=2",
    b"ds=1; Secure",
    b"b=\xff",
    b"DS.2=z",
    b"=c",
    b"__Secure-x=1",
]


@some.composite
def replies(draw: Any, method: bytes) -> tuple[bytes, bool]:
    """A reply, and whether the service ends the connection behind it."""
    status = draw(some.sampled_from(STATUSES))
    version = draw(some.sampled_from([1, 1, 1, 0]))
    head = [b"HTTP/1.%d %d %b" % (version, status, draw(some.sampled_from(REASONS)))]
    head += draw(lines(taken=[b"X-Auth-Subject", b"X-Request-Id", b"Clear-Site-Data", b"Keep-Alive", b"Trailer"]))
    for value in draw(some.lists(some.sampled_from(SET_COOKIES), max_size=4)):
        head.insert(draw(some.integers(1, len(head))), b"Set-Cookie: " + value)
    body, closes = draw(BODIES), draw(some.integers(0, 3)) == 0
    # An end that is not announced may meet the next request under way; what may not be repeated is then lost.
    connections = [b"keep-alive", b"X-Thing", b"x-late, keep-alive"]
    told = (
        [draw(some.sampled_from([b"close", b"Close, x-thing"]))]
        if closes
        else draw(some.lists(some.sampled_from(connections), max_size=1))
    )
    head += [b"Connection: " + value for value in told]
    kind = draw(some.sampled_from(["length", "length", "chunks", "close"]))
    bodiless = method == b"HEAD" or status in (204, 304)
    if kind == "length":
        head.append(b"Content-Length: %d" % len(body))
    elif kind == "chunks" and version:
        head.append(b"Transfer-Encoding: chunked")
        body = as_chunks(draw, body, trailers=True)
    else:
        closes = closes or not bodiless
    interim = b"".join(draw(some.lists(some.sampled_from(INTERIM), max_size=2))) if draw(some.booleans()) else b""
    return interim + b"\r\n".join(head) + b"\r\n\r\n" + (b"" if bodiless else body), closes


@some.composite
def runs(draw: Any) -> tuple[list[Case], list[int]]:
    """Exchanges for one connection, and where the bytes of all their requests are cut apart."""
    cases = []
    number = draw(some.integers(1, 3))
    for place in range(number):
        request = draw(requests(last=place == number - 1))
        reply, closes = draw(replies(request.partition(b" ")[0]))
        cases.append(Case(request, reply, tuple(draw(CUTS)), closes))
        if cases[-1].is_last:
            break
    return cases, draw(CUTS)


async def test_exchanges_in_any_form_and_pieces_differ_by_the_documented_rules_only(house: House) -> None:
    stage, ask = Stage(house), asked_of(asyncio.get_running_loop())

    @bounded(200)
    @given(runs())
    def examples(run: tuple[list[Case], list[int]]) -> None:
        ask(stage.compare(*run))

    await in_a_thread(examples)


# --- written by hand ------------------------------------------------------------------------------------------------

GET = b"GET /public/x?y HTTP/1.1\r\nHost: app.example.com\r\nX-A: b\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
OLD = b"GET /public/x HTTP/1.0\r\nHost: h\r\n\r\n"
OLD_KEPT = OLD.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
POST = b"POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nab\r\n\r\n"
CHUNKED = b"PUT /public/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;e\r\nab\r\n3\r\n\r\n0\r\n0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
IN_CHUNKS = (
    b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n"
    b"2;x=y\r\nok\r\n4\r\n\r\n0\r\r\n0;z\r\nX-Late: yes\r\n\r\n"
)

CUT_UP: dict[str, Case] = {
    "a length": Case(GET, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nA: b\r\nSet-Cookie: a=1\r\n\r\nok\r\n\r\n"),
    "chunks with extensions and a trailer": Case(GET, IN_CHUNKS),
    "until the connection ends": Case(GET, b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nok\r\n\r\n", closes=True),
    "interim replies first": Case(GET, b"".join(INTERIM) + OK),
    "the head alone": Case(HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\nA: b\r\n\r\n"),
    "304 with a length": Case(GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 60\r\nETag: x\r\n\r\n"),
    "204": Case(GET, b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n"),
    "to an old client": Case(OLD, IN_CHUNKS),
    "to an old client that stays": Case(OLD_KEPT, IN_CHUNKS),
}


@pytest.mark.parametrize("case", CUT_UP.values(), ids=CUT_UP.keys())
async def test_a_reply_cut_at_any_byte_comes_back_the_same(house: House, case: Case) -> None:
    stage = Stage(house)
    request, reply = await stage.directly(case)
    for at in range(1, len(case.reply)):
        back = await stage.through([Case(case.request, case.reply, (at,), case.closes)], ())
        check_request(request, stage.arrived[0], house)
        check_reply(reply, back[0], case.method, http10=case.http10)


@pytest.mark.parametrize(
    "request_", [GET, HEAD, OLD_KEPT, POST, CHUNKED], ids=["get", "head", "old", "length", "chunks"]
)
async def test_a_request_cut_at_any_byte_arrives_the_same_and_so_does_the_next(house: House, request_: bytes) -> None:
    stage = Stage(house)
    bodiless = request_ is HEAD
    cases = [Case(GET, IN_CHUNKS), Case(request_, OK[:-2] if bodiless else OK)]
    if not cases[-1].is_last:
        cases.append(Case(POST, OK))
    direct = [await stage.directly(case) for case in cases]
    for at in range(1, len(b"".join(case.request for case in cases))):
        replies = await stage.through(cases, (at,))
        for case, (request, reply), arrived, back in zip(cases, direct, stage.arrived, replies, strict=True):
            check_request(request, arrived, house)
            check_reply(reply, back, case.method, http10=case.http10)


async def test_one_byte_at_a_time_is_enough_on_both_sides(house: House) -> None:
    cases = [Case(request, IN_CHUNKS, tuple(range(len(IN_CHUNKS)))) for request in (GET, POST, CHUNKED)]

    await Stage(house).compare(cases, range(len(GET + POST + CHUNKED)))


async def test_large_bodies_cross_whole_in_pieces_of_any_size(house: House) -> None:
    body = os.urandom(400_000)
    head = b"POST /public/x HTTP/1.1\r\nHost: h\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in cut(body, (1, 2, 70_000, 70_001, 200_000))) + b"0\r\n\r\n"
    sized, chunked = b"Content-Length: 400000\r\n\r\n" + body, b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    cuts = (90, 5_000, 70_000, 131_072, 131_073, 399_000)

    await Stage(house).compare(
        [
            Case(head + sized, b"HTTP/1.1 200 OK\r\n" + chunked, cuts),
            Case(head + sized, b"HTTP/1.1 200 OK\r\n" + sized, cuts),
            Case(head + sized, b"HTTP/1.1 200 OK\r\n\r\n" + body, cuts, closes=True),
            Case(head + chunked, b"HTTP/1.1 304 OK\r\nContent-Length: 400000\r\n\r\n", cuts),
        ],
        cuts,
    )


@pytest.mark.parametrize("request_", [GET, OLD, OLD_KEPT], ids=["get", "old", "old that stays"])
@pytest.mark.parametrize("reply", [OK, IN_CHUNKS, INTERIM[0] + OK], ids=["length", "chunks", "interim first"])
async def test_a_client_that_closes_its_half_behind_a_request_gets_the_whole_reply(
    house: House, request_: bytes, reply: bytes
) -> None:
    stage = Stage(house)
    for cuts in ((), (10,), (50, len(reply) - 1)):
        await stage.compare([Case(request_, reply, cuts)], half_close=True)


@pytest.mark.parametrize("request_", [POST, CHUNKED], ids=["length", "chunks"])
async def test_a_reply_may_begin_before_the_body_is_out_and_both_arrive_whole(house: House, request_: bytes) -> None:
    early, arrived = asyncio.Event(), []

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if seen.path == "/public/probe":
            writer.write(PROBED)
            return True
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\nearly")
        early.set()
        arrived.append(await read_body(read_head(seen.head), reader, is_reply=False))
        writer.write(b"x" * 299_995)
        return True

    house.upstream.reply = answer
    async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
        writer.write(request_[:-3])
        await early.wait()
        head = await reader.readuntil(b"early")
        writer.write(request_[-3:])
        rest = await reader.readexactly(299_995)
        over = await is_over(reader)
    async with opened(house.url.port) as (reader, writer):
        assert await serves_again(reader, writer)

    assert b"\r\nConnection: close\r\n" in head
    assert rest == b"x" * 299_995
    assert over
    assert arrived[0].body in (b"ab\r\n\r\n", b"ab\r\n0")


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
async def test_a_refusal_reaches_a_client_that_is_still_sending(house: House, chunked: bool) -> None:
    refusal = b"HTTP/1.1 413 Too much\r\nContent-Length: 20000\r\n\r\n" + b"n" * 20_000
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 8000000"
    block = b"x" * 200_000
    found = []

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(refusal)
        await writer.drain()
        await asyncio.sleep(0.05)
        return False

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST /public/x HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
        with contextlib.suppress(ConnectionError, RuntimeError):
            for _ in range(40):
                writer.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
                await writer.drain()

    house.upstream.reply = answer
    for port in (house.upstream.port, house.url.port):
        async with opened(port) as (reader, writer), asyncio.timeout(BETWEEN_S):
            sending = asyncio.create_task(send(writer))
            found.append((await read_reply(reader, b"POST"))[0])
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    direct, through = found
    check_reply(direct, through, b"POST", http10=False)
    assert through.says_last


@pytest.mark.parametrize("request_", [GET, OLD, OLD_KEPT], ids=["get", "old", "old that stays"])
async def test_a_body_without_length_that_takes_its_time_ends_plainly(house: House, request_: bytes) -> None:
    go_on = asyncio.Event()

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(PROBED if seen.path == "/public/probe" else b"HTTP/1.1 200 OK\r\n\r\none")
        if seen.path != "/public/probe":
            await go_on.wait()
            writer.write(b"two")
        return seen.path == "/public/probe"

    house.upstream.reply = answer
    async with opened(house.url.port) as (reader, writer), asyncio.timeout(BETWEEN_S):
        writer.write(request_)
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        reply, _ = await read_reply(reader, b"GET")
        assert reply.body == b"onetwo"
        if request_ is GET:
            assert (reply.framing, reply.says_last) == ("chunks", False)
            assert await serves_again(reader, writer)
        else:
            assert (reply.framing, reply.says_last) == ("close", True)


async def test_what_a_session_adds_is_the_identity_and_nothing_else(house: House) -> None:
    stage, cookies = Stage(house), house.cookies("ada@example.com")
    planted = b"".join(b"%b: root\r\n" % name for name in (b"X-Auth-Subject", b"x_auth_roles", b"X.Auth.Email"))
    cookie = f"a=1; DS={cookies['DS']}; b=2; DSR={cookies['DSR']}".encode()
    request = b"GET /x HTTP/1.1\r\nHost: app.example.com\r\n" + planted + b"X-A: b\r\nCookie: " + cookie + b"\r\n\r\n"
    stage.begin([Case(request, OK)])
    async with opened(house.url.port) as (reader, writer):
        writer.write(request)
        await read_reply(reader, b"GET")

    lines = [line for line in stage.arrived[0].lines if line[0].lower() not in ADDED]
    said = {name for name, _ in lines if name.startswith(b"X-Auth-")}
    assert lines[:2] == [(b"X-A", b"b"), (b"Cookie", b"a=1; b=2")]
    assert {name for name, _ in lines[2:]} == said
    assert said >= {b"X-Auth-Subject", b"X-Auth-Method"}
    assert b"root" not in b"".join(value for _, value in lines)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"public, max-age=5", b"max-age=5, private"),
        (b"max-age=5, s-maxage=9", b"max-age=5, private"),
        (b"public, no-store", b"no-store"),
        (b"max-age=5, immutable", b"max-age=5, immutable"),
        (b"private", b"private"),
    ],
)
async def test_a_personal_reply_is_kept_from_shared_caches(house: House, sent: bytes, shown: bytes) -> None:
    house.upstream.reply = b"HTTP/1.1 200 OK\r\nCache-Control: " + sent + b"\r\nContent-Length: 0\r\n\r\n"
    session = house.cookies("ada@example.com")["DS"].encode()
    found = []
    for request in (b"GET /x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + session + b"\r\n\r\n", GET):
        async with opened(house.url.port) as (reader, writer):
            writer.write(request)
            found += (await read_reply(reader, b"GET"))[0].values(b"cache-control")

    assert found == [shown, sent]
