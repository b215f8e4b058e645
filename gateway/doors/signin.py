"""The endpoints under `/.auth/`: sign in and out, who am I, renew, another tenant. None of them is ever forwarded.

Every POST passes the cross-site check. Tokens go out in HttpOnly cookies and in nothing else.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, quote

from gateway.clock import Clock
from gateway.core import credentials as finding
from gateway.core.credentials import cleared_cookies
from gateway.core.crosssite import is_cross_site
from gateway.core.errors import IdentityProviderBusy, IdentityProviderError
from gateway.core.facts import client_key
from gateway.core.limits import NS_PER_S, Allowances, whole_seconds
from gateway.core.model import (
    Auth,
    Credentials,
    Identity,
    Limit,
    Per,
    Rate,
    Reason,
    RefreshToken,
    Refuse,
    RequestFacts,
    Route,
    ServerRules,
    Upstream,
)
from gateway.core.redirects import safe_return
from gateway.doors.answers import Answer, as_json, html, is_navigation, style
from gateway.renewals import Renewed
from gateway.sessions import Caller, Sessions
from gateway.tasks import Tasks

PREFIX = ".auth"
BODY_BYTES = 16 * 1024
# `Sessions.caller` judges credentials for a route; these pages take what a route with `auth: session` takes.
_ROUTE = Route(id=PREFIX, path="/.auth/**", upstream=Upstream(name="", authority=""))
# What the sign-in page must not take for stale: the refresh token beside it may be as good as ever.
_MAY_BE_GOOD_LATER = frozenset({Reason.NO_CREDENTIALS, Reason.TOKEN_UNKNOWN_KEY, Reason.TOKEN_NOT_YET_VALID})
_SIGN_INS = Limit("sign-ins of one client", Rate(3 * NS_PER_S, 20), Per.CLIENT)
_WRONG_LOGIN = "The login or the password is wrong, or this account may not sign in this way."

Body = Callable[[], Awaitable[bytes | Reason]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer or a refusal, with the cookies that go out beside either and what to do once they have."""

    answer: Answer | Refuse
    cookies: tuple[bytes, ...] = ()
    written: Callable[[], None] = lambda: None
    subject: str = ""


@dataclass(frozen=True, slots=True)
class _Form:
    """The fields of a posted form or JSON object; texts only."""

    fields: dict[str, str]

    def text(self, name: str) -> str:
        return self.fields.get(name, "")


class SignIn:
    def __init__(self, sessions: Sessions, server: ServerRules, login_url: str, tasks: Tasks, clock: Clock) -> None:
        self._sessions = sessions
        self._tasks = tasks
        self._clock = clock
        self._allowances = Allowances(capacity=20_000)
        self._server = server
        self._login_url = login_url
        self._endpoints: dict[str, dict[str, Callable[[RequestFacts, Body], Awaitable[Outcome]]]] = {
            "login": {"GET": self._login_page, "POST": self._login},
            "me": {"GET": self._me},
            "refresh": {"POST": self._refresh},
            "logout": {"POST": self._logout},
            "logout-all": {"POST": self._logout_all},
            "tenant": {"POST": self._tenant},
            "style.css": {"GET": self._style},
        }

    async def serve(self, facts: RequestFacts, body: Body) -> Outcome:
        """Answer one request for a path under `/.auth/`."""
        methods = self._endpoints.get("/".join(facts.target.segments[1:]))
        if methods is None:
            return Outcome(Refuse(Reason.NOT_FOUND))
        endpoint = methods.get("GET" if facts.method == "HEAD" else facts.method)
        if endpoint is None:
            allow = tuple(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
            return Outcome(Refuse(Reason.METHOD_NOT_ALLOWED, allow=allow))
        if facts.method == "POST" and is_cross_site(facts, None, self._server.public_urls, is_upgrade=False):
            return Outcome(Refuse(Reason.CROSS_SITE))
        try:
            return await endpoint(facts, body)
        except IdentityProviderError as fault:
            return Outcome(refused_by(fault))

    # --- pages ------------------------------------------------------------------------------------------------------

    async def _style(self, facts: RequestFacts, body: Body) -> Outcome:
        lines = (b"Content-Type: text/css; charset=utf-8", b"Cache-Control: no-store")
        return Outcome(Answer(200, lines, style()))

    async def _login_page(self, facts: RequestFacts, body: Body) -> Outcome:
        try:
            query = parse_qs(facts.target.query or "", keep_blank_values=True, max_num_fields=20)
        except ValueError:
            return Outcome(Refuse(Reason.BAD_REQUEST, detail="The query has too many fields."))
        rd = safe_return(query.get("rd", ["/"])[-1], self._server.public_urls)
        stale: tuple[bytes, ...] = ()
        try:
            caller = await self._caller(facts)
        except IdentityProviderError:
            caller = Caller(Reason.NO_CREDENTIALS)  # the form itself will say so, and no cookie is lost meanwhile
        if isinstance(caller.who, Identity):
            cookies, written = await _cookies(caller)
            return Outcome(_goes_to(rd), cookies, written, caller.who.subject)
        if caller.who not in _MAY_BE_GOOD_LATER:
            stale = cleared_cookies(self._server.cookies)
        return Outcome(self._login_form(200, rd), stale)

    def _login_form(self, status: int, rd: str, login_id: str = "", problem: str = "") -> Answer:
        return html(status, "login.html", action="/.auth/login", rd=rd, login_id=login_id, problem=problem)

    async def _login(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await _form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        login_id, password = form.text("login_id") or form.text("loginId"), form.text("password")
        rd = safe_return(form.text("rd"), self._server.public_urls)
        if not login_id or not password:
            detail = "The fields login_id and password are needed."
            return Outcome(Refuse(Reason.BAD_REQUEST, detail=detail))
        (standing,) = self._allowances.take_all(
            [(_SIGN_INS, client_key(facts.client))], int(self._clock.mono_s() * NS_PER_S)
        )
        if standing.wait_ns:
            return Outcome(self._too_many(facts, whole_seconds(standing.wait_ns), rd, login_id))
        try:
            outcome = await self._sessions.signed_in(login_id, password)
        except IdentityProviderError as fault:
            if not _wants_page(facts):
                raise
            refuse = refused_by(fault)
            wait = f"Sign-in is not available just now. Try again in {refuse.retry_after_s} s."
            page = self._login_form(503, rd, login_id, wait)
            retry = b"Retry-After: %d" % (refuse.retry_after_s or 1)
            return Outcome(Answer(page.status, (*page.lines, retry), page.body))
        if isinstance(outcome, Reason):
            if _wants_page(facts):
                return Outcome(self._login_form(401, rd, login_id, _WRONG_LOGIN))
            return Outcome(Refuse(outcome, detail=_WRONG_LOGIN))
        cookies = self._sessions.renewals.cookie_lines(outcome)
        answer = _goes_to(rd) if _wants_page(facts) else as_json(200, _about(outcome.identity))
        return Outcome(answer, cookies, subject=outcome.identity.subject)

    def _too_many(self, facts: RequestFacts, wait_s: int, rd: str, login_id: str) -> Answer | Refuse:
        """Guessing is slowed here, before Descope slows everybody's sign-in."""
        if not _wants_page(facts):
            return Refuse(Reason.RATE_LIMITED, retry_after_s=wait_s)
        page = self._login_form(429, rd, login_id, f"Too many attempts. Try again in {wait_s} s.")
        return Answer(page.status, (*page.lines, b"Retry-After: %d" % wait_s), page.body)

    # --- sessions ---------------------------------------------------------------------------------------------------

    async def _me(self, facts: RequestFacts, body: Body) -> Outcome:
        caller = await self._caller(facts)
        if isinstance(caller.who, Reason):
            return Outcome(Refuse(caller.who, retry_after_s=_wait_s(caller)))
        cookies, written = await _cookies(caller)
        return Outcome(as_json(200, _about(caller.who)), cookies, written, caller.who.subject)

    async def _refresh(self, facts: RequestFacts, body: Body) -> Outcome:
        found = await self._refresh_token(facts)
        if isinstance(found, Reason):
            return Outcome(Refuse(found))
        outcome = await self._sessions.renewed(*found)
        return await self._replaced(outcome, found[1])

    async def _tenant(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await _form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        tenant = form.text("tenant")
        if not tenant:
            return Outcome(Refuse(Reason.BAD_REQUEST, detail="The field tenant is needed."))
        found = await self._refresh_token(facts)
        if isinstance(found, Reason):
            return Outcome(Refuse(found))
        outcome = await self._sessions.with_tenant(tenant, *found)
        replaced = await self._replaced(outcome, found[1])
        if isinstance(outcome, Renewed) and _wants_page(facts):
            rd = safe_return(form.text("rd"), self._server.public_urls)
            return Outcome(_goes_to(rd), replaced.cookies, replaced.written, replaced.subject)
        return replaced

    async def _replaced(self, outcome: Renewed | Reason, token: RefreshToken) -> Outcome:
        if isinstance(outcome, Reason):
            return Outcome(Refuse(outcome))
        if self._sessions.verifier.standing(outcome.refresh) is not None:
            return Outcome(Refuse(Reason.SESSION_REVOKED))  # signed out while this ran
        receipt = self._sessions.renewals.receipt(token)
        cookies = await receipt.settled() or self._sessions.renewals.cookie_lines(outcome)
        return Outcome(as_json(200, _about(outcome.identity)), cookies, receipt.written, outcome.identity.subject)

    async def _logout(self, facts: RequestFacts, body: Body) -> Outcome:
        return await self._sign_out(facts, everywhere=False)

    async def _logout_all(self, facts: RequestFacts, body: Body) -> Outcome:
        return await self._sign_out(facts, everywhere=True)

    async def _sign_out(self, facts: RequestFacts, *, everywhere: bool) -> Outcome:
        """Ends the session here whatever Descope says; the cookies go in every case but a contradiction."""
        found = self._credentials(facts)
        if isinstance(found, Reason):
            return Outcome(Refuse(found))
        cleared = cleared_cookies(self._server.cookies)
        fault: IdentityProviderError | None = None
        try:
            await self._sessions.revoke_sessions(found)
            refresh = await self._sessions.refresh_token(found)
            if isinstance(refresh, tuple):
                # Whoever hangs up half way has still signed out.
                work = self._sessions.signed_out(*refresh, everywhere=everywhere)
                await asyncio.shield(self._tasks.spawn(work, "sign out"))
            elif everywhere:
                return Outcome(Refuse(refresh), cleared)
        except IdentityProviderError as err:
            fault = err
        if fault is not None:
            detail = "Signed out here, but Descope could not be told."
            refuse = refused_by(fault)
            return Outcome(Refuse(refuse.reason, retry_after_s=refuse.retry_after_s, detail=detail), cleared)
        if _wants_page(facts):
            return Outcome(html(200, "signed_out.html", login_url=self._login_url), cleared)
        return Outcome(Answer(204, (b"Cache-Control: no-store",)), cleared)

    # --- what they share --------------------------------------------------------------------------------------------

    def _credentials(self, facts: RequestFacts) -> Credentials | Reason:
        return finding.find(facts, Auth.SESSION, self._server.cookies)

    async def _caller(self, facts: RequestFacts) -> Caller:
        found = self._credentials(facts)
        return Caller(found) if isinstance(found, Reason) else await self._sessions.caller(_ROUTE, found, facts.client)

    async def _refresh_token(self, facts: RequestFacts) -> tuple[str, RefreshToken] | Reason:
        found = self._credentials(facts)
        return found if isinstance(found, Reason) else await self._sessions.refresh_token(found)


def refused_by(fault: IdentityProviderError) -> Refuse:
    """The refusal that a fault of Descope's becomes."""
    busy = isinstance(fault, IdentityProviderBusy)
    reason = Reason.IDENTITY_PROVIDER_BUSY if busy else Reason.IDENTITY_PROVIDER_UNAVAILABLE
    return Refuse(reason, retry_after_s=max(whole_seconds(int((fault.retry_after_s or 1.0) * NS_PER_S)), 1))


def _about(identity: Identity) -> dict[str, object]:
    """A whitelist of claims: what a page needs to show who is signed in."""
    tenants = identity.tenants or {}
    return {
        "subject": identity.subject,
        "method": identity.kind.value,
        "email": identity.claims.get("email") if isinstance(identity.claims.get("email"), str) else None,
        "name": identity.claims.get("name") if isinstance(identity.claims.get("name"), str) else None,
        "roles": list(identity.project.roles),
        "permissions": list(identity.project.permissions),
        "tenant": identity.selected_tenant,
        "tenants": {
            name: {"roles": list(grants.roles), "permissions": list(grants.permissions)}
            for name, grants in tenants.items()
        },
        "expires_at": identity.expires_at_s,
    }


async def _cookies(caller: Caller) -> tuple[tuple[bytes, ...], Callable[[], None]]:
    if caller.set_cookies is None:
        return (), lambda: None
    return await caller.set_cookies.settled(), caller.set_cookies.written


def _wait_s(caller: Caller) -> int | None:
    return whole_seconds(caller.wait_ns) if caller.wait_ns else None


def _goes_to(place: str) -> Answer:
    location = quote(place.encode("latin-1"), safe="/?%:@!$&'()*+,;=-._~|[]{}^`\"\\").encode("ascii")
    return Answer(303, (b"Location: " + location, b"Cache-Control: no-store"))


def _wants_page(facts: RequestFacts) -> bool:
    """A form posted by a browser, as opposed to a script's request."""
    kind = (facts.one(b"content-type") or b"").partition(b";")[0].strip().lower()
    mode = facts.one(b"sec-fetch-mode")
    if kind == b"application/json":
        return False
    return is_navigation(facts) or (mode or b"").lower() == b"navigate" or b"text/html" in (facts.one(b"accept") or b"")


async def _form(facts: RequestFacts, body: Body) -> _Form | Refuse:
    raw = await body()
    if isinstance(raw, Reason):
        return Refuse(raw)
    kind = (facts.one(b"content-type") or b"").partition(b";")[0].strip().lower()
    try:
        text = raw.decode("utf-8")
        if kind == b"application/json":
            document = json.loads(text)
            fields = {k: v for k, v in document.items() if isinstance(v, str)}
        elif kind == b"application/x-www-form-urlencoded":
            fields = {k: v[-1] for k, v in parse_qs(text, keep_blank_values=True, max_num_fields=50).items()}
        else:
            detail = "Send application/x-www-form-urlencoded or application/json."
            return Refuse(Reason.BAD_REQUEST, detail=detail)
    except (ValueError, AttributeError, RecursionError):
        return Refuse(Reason.BAD_REQUEST, detail="The body is not what its Content-Type says.")
    return _Form(fields)
