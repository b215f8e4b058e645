"""OAuth and SSO: the browser leaves for a provider, and comes back with a code that only this browser can use (T-10).

Starts are GETs: they change nothing here but a cookie of their own, and a form's POST may not be redirected to another
site (`form-action` in the page's policy). The way back is a GET because providers know no other; it counts for the
journey's browser, once: what has been decided about a journey is remembered for as long as its cookie could be copied.
While Descope cannot be reached nothing is decided, and the same address opened again is the retry.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from cachetools import TTLCache

from gateway.core.crosssite import is_cross_site
from gateway.core.model import Identity, Reason, Refuse, RequestFacts
from gateway.core.patterns import canonical_host
from gateway.doors.answers import Answer, as_json, is_navigation
from gateway.doors.auth import journeys
from gateway.doors.auth.desk import FINE, Desk, Problem, bad_request, cookies_of
from gateway.doors.auth.journeys import Journey
from gateway.doors.auth.outcome import (
    Body,
    Endpoints,
    Form,
    Outcome,
    goes_to,
    location,
    read_form,
    read_query,
    wants_page,
)
from gateway.idp_call import IdpRefusal, SessionPair, SignInCall, is_text
from gateway.idp_methods import redirects as calls

_STATE = "This sign-in was not started in this browser, was used already, or has taken too long. Start again."
_CANCELLED = "The sign-in was not completed there. Try again, or sign in another way."
_NOT_EXCHANGED = "The sign-in came back with nothing that can be used. Start again."
_NO_PROVIDER = "This way to sign in is not available just now."
_NO_SSO = "There is no single sign-on for this address. Sign in another way."
_CODE = re.compile(r"[!-~]{1,4096}")
_REMEMBERED = 20_000
# GET serves HEAD, and whoever only looks neither begins a sign-in nor ends one.
_ONLY_LOOKING = Refuse(Reason.METHOD_NOT_ALLOWED, allow=("GET",))


class _Callback:
    """The way back, which both share. exchange: what Descope is asked for the code."""

    def __init__(self, desk: Desk, purpose: str, exchange: Callable[[str], SignInCall[SessionPair]]) -> None:
        self._desk = desk
        self._purpose = purpose
        self._exchange = exchange
        self._secure = desk.server.cookies.secure
        # Journeys that have been decided: where each was going, and who arrived; "" for nobody.
        self._spent: TTLCache[str, tuple[str, str]] = TTLCache(_REMEMBERED, journeys.LIFE_S + 5, desk.clock.mono_s)

    async def leave(
        self, facts: RequestFacts, form: Form, start: Callable[[str], SignInCall[str]], wrong: str
    ) -> Outcome:
        """Begin a journey, and send the browser where Descope says; from a form by way of a page."""
        desk = self._desk
        if facts.method == "HEAD":
            return Outcome(_ONLY_LOOKING)
        if not _is_visit(facts) and is_cross_site(facts, None, desk.server.public_urls, is_upgrade=False):
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
        if facts.method == "HEAD":
            return Outcome(_ONLY_LOOKING)
        desk, journey_id, code = self._desk, query.text("journey"), query.text("code")
        journey = journeys.find(facts, journey_id, self._purpose, desk.clock.now_s(), secure=self._secure)
        if journey is None or journey.id in self._spent:
            return await self._late(facts, journey_id, _STATE, Reason.LOGIN_STATE_INVALID)
        if not _CODE.fullmatch(code):
            self._spent[journey.id] = (journey.rd, "")
            return await self._late(facts, journey_id, _CANCELLED, Reason.SIGN_IN_REFUSED)
        again = self.again(journey.rd)
        slowed = desk.too_many(facts, again)
        if slowed is not None:
            return slowed
        # Before Descope is asked: of several that come at once with one journey, one is asked for.
        self._spent[journey.id] = (journey.rd, "")
        begun = await desk.begin_or_refusal(facts, self._exchange(code), again)
        if isinstance(begun, Outcome):
            self._spent.pop(journey.id, None)
            return begun
        if isinstance(begun, IdpRefusal):
            return await self._late(facts, journey_id, _NOT_EXCHANGED, Reason.SIGN_IN_REFUSED)
        self._spent[journey.id] = (journey.rd, begun.identity.subject)
        return self._on(desk.arrived(facts, begun, journey.rd, cookies=(self._end(journey),)), journey.rd)

    def _end(self, journey: Journey) -> bytes:
        return journeys.end(journey, secure=self._secure)

    def _on(self, arrived: Outcome, rd: str) -> Outcome:
        """Browsers keep strict cookies back while they follow redirects from another site; a page of ours ends that."""
        if self._desk.server.cookies.same_site != "strict" or arrived.answer.status != 303:
            return arrived
        place = location(self._desk.back(rd)).decode("ascii")
        return replace(arrived, answer=self._desk.page("leaving.html", place=place))

    async def _late(self, facts: RequestFacts, journey_id: str, sentence: str, reason: Reason) -> Outcome:
        """Nothing can be done with this return: whoever has a session goes on with that, all others start again."""
        desk = self._desk
        journey = journeys.late(facts, journey_id, self._purpose, secure=self._secure)
        ends = (self._end(journey),) if journey is not None else ()
        caller = await desk.caller(facts)
        rd, whose = self._spent.get(journey_id, ("/", ""))
        if journey is not None:
            rd = journey.rd
        elif not isinstance(caller.who, Identity) or caller.who.subject != whose:
            rd = "/"  # somebody else's way is nobody's business
        if isinstance(caller.who, Identity) and wants_page(facts):
            cookies, written = await cookies_of(caller)
            return Outcome(goes_to(desk.back(rd)), (*cookies, *ends), written, caller.who.subject)
        if not wants_page(facts):
            return Outcome(Refuse(reason, detail=sentence), ends)
        return Outcome(self.again(rd)(Problem(reason.status, sentence)), ends, reason=reason)


def _is_visit(facts: RequestFacts) -> bool:
    """Whether a whole page goes there, which other sites may cause openly, as opposed to a frame or a picture."""
    return is_navigation(facts) and (facts.one(b"sec-fetch-dest") or b"document").strip().lower() == b"document"


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
        if not wanted or not self._is_offered(wanted):
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
