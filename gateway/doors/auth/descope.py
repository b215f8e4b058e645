"""Descope's API and static files for pages of this site, first-party: what `<descope-wc>` and the browser SDK ask.

Nothing is handed through. What may be asked is a table (`descope_paths`); what is asked goes out as a question of the
gateway's own, with its deadlines and rests, none of the browser's cookies, and the newest refresh token of whoever is
signed in where that is of use. What comes back is read and written anew; Descope's `Set-Cookie` never passes.

Sessions have one refresher and one memory: what renews them, selects a tenant or signs out goes through `Sessions`. A
session that begins here goes into HttpOnly cookies and its tokens leave the answer, with two exceptions: a flow's go to
the page that ran it, which brings them to `POST /.auth/session`, and who sends a refresh token of its own as bearer
gets that one's successor, for otherwise it would be left with a spent one.
"""

import asyncio
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from gateway.core import credentials as finding
from gateway.core.credentials import cleared_cookies
from gateway.core.errors import IdentityProviderBusy, IdentityProviderError
from gateway.core.facts import client_key
from gateway.core.limits import NS_PER_S, whole_seconds
from gateway.core.model import (
    Auth,
    Credentials,
    Kept,
    Limit,
    Per,
    Rate,
    Reason,
    RefreshToken,
    Refuse,
    RequestFacts,
)
from gateway.doors.answers import Answer, as_json
from gateway.doors.auth.descope_paths import Kind, Passage, passages
from gateway.doors.auth.desk import SHOWN_CODES, Desk
from gateway.doors.auth.outcome import Body, Endpoint, Endpoints, Outcome, read_query, refused_by
from gateway.idp_call import IdpRefusal, is_text, is_token
from gateway.idp_methods import flows as calls
from gateway.renewals import Renewed

_STEPS = Limit("flow requests of one client", Rate(NS_PER_S // 4, 80), Per.CLIENT)
# What the component and the SDK tell of themselves and of the browser; the rest of the head stays here.
_PASSED_ON = tuple(
    name.encode("ascii")
    for name in (
        "x-descope-flow-nonce",
        "x-descope-sdk-name",
        "x-descope-sdk-version",
        "x-descope-sdk-session-id",
        "user-agent",
        "accept-language",
    )
)
_FILE_NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}/)?[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\.(?:json|html)")
_BEARER = re.compile(rb"Bearer +([A-Za-z0-9_-]{1,128})(?::([A-Za-z0-9._~+/=-]*))?", re.IGNORECASE)
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_DEEPEST = 64
_FOR_SOMEBODY_ELSE = frozenset({400, 401, 403, 404, 409})

Holder = tuple[str, RefreshToken]


class DescopeDoor:
    def __init__(self, desk: Desk, project_id: str, static_url: str, flow_ids: frozenset[str]) -> None:
        """flow_ids: which flows may be started."""
        self._desk = desk
        self._sessions = desk.sessions
        self._project_id = project_id
        self._static_url = static_url
        self._flow_ids = flow_ids
        table: dict[str, dict[str, Endpoint]] = {
            "/v1/flow/start": {"POST": self._start},
            "/v1/flow/next": {"POST": self._next},
            "/v1/auth/refresh": {"POST": self._refresh},
            "/v1/auth/try-refresh": {"POST": self._try_refresh},
            "/v1/auth/tenant/select": {"POST": self._select_tenant},
            "/v1/auth/logout": {"POST": partial(self._sign_out, everywhere=False)},
            "/v1/auth/logoutall": {"POST": partial(self._sign_out, everywhere=True)},
            "/pages/": {"GET": self._file},
        }
        for passage in passages(desk.login):
            table.setdefault(passage.path, {})[passage.method] = partial(self._pass, passage)
        self.endpoints: Endpoints = {f"descope{path}": methods for path, methods in table.items()}

    # --- flows ------------------------------------------------------------------------------------------------------

    async def _start(self, facts: RequestFacts, body: Body) -> Outcome:
        members = await self._members(facts, body)
        if isinstance(members, Outcome):
            return members
        flow_id = members.get("flowId")
        if not isinstance(flow_id, str) or flow_id not in self._flow_ids:
            return Outcome(Refuse(Reason.NOT_FOUND, detail="No flow of that name runs here."))
        return await self._step(facts, calls.FLOW_START, members)

    async def _next(self, facts: RequestFacts, body: Body) -> Outcome:
        members = await self._members(facts, body)
        if isinstance(members, Outcome):
            return members
        return await self._step(facts, calls.FLOW_NEXT, members)

    async def _step(self, facts: RequestFacts, path: str, members: dict[str, Any]) -> Outcome:
        holder = await self._holder_or_nobody(facts)
        call = calls.flow(path, members, _passed_on(facts), holder[0] if holder else None)
        try:
            said = await self._sessions.state.asked(call)
            if isinstance(said, IdpRefusal):
                return _refused(said, said.code)
            if said.pair is None:
                return Outcome(_told(said))
            # Here it is known to be new, whatever was signed out a moment ago; brought by the page it could be any.
            begun = await self._sessions.brought(said.pair)
        except IdentityProviderError as fault:
            return _failed(fault)
        said.info.update(sessionJwt=begun.pair.session, refreshJwt=begun.pair.refresh)
        return Outcome(_told(said), subject=begun.identity.subject)

    async def _file(self, facts: RequestFacts, body: Body) -> Outcome:
        place = "/".join(facts.target.segments[3:])
        name = place.removeprefix(f"{self._project_id}/v2-beta/")
        if name == place or not _FILE_NAME.fullmatch(name):
            return Outcome(Refuse(Reason.NOT_FOUND))
        slowed = self._slowed(facts)
        if slowed is not None:
            return slowed
        found = await self._sessions.state.asked(calls.file(self._static_url, self._project_id, name))
        if isinstance(found, IdpRefusal):
            return Outcome(Refuse(Reason.NOT_FOUND))
        # Read by a script and never shown as a page: what a project's screens hold shall not run as one of this site.
        lines = [
            b"Content-Type: " + (b"application/json" if name.endswith(".json") else b"text/plain; charset=utf-8"),
            b"X-Content-Type-Options: nosniff",
            b"Content-Security-Policy: default-src 'none'; sandbox",
            b"Cache-Control: no-store",
        ]
        if found.geo:
            lines.append(b"X-Geo: " + found.geo.encode("ascii"))
        return Outcome(Answer(200, tuple(lines), found.body))

    # --- the methods of the SDK -------------------------------------------------------------------------------------

    async def _pass(self, passage: Passage, facts: RequestFacts, body: Body) -> Outcome:
        members = await self._members(facts, body)
        query = read_query(facts)
        if isinstance(members, Outcome):
            return members
        if isinstance(query, Refuse):
            return Outcome(query)
        if passage.kind in (Kind.PROVE, Kind.SEND):
            slowed = self._desk.too_many(facts, lambda problem: Answer(problem.status, ()))
            if slowed is not None:
                return slowed
        token: str | None = None
        if passage.kind is Kind.OWN or _asks_for_more(members):
            holder = await self._holder(facts)
            if isinstance(holder, Reason):
                return Outcome(Refuse(holder))
            token, _ = await self._sessions.state.newest(*holder)
        params = {name: value for name, value in query.fields.items() if name in passage.query}
        sent = members if passage.method == "POST" else None
        call = calls.method(
            passage.operation,
            passage.path,
            body=sent,
            params=params,
            headers=_passed_on(facts),
            refresh_token=token,
        )
        try:
            said = await self._sessions.state.asked(call)
            if isinstance(said, IdpRefusal):
                return self._refused_method(passage, members, said)
            if said.pair is None:
                return Outcome(_told(said))
            begun = await self._sessions.brought(said.pair)
        except IdentityProviderError as fault:
            return _failed(fault)
        return Outcome(_told(said), self._sessions.state.cookie_lines(begun), subject=begun.identity.subject)

    @staticmethod
    def _refused_method(passage: Passage, members: Mapping[str, Any], refusal: IdpRefusal) -> Outcome:
        """Whether an account exists is told by nothing here: what is sent to nobody is answered like what is sent."""
        if passage.kind is Kind.SEND and refusal.status in _FOR_SOMEBODY_ELSE:
            by_email = passage.path.endswith("/email")
            address = members.get("loginId")
            member = "maskedEmail" if by_email else "maskedPhone"
            return Outcome(as_json(200, {member: masked(address if isinstance(address, str) else "")}))
        if passage.kind is Kind.PROVE:
            refusal = replace(refusal, status=401)
        return _refused(refusal, refusal.code if refusal.code in SHOWN_CODES else "")

    # --- sessions ---------------------------------------------------------------------------------------------------

    async def _refresh(self, facts: RequestFacts, body: Body) -> Outcome:
        return await self._renewed(facts, self._sessions.renewed)

    async def _try_refresh(self, facts: RequestFacts, body: Body) -> Outcome:
        outcome = await self._refresh(facts, body)
        if isinstance(outcome.answer, Refuse) and outcome.answer.status == 401:
            return Outcome(as_json(200, {}))
        return outcome

    async def _select_tenant(self, facts: RequestFacts, body: Body) -> Outcome:
        members = await self._members(facts, body)
        if isinstance(members, Outcome):
            return members
        tenant = members.get("tenant")
        if not isinstance(tenant, str) or not is_text(tenant):
            return Outcome(Refuse(Reason.BAD_REQUEST, detail="The field tenant is needed."))
        return await self._renewed(facts, partial(self._sessions.state.switch_tenant, tenant))

    async def _renewed(self, facts: RequestFacts, renew: Callable[[str, RefreshToken], Any]) -> Outcome:
        holder = await self._holder(facts)
        if isinstance(holder, Reason):
            return Outcome(Refuse(holder))
        renewed: Renewed | Reason = await renew(*holder)
        outcome = await self._desk.replaced(renewed, holder[1])
        if isinstance(outcome.answer, Refuse) or not isinstance(renewed, Renewed):
            return outcome
        told: dict[str, Any] = {
            "sessionExpiration": renewed.identity.expires_at_s,
            "cookieExpiration": renewed.refresh.expires_at_s,
            "cookieMaxAge": max(int(renewed.refresh.expires_at_s - self._desk.clock.now_s()), 1),
            "cookieDomain": "",
            "cookiePath": "/",
            "firstSeen": False,
        }
        if self._bearer(facts):
            told |= {"sessionJwt": renewed.pair.session, "refreshJwt": renewed.pair.refresh}
        return replace(outcome, answer=as_json(200, told))

    async def _sign_out(self, facts: RequestFacts, body: Body, *, everywhere: bool) -> Outcome:
        """Ends the session here whatever Descope says."""
        found = self._credentials(facts)
        if isinstance(found, Reason):
            return Outcome(Refuse(found))
        cleared = cleared_cookies(self._desk.server.cookies)
        try:
            holder = await self._holder(facts)
            if holder is Reason.AMBIGUOUS_CREDENTIALS:
                return Outcome(Refuse(holder))
            await self._sessions.revoke_sessions(found)
            if isinstance(holder, Reason):
                return Outcome(Refuse(holder) if everywhere else as_json(200, {}), cleared)
            # Whoever hangs up half way has still signed out.
            work = self._sessions.signed_out(*holder, everywhere=everywhere)
            await asyncio.shield(self._desk.tasks.spawn(work, "sign out"))
        except IdentityProviderError as fault:
            return replace(_failed(fault), cookies=cleared)
        return Outcome(as_json(200, {}), cleared)

    # --- who asks ---------------------------------------------------------------------------------------------------

    def _bearer(self, facts: RequestFacts) -> str | Reason:
        """The token behind the project's id; "" for none. The SDK sends `Bearer PROJECT` or `Bearer PROJECT:TOKEN`."""
        lines = facts.named.get(b"authorization", ())
        if not lines:
            return ""
        found = _BEARER.fullmatch(lines[0].strip(b" \t")) if len(lines) == 1 else None
        if found is None or found[1].decode("ascii") != self._project_id:
            return Reason.TOKEN_WRONG_ISSUER
        return (found[2] or b"").decode("ascii")

    def _credentials(self, facts: RequestFacts) -> Credentials | Reason:
        """The cookies; what stands behind `Bearer` is no session here."""
        named = {name: values for name, values in facts.named.items() if name != b"authorization"}
        plain = replace(facts, named=named, kept=Kept())
        return finding.find(plain, Auth.SESSION, self._desk.server.cookies)

    async def _holder(self, facts: RequestFacts) -> Holder | Reason:
        """The refresh token that was brought, newest of its chain; a bearer's and a cookie's must be one person's."""
        bearer, found = self._bearer(facts), self._credentials(facts)
        if isinstance(bearer, Reason):
            return bearer
        if isinstance(found, Reason):
            return found
        cookie = await self._sessions.refresh_token(found)
        if not bearer:
            return cookie
        if not is_token(bearer):
            return Reason.TOKEN_MALFORMED
        own = await self._sessions.refresh_token(Credentials(refreshes=(bearer,)))
        if isinstance(own, tuple) and isinstance(cookie, tuple) and own[1].subject != cookie[1].subject:
            return Reason.AMBIGUOUS_CREDENTIALS
        return own

    async def _holder_or_nobody(self, facts: RequestFacts) -> Holder | None:
        """For a flow, which anybody may run: the newest refresh token of whoever is signed in."""
        try:
            holder = await self._holder(facts)
            return None if isinstance(holder, Reason) else await self._sessions.state.newest(*holder)
        except IdentityProviderError:
            return None

    async def _members(self, facts: RequestFacts, body: Body) -> dict[str, Any] | Outcome:
        """The JSON object of a request, or why it is not taken."""
        slowed = self._slowed(facts)
        if slowed is not None:
            return slowed
        bearer = self._bearer(facts)
        if isinstance(bearer, Reason):
            return Outcome(Refuse(bearer))
        raw = await body()
        if isinstance(raw, Reason):
            return Outcome(Refuse(raw))
        try:
            members = json.loads(raw.decode("utf-8") or "{}")
        except (ValueError, RecursionError):
            members = None
        if not isinstance(members, dict) or not _can_be_sent(members):
            return Outcome(Refuse(Reason.BAD_REQUEST, detail="The body must be a JSON object."))
        return members

    def _slowed(self, facts: RequestFacts) -> Outcome | None:
        taken = self._desk.allowances.take_all(
            [(_STEPS, client_key(facts.client))], int(self._desk.clock.mono_s() * NS_PER_S)
        )
        wait_ns = taken[0].wait_ns
        return Outcome(Refuse(Reason.RATE_LIMITED, retry_after_s=whole_seconds(wait_ns))) if wait_ns else None


def _can_be_sent(value: object, levels: int = _DEEPEST) -> bool:
    """Whether JSON can be written of it again. Python reads more than it writes, and a question that cannot be written
    looks like a Descope that fails: it would rest for everybody."""
    match value:
        case str():
            return _HALF_CHARACTER.search(value) is None
        case float():
            return math.isfinite(value)
        case dict():
            return levels > 0 and all(_can_be_sent(part, levels - 1) for part in (*value, *value.values()))
        case list():
            return levels > 0 and all(_can_be_sent(part, levels - 1) for part in value)
        case _:
            return True


def masked(address: str) -> str:
    """What was typed, all but the first letters starred."""
    local, at, domain = address.partition("@")
    name, dot, end = domain.rpartition(".")
    return f"{local[:1]}{'*' * len(local[1:])}{at}{name[:1]}{'*' * len(name[1:])}{dot}{end}"


def _asks_for_more(members: Mapping[str, Any]) -> bool:
    """Whether a sign-in shall add to the one before."""
    options = members.get("loginOptions")
    return isinstance(options, dict) and (options.get("stepup") is True or options.get("mfa") is True)


def _passed_on(facts: RequestFacts) -> dict[str, str]:
    found = {}
    for name in _PASSED_ON:
        value = (facts.one(name) or b"").decode("latin-1").strip()
        if value and value.isascii() and is_text(value):
            found[name.decode("ascii")] = value
    return found


def _told(said: calls.Said) -> Answer:
    lines = (b"X-Descope-Flow-Nonce: " + said.nonce.encode("ascii"),) if said.nonce else ()
    return as_json(200, said.body, *lines)


def _refused(refusal: IdpRefusal, code: str) -> Outcome:
    """In the shape that Descope's clients read."""
    status = refusal.status if refusal.status < 500 else 502  # a 503 would be repeated by them
    answer = as_json(status, {"errorCode": code, "errorDescription": "The request was refused", "errorMessage": ""})
    return Outcome(answer, reason=Reason.SIGN_IN_REFUSED)


def _failed(fault: IdentityProviderError) -> Outcome:
    """Descope rests (429, as it said itself) or cannot be reached (503)."""
    refuse = refused_by(fault)
    busy = isinstance(fault, IdentityProviderBusy)
    code, sentence = ("E130429", "Too many requests") if busy else ("", "Descope cannot be reached")
    body = {"errorCode": code, "errorDescription": sentence, "errorMessage": ""}
    answer = as_json(429 if busy else 503, body, b"Retry-After: %d" % (refuse.retry_after_s or 1))
    return Outcome(answer, reason=refuse.reason)
