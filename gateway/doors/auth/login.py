"""The sign-in page: the first method's form, and the way to all others. Whoever is signed in goes on."""

from dataclasses import dataclass

from gateway.core.credentials import cleared_cookies
from gateway.core.errors import IdentityProviderError
from gateway.core.model import Identity, Reason, Refuse, RequestFacts
from gateway.doors.auth import turns
from gateway.doors.auth.desk import FINE, Desk, Problem, cookies_of
from gateway.doors.auth.outcome import Body, Endpoints, Outcome, goes_to, read_query
from gateway.doors.auth.turns import TURNS, Seen, Way
from gateway.sessions import Caller

# What the sign-in page must not take for stale: the refresh token beside it may be as good as ever.
_MAY_BE_GOOD_LATER = frozenset({Reason.NO_CREDENTIALS, Reason.TOKEN_UNKNOWN_KEY, Reason.TOKEN_NOT_YET_VALID})


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody to be shown a way to sign in.

    wanted: where the person is going. rd: where to go from sign-in, which is by the sign-in page once more. problem:
    why the last sign-in led here again. cookies: the probe, and what takes useless cookies away.
    """

    wanted: str
    rd: str
    problem: Problem
    cookies: tuple[bytes, ...]


class LoginPage:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.endpoints: Endpoints = {"login": {"GET": self.page}}

    async def page(self, facts: RequestFacts, body: Body) -> Outcome:
        met = await self.met(facts)
        if isinstance(met, Outcome):
            return met
        return Outcome(self._desk.page("login.html", met.problem, rd=met.rd), met.cookies)

    async def met(self, facts: RequestFacts) -> Stranger | Outcome:
        """Whoever is signed in already goes on at once; a sign-in that goes round in a circle ends."""
        query = read_query(facts)
        if isinstance(query, Refuse):
            return Outcome(query)
        way = turns.way_of(query, self._desk.back)
        try:
            caller = await self._desk.caller(facts)
        except IdentityProviderError:
            # The form itself will say so, and no cookie is lost meanwhile.
            return self._stranger(facts, Way(way.rd), Reason.NO_CREDENTIALS)
        if isinstance(caller.who, Identity):
            return await self._go_on(facts, way.rd, caller, caller.who.subject)
        if way.returned and self._is_out_of_sight(way.rd):
            return await self._go_on(facts, way.rd, caller, "")
        if caller.who is Reason.NO_CREDENTIALS and self._are_kept_back(facts):
            # From another site, browsers keep back what is SameSite=Strict; what this page itself opens gets it.
            place = turns.coming_by(Way(way.rd, way.returned - 1))
            return Outcome(self._desk.page("leaving.html", place=place))
        return self._stranger(facts, way, caller.who)

    async def _go_on(self, facts: RequestFacts, rd: str, caller: Caller, subject: str) -> Outcome:
        """On to where the person was going, unless that sends them back again and again."""
        rules, now_s = self._desk.server.cookies, self._desk.clock.now_s()
        sent_on = (turns.read(facts, rd, now_s, rules) or Seen()).sent_on + 1
        if sent_on >= TURNS:
            refuse = Refuse(Reason.SESSION_NOT_KEPT, detail=turns.why_sent_back(rules, rd))
            return Outcome(refuse, (turns.ended(rules),), subject=subject)
        cookies, written = await cookies_of(caller)
        return Outcome(goes_to(rd), (*cookies, turns.cookie(rd, Seen(sent_on), now_s, rules)), written, subject)

    def _stranger(self, facts: RequestFacts, way: Way, reason: Reason) -> Stranger | Outcome:
        server, now_s = self._desk.server, self._desk.clock.now_s()
        stale = () if reason in _MAY_BE_GOOD_LATER else cleared_cookies(server.cookies)
        problem = FINE
        if way.returned:
            seen = turns.read(facts, way.rd, now_s, server.cookies)
            why = turns.why(facts, server, way.rd, reason, seen)
            if way.returned >= TURNS - 1:
                refuse = Refuse(Reason.SESSION_NOT_KEPT, detail=why)
                return Outcome(refuse, (*stale, turns.ended(server.cookies)))
            problem = Problem(400, f"You have just signed in, and no session came back. {why}")
        cookies = (*stale, turns.cookie(way.rd, Seen(), now_s, server.cookies))
        return Stranger(way.rd, turns.coming_by(way), problem, cookies)

    def _is_out_of_sight(self, rd: str) -> bool:
        """Whether the page that is wanted gets the session cookies, and this one never does."""
        rules = self._desk.server.cookies
        return not turns.is_seen_here(rules) and turns.reaches(rules, rd)

    def _are_kept_back(self, facts: RequestFacts) -> bool:
        came_from = (facts.one(b"sec-fetch-site") or b"").strip().lower()
        return self._desk.server.cookies.same_site == "strict" and came_from in (b"cross-site", b"same-site")
