"""OAuth and SSO: the browser leaves for a provider, and comes back with a code that only this browser can use (T-10).

Starts are GETs: they change nothing here but a cookie of their own, and a form's POST may not be redirected to another
site (`form-action` in the page's policy).
"""

from collections.abc import Callable, Mapping

from gateway.core.crosssite import is_cross_site
from gateway.core.model import Identity, Reason, Refuse, RequestFacts
from gateway.core.patterns import canonical_host
from gateway.doors.answers import Answer, as_json, is_navigation
from gateway.doors.auth import journeys
from gateway.doors.auth.desk import FINE, Desk, Problem, bad_request
from gateway.doors.auth.journeys import Journey
from gateway.doors.auth.outcome import Body, Endpoints, Form, Outcome, goes_to, read_form, read_query, wants_page
from gateway.idp_call import IdpRefusal, SessionPair, SignInCall, is_text
from gateway.idp_methods import redirects as calls

_STATE = "This sign-in was not started in this browser, was used already, or has taken too long. Start again."
_CANCELLED = "The sign-in was not completed there. Try again, or sign in another way."
_NOT_EXCHANGED = "The sign-in came back with nothing that can be used. Start again."
_NO_PROVIDER = "This way to sign in is not available just now."
_NO_SSO = "There is no single sign-on for this address. Sign in another way."


class _Callback:
    """The way back, which both share. exchange: what Descope is asked for the code."""

    def __init__(self, desk: Desk, purpose: str, exchange: Callable[[str], SignInCall[SessionPair]]) -> None:
        self._desk = desk
        self._purpose = purpose
        self._exchange = exchange
        self._secure = desk.server.cookies.secure

    async def leave(
        self, facts: RequestFacts, form: Form, start: Callable[[str], SignInCall[str]], wrong: str
    ) -> Outcome:
        """Begin a journey, and send the browser where Descope says; from a form by way of a page."""
        desk = self._desk
        if not is_navigation(facts) and is_cross_site(facts, None, desk.server.public_urls, is_upgrade=False):
            return Outcome(Refuse(Reason.CROSS_SITE))  # a picture on somebody's page, which would use up attempts
        again = self.again(form.text("rd") or "/")
        slowed = desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        rd = desk.back(form.text("rd") or "/")
        journey, cookies = journeys.begin(facts, self._purpose, rd, desk.clock.now_s(), secure=self._secure)
        back = f"{desk.public_url(facts)}/.auth/{self._purpose}/callback?journey={journey.id}"
        place = await desk.ask(facts, start(back), again, wrong)
        if isinstance(place, Outcome):
            return place
        if not wants_page(facts):
            return Outcome(as_json(200, {"url": place}), cookies)
        if facts.method == "POST":
            return Outcome(desk.page("leaving.html", place=place), cookies)
        return Outcome(Answer(303, (b"Location: " + place.encode("ascii"), b"Cache-Control: no-store")), cookies)

    def again(self, rd: str) -> Callable[[Problem], Answer]:
        def page(problem: Problem) -> Answer:
            return self._desk.page("login.html", problem, rd=self._desk.back(rd))

        return page

    async def arrive(self, facts: RequestFacts, body: Body) -> Outcome:
        """The browser is back: it goes on if it is the one that left, and anyhow if somebody is signed in."""
        query = read_query(facts)
        if isinstance(query, Refuse):
            return Outcome(query)
        desk = self._desk
        journey = journeys.find(facts, query.text("journey"), self._purpose, desk.clock.now_s(), secure=self._secure)
        if journey is None:
            return await self._late(facts, _STATE, 400, None)
        ends = (journeys.end(journey, secure=self._secure),)
        again = self.again(journey.rd)
        code = query.text("code")
        if not is_text(code):
            return await self._late(facts, _CANCELLED, 401, journey)
        begun = await desk.begin_or_refusal(facts, self._exchange(code), again)
        if isinstance(begun, Outcome):
            return begun
        if isinstance(begun, IdpRefusal):
            return await self._late(facts, _NOT_EXCHANGED, 401, journey)
        return desk.arrived(facts, begun, journey.rd, cookies=ends)

    async def _late(self, facts: RequestFacts, sentence: str, status: int, journey: Journey | None) -> Outcome:
        """Nothing can be done with this return: whoever has a session goes on with that, all others start again."""
        desk = self._desk
        rd = journey.rd if journey is not None else "/"
        ends = (journeys.end(journey, secure=self._secure),) if journey is not None else ()
        caller = await desk.caller(facts)
        if isinstance(caller.who, Identity) and wants_page(facts):
            return Outcome(goes_to(desk.back(rd)), ends, subject=caller.who.subject)
        if not wants_page(facts):
            reason = Reason.LOGIN_STATE_INVALID if status == 400 else Reason.SIGN_IN_REFUSED
            return Outcome(Refuse(reason, detail=sentence), ends)
        return Outcome(self.again(rd)(Problem(status, sentence)), ends)


class OauthProviders:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._callback = _Callback(desk, "oauth", calls.oauth_exchange)
        self.endpoints: Endpoints = {
            "oauth/start": {"GET": self._start},
            "oauth/callback": {"GET": self._callback.arrive},
        }

    async def _start(self, facts: RequestFacts, body: Body) -> Outcome:
        query = read_query(facts)
        if isinstance(query, Refuse):
            return Outcome(query)
        provider = query.text("provider")
        if provider not in self._desk.login.oauth_providers:
            again = self._callback.again(query.text("rd") or "/")
            return bad_request(facts, again, "The provider is none of those offered.")
        return await self._callback.leave(facts, query, lambda back: calls.oauth_start(provider, back), _NO_PROVIDER)


class SingleSignOn:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._callback = _Callback(desk, "sso", calls.sso_exchange)
        self.endpoints: Endpoints = {
            "sso/start": {"GET": self._start, "POST": self._start},
            "sso/callback": {"GET": self._callback.arrive},
        }

    async def _start(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body) if facts.method == "POST" else read_query(facts)
        if isinstance(form, Refuse):
            return Outcome(form)
        desk, email, tenant = self._desk, form.text("email").strip(), form.text("tenant")
        rd = form.text("rd") or "/"

        def again(problem: Problem) -> Answer:
            return desk.page("sso_start.html", problem, rd=desk.back(rd), login_id=email)

        if not email and not tenant:
            return Outcome(again(FINE)) if wants_page(facts) else bad_request(facts, again, "Give email or tenant.")
        if not is_text(email or tenant):
            return bad_request(facts, again, "Write the e-mail address that you use at work.")
        wanted = tenant or tenant_for(email, desk.login.sso_domains)
        if not wanted or (tenant and not self._is_offered(tenant)):
            return bad_request(facts, again, _NO_SSO)
        return await self._callback.leave(facts, form, lambda back: calls.sso_start(wanted, back, email), _NO_SSO)

    def _is_offered(self, tenant: str) -> bool:
        """The tenants that the route file names, by a button or a domain; any where it names none."""
        named = {*self._desk.login.sso_tenants, *self._desk.login.sso_domains.values()}
        return not named or tenant in named


def tenant_for(email: str, domains: Mapping[str, str]) -> str:
    """The tenant of an e-mail address's domain; the address's domain itself where the route file names no domains.

    Descope finds a tenant by its domain, too.
    """
    host = email.rpartition("@")[2]
    try:
        domain = canonical_host(host) or ""
    except ValueError:
        return ""
    return domains.get(domain, "") if domains else domain
