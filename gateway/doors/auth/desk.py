"""What every sign-in method shares: pages with the site's look, questions to Descope, sessions that begin.

A method's module asks Descope through `ask` and `begin` and gets either what it asked for or the whole outcome to
answer with: the page that the form came from with what was typed (never a password or a code) and what is wrong, or for
programs a problem document. Nothing here tells whether an account exists (T-19).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.clock import Clock
from gateway.core import credentials as finding
from gateway.core.errors import IdentityProviderBusy, IdentityProviderError
from gateway.core.facts import client_key
from gateway.core.limits import NS_PER_S, AllowanceTable, whole_seconds
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
from gateway.core.signin import LoginRules
from gateway.doors.answers import Answer, as_json, html, login_location
from gateway.doors.auth import turns
from gateway.doors.auth.outcome import Outcome, goes_to, is_from_browser, refused_by, wants_page
from gateway.doors.look import Look
from gateway.idp_call import IdpRefusal, SessionPair, SignInCall
from gateway.renewals import Renewed
from gateway.sessions import Caller, Sessions
from gateway.tasks import Tasks

T = TypeVar("T")

PREFIX = ".auth"
# `Sessions.caller` judges credentials for a route; these pages take what a route with `auth: session` takes.
ROUTE = Route(id=PREFIX, path="/.auth/**", upstream=Upstream(name="", authority=""))
_ATTEMPTS = Limit("sign-ins of one client", Rate(3 * NS_PER_S, 20), Per.CLIENT)
# Codes of Descope's that say nothing about whether an account exists, to who has not proved to be its owner.
SHOWN_CODES = frozenset(
    {"E011001", "E011002", "E011003", "E011004", "E061102", "E062503", "E062909"}
    | {"E102004", "E103202", "E103205", "E108201"}
)

_TOO_LARGE = (
    "The session is too large for cookies. Whoever runs this service can make it smaller: fewer roles, permissions "
    "and claims in the token."
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with what was sent: for the page that is shown again. wait_s: how long to wait, if that helps."""

    status: int = 200
    sentence: str = ""
    wait_s: int | None = None


FINE = Problem()
Again = Callable[[Problem], Answer]
"""Shows the page again that the form came from."""


@dataclass(frozen=True, slots=True)
class Here:
    """Somebody signed in. refresh_raw, refresh: the newest refresh token, raw and verified."""

    caller: Caller
    refresh_raw: str = field(repr=False)
    refresh: RefreshToken

    @property
    def subject(self) -> str:
        return self.refresh.subject

    async def cookies(self) -> tuple[tuple[bytes, ...], Callable[[], None]]:
        """What a renewal on the way sets, and what to call once it has been written."""
        return await cookies_of(self.caller)


async def cookies_of(caller: Caller) -> tuple[tuple[bytes, ...], Callable[[], None]]:
    """What a renewal sets, and what to call once it has been written."""
    if caller.set_cookies is None:
        return (), lambda: None
    return await caller.set_cookies.settled(), caller.set_cookies.written


@dataclass(frozen=True, slots=True)
class Desk:
    sessions: Sessions
    login: LoginRules
    server: ServerRules
    tasks: Tasks
    clock: Clock
    allowances: AllowanceTable
    look: Look

    # --- pages ------------------------------------------------------------------------------------------------------

    def page(
        self,
        template: str,
        problem: Problem = FINE,
        *lines: bytes,
        script: bool = False,
        picture: bool = False,
        csp: bytes = b"",
        **values: object,
    ) -> Answer:
        """A page of ours; `problem` gives its status, and its sentence stands above the form.

        Every template is given `rd` and `login_id`, empty where `values` has none. script, picture, csp: see `html`.
        """
        if problem.wait_s is not None:
            lines = (*lines, b"Retry-After: %d" % problem.wait_s)
        given = {"rd": "/", "login_id": "", "problem": problem, "login": self.login} | values
        return html(
            problem.status,
            template,
            *lines,
            look=self.look,
            script=script,
            picture=picture,
            csp=csp,
            wait_s=problem.wait_s,
            **given,
        )

    def back(self, wanted: str) -> str:
        """Where to go after sign-in: a path on this site, whatever was asked for."""
        return safe_return(wanted, self.server.public_urls)

    def public_url(self, facts: RequestFacts) -> str:
        """The public origin that this request came to; never a header's unless the route file names it."""
        for url in self.server.public_urls:
            if url.partition("://")[2] == facts.authority.lower():
                return url
        return self.server.public_urls[0] if self.server.public_urls else ""

    # --- who is here ------------------------------------------------------------------------------------------------

    def credentials(self, facts: RequestFacts) -> Credentials | Reason:
        return finding.find(facts, Auth.SESSION, self.server.cookies)

    async def caller(self, facts: RequestFacts) -> Caller:
        """Who asks, renewed where that is due; raises IdentityProviderError where only Descope could tell."""
        found = self.credentials(facts)
        return Caller(found) if isinstance(found, Reason) else await self.sessions.caller(ROUTE, found, facts.client)

    async def refresh_token(self, facts: RequestFacts) -> tuple[str, RefreshToken] | Reason:
        found = self.credentials(facts)
        return found if isinstance(found, Reason) else await self.sessions.refresh_token(found)

    async def signed_in(self, facts: RequestFacts) -> "Here | Outcome":
        """Whoever is signed in, with the newest refresh token; else the way to sign in, or a refusal for programs."""
        caller = await self.caller(facts)
        if isinstance(caller.who, Reason):
            return self._to_sign_in(facts, caller.who)
        found = await self.refresh_token(facts)
        if isinstance(found, Reason):
            return self._to_sign_in(facts, found)
        if found[1].subject != caller.who.subject:
            return Outcome(Refuse(Reason.AMBIGUOUS_CREDENTIALS))  # a planted cookie must not choose whose account it is
        raw, token = await self.sessions.state.newest(*found)
        return Here(caller, raw, token)

    def _to_sign_in(self, facts: RequestFacts, reason: Reason) -> Outcome:
        if not wants_page(facts) or reason.status != 401:
            return Outcome(Refuse(reason))
        place = login_location(self.login.url, self.public_url(facts), facts)
        return Outcome(Answer(303, (b"Location: " + place.encode("ascii"), b"Cache-Control: no-store")))

    # --- asking Descope ---------------------------------------------------------------------------------------------

    def too_many(self, facts: RequestFacts, again: Again) -> Outcome | None:
        """Guessing is slowed here, before Descope slows everybody's sign-in; None while the client may go on."""
        key = client_key(facts.client)
        (standing,) = self.allowances.take_all([(_ATTEMPTS, key)], int(self.clock.mono_s() * NS_PER_S))
        if not standing.wait_ns:
            return None
        wait_s = whole_seconds(standing.wait_ns)
        if not wants_page(facts):
            return Outcome(Refuse(Reason.RATE_LIMITED, retry_after_s=wait_s))
        return Outcome(again(Problem(429, "Too many attempts.", wait_s)), reason=Reason.RATE_LIMITED)

    async def ask(self, facts: RequestFacts, call: SignInCall[T], again: Again, wrong: str) -> T | Outcome:
        """What Descope answers, else the outcome that says why not. wrong: the sentence for what it refuses."""
        answer = await self.ask_or_refusal(facts, call, again)
        return self.refused(facts, answer, again, wrong) if isinstance(answer, IdpRefusal) else answer

    async def ask_or_refusal(self, facts: RequestFacts, call: SignInCall[T], again: Again) -> T | IdpRefusal | Outcome:
        """As `ask`, for who tells one refusal from another."""
        try:
            return await self.sessions.state.asked(call)
        except IdentityProviderError as fault:
            return self.failed(facts, fault, again)

    async def begin(
        self, facts: RequestFacts, call: SignInCall[SessionPair], again: Again, wrong: str, rd: str = "/"
    ) -> Outcome:
        """A session begins if Descope agrees, and the browser goes on to `rd`."""
        begun = await self.begin_or_refusal(facts, call, again)
        if isinstance(begun, IdpRefusal):
            return self.refused(facts, begun, again, wrong)
        return begun if isinstance(begun, Outcome) else self.arrived(facts, begun, rd)

    async def begin_or_refusal(
        self, facts: RequestFacts, call: SignInCall[SessionPair], again: Again
    ) -> Renewed | IdpRefusal | Outcome:
        """As `begin`, for who tells one refusal from another, or has cookies of its own to send."""
        try:
            return await self.sessions.begun(call)
        except IdentityProviderError as fault:
            return self.failed(facts, fault, again)

    def refused(self, facts: RequestFacts, refusal: IdpRefusal, again: Again, wrong: str) -> Outcome:
        if wants_page(facts):
            return Outcome(again(Problem(401, wrong)), reason=Reason.SIGN_IN_REFUSED)
        code = refusal.code if refusal.code in SHOWN_CODES else ""
        return Outcome(Refuse(Reason.SIGN_IN_REFUSED, detail=wrong, idp_code=code))

    def failed(self, facts: RequestFacts, fault: IdentityProviderError, again: Again) -> Outcome:
        """Descope rests or cannot be reached; what was typed stays."""
        refuse = refused_by(fault)
        if not wants_page(facts):
            return Outcome(refuse)
        busy = isinstance(fault, IdentityProviderBusy)
        sentence = "Sign-in is busy just now." if busy else "Sign-in cannot be reached just now."
        return Outcome(again(Problem(refuse.status, sentence, refuse.retry_after_s)), reason=refuse.reason)

    async def replaced(self, outcome: Renewed | Reason, token: RefreshToken) -> Outcome:
        """The answer to whoever asked for the session to be renewed, and got it or not."""
        if isinstance(outcome, Reason):
            return Outcome(Refuse(outcome))
        if self.sessions.verifier.standing(outcome.refresh) is not None:
            return Outcome(Refuse(Reason.SESSION_REVOKED))  # signed out while this ran
        receipt = self.sessions.state.receipt(token)
        cookies = await receipt.settled() or self.sessions.state.cookie_lines(outcome)
        about = about_identity(outcome.identity)
        return Outcome(as_json(200, about), cookies, receipt.written, outcome.identity.subject)

    # --- a session begins -------------------------------------------------------------------------------------------

    def arrived(
        self, facts: RequestFacts, begun: Renewed, rd: str = "/", *, cookies: tuple[bytes, ...] = ()
    ) -> Outcome:
        """The answer to whoever has just signed in; the new cookies take the place of those of any older session."""
        subject = begun.identity.subject
        about = about_identity(begun.identity)
        as_page = wants_page(facts)
        if not as_page and self.login.deliver_body and not is_from_browser(facts):
            about |= {"session_token": begun.pair.session, "refresh_token": begun.pair.refresh}
            return Outcome(as_json(200, about), cookies, subject=subject)
        try:
            lines = (*self.sessions.state.cookie_lines(begun), *cookies)
        except ValueError:
            return Outcome(Refuse(Reason.SESSION_NOT_KEPT, detail=_TOO_LARGE), cookies)
        if not as_page:
            return Outcome(as_json(200, about), lines, subject=subject)
        if turns.is_coming_by(rd):
            seen = turns.Seen(size=sum(map(len, lines)))
            lines = (*lines, turns.cookie(rd, seen, self.clock.now_s(), self.server.cookies))
        return Outcome(goes_to(self.back(rd)), lines, subject=subject)


def bad_request(facts: RequestFacts, again: Again, detail: str) -> Outcome:
    """Something is missing or cannot be right, whoever asks."""
    if wants_page(facts):
        return Outcome(again(Problem(400, detail)), reason=Reason.BAD_REQUEST)
    return Outcome(Refuse(Reason.BAD_REQUEST, detail=detail))


def about_identity(identity: Identity) -> dict[str, object]:
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
