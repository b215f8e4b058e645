"""The proxy door: a request becomes facts, the gate judges, and the decision is forwarded or answered.

A request goes through here in one go where nothing has to be waited for but the upstream (`at_once`); what has to be
waited for goes on in a task. The one place with an outermost `except Exception`: a bug of ours is a 500 with a request
id, and never a forward. Longer than most, for every way that a request can end comes together here, to be answered and
recorded once.
"""

import asyncio
import contextlib
import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestPayloadError

from gateway.assertion_keys import Assertions
from gateway.audit import asked_by
from gateway.clientside import BodyBroken, BodyTooLarge, BrokenOff, Relayed
from gateway.clock import Clock
from gateway.core.crosssite import cors_lines, is_preflight
from gateway.core.errors import UpstreamBusy, UpstreamError
from gateway.core.facts import gather
from gateway.core.forwarded import ForwardAuth
from gateway.core.limits import Standing
from gateway.core.model import Decision, Match, Reason, Refuse, RequestFacts, ServerRules
from gateway.doors.answers import Answer, refusal
from gateway.doors.auth.desk import PREFIX
from gateway.doors.auth.outcome import BODY_BYTES
from gateway.doors.client import expects_continue, write_reply
from gateway.doors.faults import reason_of, traced
from gateway.doors.forwarding import Forwarding
from gateway.doors.listener import Request, Wire, Written
from gateway.doors.reader import Head
from gateway.doors.signin import SignIn
from gateway.doors.verify import ASKED, VerifyDoor
from gateway.doors.visit import Visit
from gateway.gate import Gate, Unsettled, Verdict
from gateway.holds import Holds
from gateway.sessions import Sessions
from gateway.steps import followed_by
from gateway.streams import Streams
from gateway.tasks import Tasks
from gateway.telemetry import Metrics, Record, RequestLog, log
from gateway.upstream import Upstreams

if TYPE_CHECKING:
    from gateway.traces import Traces

_FORM_S = 10.0
# What to say to CONNECT and TRACE, which no route takes.
_FORWARDED_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class _ForUs:
    """The request is for the endpoints of our own."""


_FOR_US = _ForUs()
_Next = Verdict | Unsettled | Answer | _ForUs
_Rest = Callable[[], Awaitable[bool]]  # what is left to do; True when the connection may serve another request


@dataclass(frozen=True, slots=True)
class Inside:
    """What stands behind the door; assembled by `app`."""

    gate: Gate
    sign_in: SignIn
    forward_auth: ForwardAuth | None
    sessions: Sessions
    upstreams: Upstreams
    streams: Streams
    holds: Holds
    assertions: Assertions | None
    traces: "Traces | None"
    noted: Callable[[Record], None]
    is_audited: bool
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
        self.is_draining = inside.is_draining
        self._forwarding = Forwarding(
            upstreams=inside.upstreams,
            streams=inside.streams,
            holds=inside.holds,
            assertions=inside.assertions,
            is_traced=inside.traces is not None,
            server=inside.server,
            project_id=inside.project_id,
            clock=inside.clock,
        )
        self.reply_lines = self._forwarding.reply_lines
        self._verify = (
            VerifyDoor(
                inside.forward_auth,
                gate=inside.gate,
                sessions=inside.sessions,
                server=inside.server,
                project_id=inside.project_id,
                assertions=inside.assertions,
                spelt=self._spelt,
            )
            if inside.forward_auth is not None
            else None
        )
        # Unlike any other gateway's and its own of an earlier run; that they can be guessed harms nobody.
        self._id_prefix = secrets.token_hex(4)
        self._ids = itertools.count(1)

    def _next_id(self) -> str:
        return f"{self._id_prefix}{next(self._ids):x}"

    # --- three ways in ----------------------------------------------------------------------------------------------

    def at_once(self, head: Head, wire: Wire) -> Visit:
        """Serve a request without a body; what has to be waited for goes on in a task."""
        visit = Visit(self, head, wire, EMPTY_PAYLOAD, Record(self._next_id()))
        try:
            rest = self._without_waiting(visit)
        except Exception as err:  # noqa: BLE001  # the outermost of all: a bug of ours is a 500, never a forward
            if visit.exchange is not None:
                visit.exchange.close()
            self._over(visit, self._failed(visit, err))
            return visit
        if rest is not None:
            visit.task = self._in.tasks.spawn(self._rest(visit, rest), "serve a request")
        return visit

    async def serve(self, request: Request) -> web.StreamResponse:
        """Serve any request, whatever happens."""
        visit = Visit(self, request.head, request.wire, request.content, Record(self._next_id()))
        wire = request.wire
        wire.serving = visit
        try:
            keep_alive = await self._guarded(visit, lambda: self._in_a_task(visit))
            return Written(keep_alive=keep_alive and not wire.is_answered)
        finally:
            wire.serving = None

    async def _in_a_task(self, visit: Visit) -> bool:
        following = self._begin(visit)
        with followed_by(visit.trace), self._asked_by(visit):
            return await self._serve(visit, following)

    def _asked_by(self, visit: Visit) -> contextlib.AbstractContextManager[None]:
        return asked_by(visit.record if self._in.is_audited else None)

    def unreadable(self, request: Request, too_large: bool) -> None:
        """Answer what could not even be parsed, without a word of what it said."""
        reason = Reason.HEADERS_TOO_LARGE if too_large else Reason.BAD_REQUEST
        record = Record(self._next_id())
        record.reason, record.status = reason.value, reason.status
        answer = refusal(Refuse(reason), record.request_id)
        self._in.metrics.count(record)
        self._in.request_log.write(record)
        self._in.noted(record)
        with contextlib.suppress(ConnectionError):
            write_reply(
                request.wire,
                answer.status,
                answer.lines,
                answer.body,
                keep_alive=False,
                http10=False,
                head_only=False,
            )

    # --- to its end, and on record ----------------------------------------------------------------------------------

    async def _rest(self, visit: Visit, rest: _Rest) -> None:
        keep_alive = False
        try:
            with followed_by(visit.trace), self._asked_by(visit):
                keep_alive = await self._guarded(visit, rest)
        finally:
            visit.wire.ended(keep_alive=keep_alive)

    async def _guarded(self, visit: Visit, work: _Rest) -> bool:
        """Do `work`, whatever happens, and record it; True when the connection may serve another request."""
        try:
            return await work()
        except asyncio.CancelledError:
            _note_gone(visit)
            raise
        except Exception as err:  # noqa: BLE001  # the outermost of all, once more
            return self._failed(visit, err)
        finally:
            self._put_on_record(visit)

    def _failed(self, visit: Visit, err: Exception) -> bool:
        if isinstance(err, ConnectionError):
            _note_gone(visit)
            return False
        record = visit.record
        log.error("internal error", request_id=record.request_id, route=record.route, fault=traced(err))
        if visit.begun:
            record.outcome, record.reason = "failed", Reason.INTERNAL_ERROR.value
            visit.abort()
            return False
        try:
            return self._refused(visit, Refuse(Reason.INTERNAL_ERROR))
        except ConnectionError:
            return False

    def _over(self, visit: Visit, keep_alive: bool) -> None:
        self._put_on_record(visit)
        visit.wire.ended(keep_alive=keep_alive)

    def _put_on_record(self, visit: Visit) -> None:
        record = visit.record
        # It refers to the visit in turn. Cut here, so that all of it goes at once and the collector finds nothing.
        visit.exchange = None
        if visit.stream is not None:
            record.reason = record.reason or visit.stream.reason
            visit.stream.close()
        record.seconds = time.perf_counter() - visit.started_s
        self._in.metrics.count(record)
        self._in.request_log.write(record)
        if record.reason:
            self._in.noted(record)
        if visit.trace is not None:
            visit.trace.end(record)

    def left(self, visit: Visit) -> None:
        """The client of a request that was served at once has gone."""
        if visit.task is not None:
            visit.task.cancel()
            return
        if visit.exchange is not None:
            visit.exchange.close()
        _note_gone(visit)
        self._over(visit, False)

    # --- what is asked ----------------------------------------------------------------------------------------------

    def _begin(self, visit: Visit) -> _Next:
        """Everything about a request that can be said without waiting."""
        head, record = visit.head, visit.record
        facts = gather(
            method=head.method,
            raw_target=head.raw_target,
            version=head.version,
            block=head.block,
            peer=visit.wire.client_address,
            server=self._in.server,
            tls=self._in.server.tls is not None,
        )
        if isinstance(facts, Reason):
            record.method = head.method if head.method.isalpha() else ""
            allow = _FORWARDED_METHODS if facts is Reason.METHOD_NOT_ALLOWED else ()
            visit.ends_connection = True
            return Verdict(Refuse(facts, allow=allow))
        visit.facts = facts
        if b"transfer-encoding" in facts.named:
            # aiohttp's parser takes the trailer fields behind the chunks for headers of the request that comes next.
            visit.ends_connection = True
        record.method, record.host, record.path = facts.method, facts.host, facts.target.path
        record.client = facts.client
        if facts.client != facts.peer:
            record.request_id = _handed_on_id(facts) or record.request_id
        if self._in.traces is None:
            return self._judged(visit, facts)
        visit.trace = self._in.traces.begin(facts, self._in.server)
        record.trace_id = visit.trace.trace_id
        with followed_by(visit.trace):
            return self._judged(visit, facts)

    def _judged(self, visit: Visit, facts: RequestFacts) -> _Next:
        if facts.target.segments[0] == PREFIX:
            return _FOR_US
        visit.is_upgrade = visit.head.asks_upgrade and _is_websocket(facts)
        if visit.is_upgrade and _has_body(facts):
            # Its body would reach the upstream as a second request: an upgrade is forwarded without framing.
            visit.ends_connection = True
            return Verdict(Refuse(Reason.BAD_REQUEST))
        if facts.method == "OPTIONS" and is_preflight(facts):
            answer = self._preflight(visit, facts)
            if answer is not None:
                return answer
        return self._in.gate.judge_at_once(facts, is_upgrade=visit.is_upgrade)

    def _without_waiting(self, visit: Visit) -> _Rest | None:
        """Serve as far as that goes at once; what is left to do, None where that is nothing but the reply."""
        following = self._begin(visit)
        if type(following) is not Verdict or following.decision.set_cookies is not None:
            return lambda: self._serve(visit, following)
        decision = self._noted(visit, following)
        refuse = decision if isinstance(decision, Refuse) else self._forwarding.prepare(visit, decision)
        if refuse is not None:
            self._over(visit, self._refused(visit, refuse))
            return None
        exchange = visit.exchange
        assert exchange is not None  # noqa: S101  # for the type checker: `prepare` has made it
        if exchange.start_at_once():
            return None
        return lambda: self._exchanged(visit, exchange.run())

    async def _serve(self, visit: Visit, following: _Next) -> bool:
        if isinstance(following, _ForUs):
            is_asked = visit.facts is not None and visit.facts.target.segments[1:2] == ASKED
            return await (
                self._serve_verify(visit, self._verify) if self._verify and is_asked else self._serve_sign_in(visit)
            )
        if isinstance(following, Answer):
            visit.record.outcome = "admitted"
            return self._write(visit, following)
        if isinstance(following, Unsettled):
            visit.record.route = following.match.route.id
            following = await self._in.gate.settle(following)
        decision = self._noted(visit, following)
        if isinstance(decision, Refuse):
            return await self._refused_with_cookies(visit, decision)
        refuse = self._forwarding.prepare(visit, decision)
        if refuse is not None:
            return await self._refused_with_cookies(visit, refuse)
        assert visit.exchange is not None  # noqa: S101  # for the type checker: `prepare` has made it
        return await self._exchanged(visit, visit.exchange.run())

    @staticmethod
    def _noted(visit: Visit, verdict: Verdict) -> Decision:
        visit.standings = verdict.standings
        if verdict.route is not None:
            visit.record.route = verdict.route.id
        return verdict.decision

    # --- admitted ---------------------------------------------------------------------------------------------------

    def replied(self, visit: Visit) -> None:
        """The upstream has begun to answer a request that nobody's task waits for, or it never will."""
        exchange = visit.exchange
        assert exchange is not None  # noqa: S101  # for the type checker: it is what has been answered
        try:
            if exchange.is_whole:
                relayed = exchange.relay()
                if not visit.is_slow:
                    exchange.close()
                    self._over(visit, self._relayed(visit, relayed))
                    return
        except UpstreamError:
            pass  # `finish` will meet it again, and says what to do
        except Exception as err:  # noqa: BLE001  # nobody above would answer
            exchange.close()
            self._over(visit, self._failed(visit, err))
            return
        visit.task = self._in.tasks.spawn(
            self._rest(visit, lambda: self._exchanged(visit, exchange.finish())), "relay a reply"
        )

    async def _exchanged(self, visit: Visit, work: Coroutine[None, None, Relayed]) -> bool:
        try:
            relayed = await work
        except (UpstreamError, BodyTooLarge, BodyBroken, BrokenOff) as fault:
            return await self._broken(visit, fault)
        return self._relayed(visit, relayed)

    @staticmethod
    def _relayed(visit: Visit, relayed: Relayed) -> bool:
        record, admit = visit.record, visit.admit
        record.status, record.upstream_seconds = relayed.status, relayed.upstream_s
        record.sent_bytes, record.received_bytes = relayed.sent_bytes, relayed.received_bytes
        if admit is not None and admit.set_cookies is not None:
            admit.set_cookies.written()
        return relayed.keep_alive

    async def _broken(self, visit: Visit, fault: UpstreamError | BodyTooLarge | BodyBroken | BrokenOff) -> bool:
        """Before a reply began this is an answer; afterwards the connection ends: half must not pass for whole."""
        record, admit = visit.record, visit.admit
        assert admit is not None  # noqa: S101  # for the type checker: nothing goes out without
        reason = reason_of(fault)
        record.outcome, record.reason = "failed", reason.value
        if not isinstance(fault, UpstreamBusy):  # one of many: the request's own line says enough
            log.warning(
                "exchange failed",
                request_id=record.request_id,
                route=record.route,
                reason=reason.value,
                cause=str(fault),
            )
        if visit.begun:
            if isinstance(fault, BrokenOff):
                record.status = fault.relayed.status
                record.sent_bytes = fault.relayed.sent_bytes
            visit.abort()
            return False
        visit.ends_connection = not isinstance(fault, UpstreamError) or visit.has_body
        wait_s = fault.retry_after_s if isinstance(fault, UpstreamBusy) else None
        refuse = Refuse(reason, admit.match.route, retry_after_s=wait_s, set_cookies=admit.set_cookies)
        return await self._refused_with_cookies(visit, refuse, outcome="failed")

    # --- refused, and our own pages ---------------------------------------------------------------------------------

    async def _refused_with_cookies(self, visit: Visit, refuse: Refuse, *, outcome: str = "refused") -> bool:
        if refuse.set_cookies is None:
            return self._refused(visit, refuse, outcome=outcome)
        keep_alive = self._refused(visit, refuse, await refuse.set_cookies.settled(), outcome=outcome)
        refuse.set_cookies.written()
        return keep_alive

    def _refused(
        self, visit: Visit, refuse: Refuse, cookies: tuple[bytes, ...] = (), *, outcome: str = "refused"
    ) -> bool:
        record, facts = visit.record, visit.facts
        record.outcome = "failed" if refuse.status >= 500 else outcome
        record.reason = refuse.reason.value
        record.subject = record.subject or refuse.subject
        if refuse.route is not None:
            record.route = refuse.route.id
        for standing in visit.standings:
            if standing.wait_ns:
                self._in.metrics.limited.labels(standing.limit.name).inc()
        return self._write(visit, self._spelt(refuse, record.request_id, facts, cookies, visit.standings))

    def _spelt(
        self,
        refuse: Refuse,
        request_id: str,
        facts: RequestFacts | None,
        cookies: tuple[bytes, ...],
        standings: tuple[Standing, ...],
    ) -> Answer:
        return refusal(
            refuse,
            request_id,
            facts,
            login_url=self._in.login_url,
            public_url=self._public_url(facts),
            cookies=cookies,
            standings=standings,
            look=self._in.sign_in.look,
        )

    async def _serve_verify(self, visit: Visit, verify: VerifyDoor) -> bool:
        """Tell another proxy what is to become of a request; the record is of that request."""
        asked, record = visit.facts, visit.record
        assert asked is not None  # noqa: S101  # for the type checker: they name the path
        visit.ends_connection = visit.ends_connection or visit.head.asks_upgrade
        told = await verify.serve(asked, visit.head.raw_target, record.request_id)
        facts, decision = told.facts, told.verdict.decision
        if facts is not None:
            visit.facts = facts
            record.method, record.host, record.path = facts.method, facts.host, facts.target.path
            record.client = facts.client
        self._noted(visit, told.verdict)
        for standing in visit.standings:
            if standing.wait_ns:
                self._in.metrics.limited.labels(standing.limit.name).inc()
        if isinstance(decision, Refuse):
            record.outcome, record.reason = "failed" if decision.status >= 500 else "refused", decision.reason.value
            record.subject = decision.subject
        else:
            record.outcome = "admitted"
            record.subject = decision.identity.subject if decision.identity is not None else ""
        keep_alive = self._write(visit, told.answer)
        if decision.set_cookies is not None:
            decision.set_cookies.written()
        return keep_alive

    async def _serve_sign_in(self, visit: Visit) -> bool:
        facts, record = visit.facts, visit.record
        assert facts is not None  # noqa: S101  # for the type checker: they name the prefix
        record.route = PREFIX

        async def body() -> bytes | Reason:
            return await _small_body(visit, facts)

        outcome = await self._in.sign_in.serve(facts, body)
        record.subject = outcome.subject
        if isinstance(outcome.answer, Refuse):
            record.reason = outcome.answer.reason.value
            is_fault = outcome.answer.status >= 500
            record.outcome = "failed" if is_fault else "refused"
            answer = refusal(
                outcome.answer, record.request_id, facts, cookies=outcome.cookies, look=self._in.sign_in.look
            )
        else:
            record.outcome = "admitted"
            if outcome.reason is not None:
                record.reason = outcome.reason.value
                record.outcome = "failed" if outcome.reason.status >= 500 else "refused"
            own = (b"X-Request-Id: " + record.request_id.encode("ascii"),)
            cookies = tuple(b"Set-Cookie: " + cookie for cookie in outcome.cookies)
            answer = Answer(outcome.answer.status, (*outcome.answer.lines, *own, *cookies), outcome.answer.body)
        keep_alive = self._write(visit, answer)
        outcome.written()
        return keep_alive

    def _write(self, visit: Visit, answer: Answer) -> bool:
        head = visit.head
        visit.record.status = answer.status
        # What is left of a body is read away by aiohttp for a moment; a large one ends the connection instead.
        keep_alive = visit.keep_alive and visit.body.is_eof()
        head_only = head.method == "HEAD"
        write_reply(
            visit.wire,
            answer.status,
            answer.lines,
            answer.body,
            keep_alive=keep_alive,
            http10=head.version < (1, 1),
            head_only=head_only,
        )
        visit.record.sent_bytes = 0 if head_only else len(answer.body)
        return keep_alive

    def _preflight(self, visit: Visit, facts: RequestFacts) -> Answer | None:
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


def _note_gone(visit: Visit) -> None:
    """The client has gone; for a stream that is how it usually ends."""
    if visit.stream is None:
        visit.record.outcome = "gone"


def _handed_on_id(facts: RequestFacts) -> str:
    """A request id from a trusted proxy, where it is plain enough to be written anywhere."""
    given = (facts.one(b"x-request-id") or b"").decode("latin-1")
    return given if _PLAIN_ID.fullmatch(given) else ""


async def _small_body(visit: Visit, facts: RequestFacts) -> bytes | Reason:
    """A posted form; at most 40 KiB, within ten seconds."""
    body = bytearray()
    if expects_continue(facts):
        visit.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        async with asyncio.timeout(_FORM_S):
            while data := await visit.body.readany():
                body += data
                if len(body) > BODY_BYTES:
                    return Reason.BODY_TOO_LARGE
    except (TimeoutError, RequestPayloadError):
        return Reason.BAD_REQUEST
    return bytes(body)
