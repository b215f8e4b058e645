"""The proxy door: an aiohttp request becomes facts, the gate judges, and the decision is forwarded or answered.

The one place with an outermost `except Exception`: a bug of ours is a 500 with a request id, and never a forward.
Longer than most, for every way that a request can end comes together here, to be answered and recorded once.
"""

import asyncio
import contextlib
import itertools
import math
import re
import secrets
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from gateway.clock import Clock
from gateway.core import target as targets
from gateway.core.crosssite import cors_lines, is_preflight
from gateway.core.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from gateway.core.facts import gather
from gateway.core.headers import IdentityLines, ReplyAdditions, ReplyWriter, RequestWriter
from gateway.core.limits import Standing, ratelimit_lines
from gateway.core.model import Admit, HeaderLine, Match, Reason, Refuse, RequestFacts, Route, ServerRules
from gateway.core.retry_after import parse_retry_after
from gateway.doors.answers import Answer, refusal
from gateway.doors.client import Client, Request, Written, expects_continue, write_reply
from gateway.doors.signin import BODY_BYTES, PREFIX, SignIn
from gateway.gate import Gate
from gateway.holds import Holds
from gateway.tasks import Tasks
from gateway.telemetry import Metrics, Record, RequestLog, log
from gateway.upstream import BodyBroken, BodyTooLarge, BrokenOff, Upstreams

_FORM_S = 10.0
# What to say to CONNECT and TRACE, which no route takes.
_FORWARDED_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Writers:
    """What is compiled once for a route."""

    request: RequestWriter
    reply: ReplyWriter


@dataclass(slots=True)
class _Visit:
    """One request under way."""

    request: Request
    record: Record
    facts: RequestFacts | None = None
    client: Client | None = None
    standings: tuple[Standing, ...] = ()
    stream: str = ""


@dataclass(frozen=True, slots=True)
class Inside:
    """What stands behind the door; assembled by `app`."""

    gate: Gate
    sign_in: SignIn
    upstreams: Upstreams
    holds: Holds
    server: ServerRules
    project_id: str
    login_url: str
    metrics: Metrics
    request_log: RequestLog
    tasks: Tasks
    clock: Clock
    is_draining: Callable[[], bool]


class ProxyDoor:
    def __init__(self, inside: Inside) -> None:
        self._in = inside
        self._writers: dict[str, _Writers] = {}
        self._identities = IdentityLines()
        # Unlike any other gateway's and its own of an earlier run; that they can be guessed harms nobody.
        self._id_prefix = secrets.token_hex(4)
        self._ids = itertools.count(1)

    def _next_id(self) -> str:
        return f"{self._id_prefix}{next(self._ids):08x}"

    async def serve(self, request: Request) -> web.StreamResponse:
        """Answer one request, whatever happens."""
        started_s = time.perf_counter()
        visit = _Visit(request, Record(self._next_id()))
        record = visit.record
        try:
            return await self._serve(visit)
        except ConnectionError:
            _left(visit)
            return Written(keep_alive=False)
        except asyncio.CancelledError:
            _left(visit)
            raise
        except Exception as err:  # noqa: BLE001  # the outermost of all: a bug of ours is a 500, never a forward
            log.error("internal error", request_id=record.request_id, route=record.route, fault=_traced(err))
            return await self._refused(visit, Refuse(Reason.INTERNAL_ERROR))
        finally:
            if visit.stream:
                self._in.metrics.open_streams.labels(visit.stream).dec()
            record.seconds = time.perf_counter() - started_s
            self._in.metrics.count(record)
            self._in.request_log.write(record)

    def unreadable(self, request: web.BaseRequest, too_large: bool) -> None:
        """Answer what could not even be parsed, without a word of what it said."""
        reason = Reason.HEADERS_TOO_LARGE if too_large else Reason.BAD_REQUEST
        record = Record(self._next_id(), reason=reason.value, status=reason.status)
        answer = refusal(Refuse(reason), record.request_id)
        self._in.metrics.count(record)
        self._in.request_log.write(record)
        with contextlib.suppress(ConnectionError):
            write_reply(request, answer.status, [*answer.lines], answer.body, keep_alive=False, head_only=False)

    async def _serve(self, visit: _Visit) -> web.StreamResponse:
        request, record = visit.request, visit.record
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        message = request.head
        facts = gather(
            method=message.method,
            raw_target=message.path.encode("utf-8", "surrogateescape"),
            version=(message.version.major, message.version.minor),
            raw_headers=message.raw_headers,
            peer=peer[0] if isinstance(peer, tuple) else "",
            server=self._in.server,
        )
        if isinstance(facts, Reason):
            record.method = message.method if message.method.isalpha() else ""
            allow = _FORWARDED_METHODS if facts is Reason.METHOD_NOT_ALLOWED else ()
            return await self._refused(visit, Refuse(facts, allow=allow), keep_alive=False)
        visit.facts = facts
        record.method, record.host, record.path = facts.method, facts.host, facts.target.path
        record.client = facts.client
        if facts.client != facts.peer:
            record.request_id = _handed_on_id(facts) or record.request_id
        if facts.target.segments[0] == PREFIX:
            return await self._serve_sign_in(visit, facts)
        is_upgrade = bool(message.upgrade) and _is_websocket(facts)
        if is_upgrade and _has_body(facts):
            # Its body would reach the upstream as a second request: an upgrade is forwarded without framing.
            return await self._refused(visit, Refuse(Reason.BAD_REQUEST), keep_alive=False)
        if is_preflight(facts):
            answer = self._preflight(visit, facts)
            if answer is not None:
                return await self._answered(visit, answer)
        verdict = await self._in.gate.judge(facts, is_upgrade=is_upgrade)
        visit.standings = verdict.standings
        if verdict.route is not None:
            record.route = verdict.route.id
        decision = verdict.decision
        if isinstance(decision, Refuse):
            return await self._refused(visit, decision)
        return await self._admitted(visit, facts, decision, is_upgrade=is_upgrade)

    # --- admitted ---------------------------------------------------------------------------------------------------

    async def _admitted(
        self, visit: _Visit, facts: RequestFacts, admit: Admit, *, is_upgrade: bool
    ) -> web.StreamResponse:
        route, record = admit.match.route, visit.record
        record.outcome, record.route, record.upstream = "admitted", route.id, route.upstream.name
        record.subject = admit.identity.subject if admit.identity is not None else ""
        caller = record.subject or facts.client
        sent = facts.target
        if route.strip_prefix:
            rewritten = targets.strip_prefix(facts.target, route.strip_prefix)
            if isinstance(rewritten, Reason):
                return await self._refused(visit, Refuse(rewritten, route, set_cookies=admit.set_cookies))
            sent = rewritten
        if route.upstream.hold_on_retry_after and (wait_s := self._in.holds.remaining_s(route.id, caller)):
            wait = Refuse(Reason.UPSTREAM_BUSY, route, retry_after_s=math.ceil(wait_s), set_cookies=admit.set_cookies)
            return await self._refused(visit, wait)

        def reply_lines(status: int, headers: list[HeaderLine], cookies: tuple[bytes, ...]) -> list[bytes]:
            self._note_reply(visit, facts, route, status, headers)
            return self._reply_lines(visit, facts, route, headers, cookies)

        client = visit.client = Client(
            visit.request, facts, reply_lines, self._in.tasks, is_draining=self._in.is_draining
        )
        lines = self._written_for(route).request.lines(facts, admit, record.request_id)
        path = route.upstream.base_path + sent.text
        try:
            relayed = await self._in.upstreams.forward(admit, facts, lines, client, is_upgrade=is_upgrade, path=path)
        except (UpstreamError, BodyTooLarge, BodyBroken, BrokenOff) as fault:
            return await self._broken(visit, admit, fault)
        record.status = relayed.status
        record.upstream_seconds = relayed.upstream_s
        record.sent_bytes, record.received_bytes = relayed.sent_bytes, relayed.received_bytes
        if admit.set_cookies is not None:
            admit.set_cookies.written()
        return Written(keep_alive=relayed.keep_alive)

    def _note_reply(
        self, visit: _Visit, facts: RequestFacts, route: Route, status: int, headers: list[HeaderLine]
    ) -> None:
        if route.upstream.hold_on_retry_after:
            self._note_hold(visit, facts, route, status, headers)
        visit.record.status = status
        kind = _stream_kind(status, headers)
        if kind:
            visit.stream = kind
            self._in.metrics.open_streams.labels(kind).inc()

    def _reply_lines(
        self, visit: _Visit, facts: RequestFacts, route: Route, headers: list[HeaderLine], cookies: tuple[bytes, ...]
    ) -> list[bytes]:
        additions = ReplyAdditions(
            request_id=visit.record.request_id,
            cookies=cookies,
            ratelimit=ratelimit_lines(visit.standings) if visit.standings else (),
            cors=cors_lines(facts, route.cors) if route.cors is not None else (),
        )
        return self._written_for(route).reply.lines(headers, additions)

    def _note_hold(
        self, visit: _Visit, facts: RequestFacts, route: Route, status: int, headers: list[HeaderLine]
    ) -> None:
        asked = next((value.decode("latin-1") for lower, _, value in headers if lower == b"retry-after"), None)
        caller = visit.record.subject or facts.client
        self._in.holds.note(route.id, caller, status, parse_retry_after(asked, self._in.clock.now_s()))

    def _written_for(self, route: Route) -> _Writers:
        writers = self._writers.get(route.id)
        if writers is None:
            cookies = self._in.server.cookies
            writers = _Writers(
                RequestWriter(route, cookies, self._in.project_id, self._identities), ReplyWriter(route, cookies)
            )
            self._writers[route.id] = writers
        return writers

    async def _broken(
        self, visit: _Visit, admit: Admit, fault: UpstreamError | BodyTooLarge | BodyBroken | BrokenOff
    ) -> web.StreamResponse:
        """Before a reply began this is an answer; afterwards the connection ends: half must not pass for whole."""
        record = visit.record
        reason = _reason_of(fault)
        record.outcome, record.reason = "failed", reason.value
        log.warning(
            "exchange failed", request_id=record.request_id, route=record.route, reason=reason.value, cause=str(fault)
        )
        client = visit.client
        if client is not None and client.begun:
            if isinstance(fault, BrokenOff):
                record.status = fault.relayed.status
                record.sent_bytes = fault.relayed.sent_bytes
            client.abort()
            return Written(keep_alive=False)
        refuse = Refuse(reason, admit.match.route, set_cookies=admit.set_cookies)
        is_clean = isinstance(fault, UpstreamError) and not (client is not None and client.has_body)
        return await self._refused(visit, refuse, outcome="failed", keep_alive=is_clean)

    # --- refused, and our own pages ---------------------------------------------------------------------------------

    async def _refused(
        self, visit: _Visit, refuse: Refuse, *, outcome: str = "refused", keep_alive: bool = True
    ) -> web.StreamResponse:
        record, facts = visit.record, visit.facts
        record.outcome = "failed" if refuse.status >= 500 else outcome
        record.reason = refuse.reason.value
        if refuse.route is not None:
            record.route = refuse.route.id
        for standing in visit.standings:
            if standing.wait_ns:
                self._in.metrics.limited.labels(standing.limit.name).inc()
        cookies = await refuse.set_cookies.settled() if refuse.set_cookies is not None else ()
        answer = refusal(
            refuse,
            record.request_id,
            facts,
            login_url=self._in.login_url,
            public_url=self._public_url(facts),
            cookies=cookies,
            standings=visit.standings,
        )
        reply = self._write(visit, answer, keep_alive=keep_alive)
        if refuse.set_cookies is not None:
            refuse.set_cookies.written()
        return reply

    async def _serve_sign_in(self, visit: _Visit, facts: RequestFacts) -> web.StreamResponse:
        record = visit.record
        record.route = PREFIX

        async def body() -> bytes | Reason:
            return await _small_body(visit.request, facts)

        outcome = await self._in.sign_in.serve(facts, body)
        record.subject = outcome.subject
        if isinstance(outcome.answer, Refuse):
            record.reason = outcome.answer.reason.value
            is_fault = outcome.answer.status >= 500
            record.outcome = "failed" if is_fault else "refused"
            answer = refusal(outcome.answer, record.request_id, facts, cookies=outcome.cookies)
        else:
            record.outcome = "admitted"
            own = (b"X-Request-Id: " + record.request_id.encode("ascii"),)
            cookies = tuple(b"Set-Cookie: " + cookie for cookie in outcome.cookies)
            answer = Answer(outcome.answer.status, (*outcome.answer.lines, *own, *cookies), outcome.answer.body)
        reply = self._write(visit, answer, keep_alive=True)
        outcome.written()
        return reply

    async def _answered(self, visit: _Visit, answer: Answer) -> web.StreamResponse:
        visit.record.outcome = "admitted"
        return self._write(visit, answer, keep_alive=True)

    def _write(self, visit: _Visit, answer: Answer, *, keep_alive: bool) -> web.StreamResponse:
        request = visit.request
        visit.record.status = answer.status
        # What is left of a body is read away by aiohttp for a moment; a large one ends the connection instead.
        keep = keep_alive and request.keep_alive and request.content.is_eof() and not self._in.is_draining()
        head_only = request.method == "HEAD"
        write_reply(request, answer.status, [*answer.lines], answer.body, keep_alive=keep, head_only=head_only)
        visit.record.sent_bytes = 0 if head_only else len(answer.body)
        return Written(keep_alive=keep)

    def _preflight(self, visit: _Visit, facts: RequestFacts) -> Answer | None:
        """A CORS preflight is answered for the route that the announced method has; None where that has no `cors`."""
        method = (facts.one(b"access-control-request-method") or b"").decode("latin-1").strip()
        match = self._in.gate.table.match(facts.host, method, facts.target)
        if not isinstance(match, Match) or match.route.cors is None:
            return None
        visit.record.route = match.route.id
        lines = [name + b": " + value for name, value in cors_lines(facts, match.route.cors, preflight=True)]
        own = (b"Cache-Control: no-store", b"X-Request-Id: " + visit.record.request_id.encode("ascii"))
        return Answer(204, (*own, *lines))

    def _public_url(self, facts: RequestFacts | None) -> str:
        """The public origin that this request came to; never taken from a header unless the route file names it."""
        urls = self._in.server.public_urls
        if facts is not None:
            for url in urls:
                if urlsplit(url).netloc.lower() == facts.authority.lower():
                    return url
        return urls[0] if urls else ""


def _has_body(facts: RequestFacts) -> bool:
    return b"transfer-encoding" in facts.named or facts.one(b"content-length") not in (None, b"0")


def _is_websocket(facts: RequestFacts) -> bool:
    """The one upgrade that is passed on; any other is declined by not asking for it (RFC 9110 section 7.8)."""
    wanted = facts.named.get(b"upgrade", ())
    return facts.method == "GET" and facts.is_upgrade and [w.strip().lower() for w in wanted] == [b"websocket"]


def _left(visit: _Visit) -> None:
    """The client went away; for a stream that is how it usually ends."""
    if not visit.stream:
        visit.record.outcome = "gone"


def _reason_of(fault: Exception) -> Reason:
    match fault:
        case BodyTooLarge():
            return Reason.BODY_TOO_LARGE
        case BodyBroken():
            return Reason.BAD_REQUEST
        case UpstreamUnreachable():
            return Reason.UPSTREAM_UNREACHABLE
        case UpstreamTimeout():
            return Reason.UPSTREAM_TIMEOUT
        case BrokenOff() if isinstance(fault.__cause__, UpstreamTimeout):
            return Reason.UPSTREAM_TIMEOUT
        case BrokenOff() if fault.__cause__ is not None and isinstance(fault.__cause__.__cause__, BodyTooLarge):
            return Reason.BODY_TOO_LARGE
        case BrokenOff() if fault.__cause__ is not None and isinstance(fault.__cause__.__cause__, BodyBroken):
            return Reason.BAD_REQUEST
        case _:
            return Reason.UPSTREAM_BAD_REPLY


def _stream_kind(status: int, headers: list[HeaderLine]) -> str:
    if status == 101:
        return "websocket"
    is_events = any(n == b"content-type" and v.lower().startswith(b"text/event-stream") for n, _, v in headers)
    return "sse" if is_events else ""


def _handed_on_id(facts: RequestFacts) -> str:
    """A request id from a trusted proxy, where it is plain enough to be written anywhere."""
    given = (facts.one(b"x-request-id") or b"").decode("latin-1")
    return given if _PLAIN_ID.fullmatch(given) else ""


async def _small_body(request: web.BaseRequest, facts: RequestFacts) -> bytes | Reason:
    """A posted form; at most 16 KiB, within ten seconds."""
    body = bytearray()
    if expects_continue(facts) and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        async with asyncio.timeout(_FORM_S):
            while data := await request.content.readany():
                body += data
                if len(body) > BODY_BYTES:
                    return Reason.BODY_TOO_LARGE
    except (TimeoutError, RequestPayloadError):
        return Reason.BAD_REQUEST
    return bytes(body)


def _traced(err: BaseException) -> str:
    """Where a bug struck, without the values that may stand in its message."""
    frames = traceback.extract_tb(err.__traceback__)
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames[-4:]))
    return f"{type(err).__name__} at {where}"
