"""`/.auth/renew`: a browser whose session has run out comes by, gets a new one, and goes back to where it was.

For proxies that ask at `/.auth/verify` and cannot hand renewed cookies on. Another site can send a browser here, so the
way leads over a page of ours first where that has happened. It cannot go round in circles: it leads to no page of this
kind, to sign in where there is nothing to renew, and a browser that comes again and again with the same old token,
because it does not keep cookies, has to wait.
"""

from gateway.core.limits import NS_PER_S, whole_seconds
from gateway.core.model import Limit, Per, Rate, Reason, Refuse, RequestFacts
from gateway.core.redirects import safe_return
from gateway.core.tokens import digest_of
from gateway.doors.answers import RENEW_URL, Answer, is_navigation, place_with_return
from gateway.doors.auth.desk import Desk, cookies_of
from gateway.doors.auth.outcome import Body, Endpoints, Outcome, goes_to, read_query

_OURS = (b"same-origin", b"none")
# Tabs that a browser opens together all come with the same old token.
_ROUNDS = Limit("renewals of one token", Rate(5 * NS_PER_S, 8), Per.CLIENT)


class RenewPage:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.endpoints: Endpoints = {"renew": {"GET": self._renew}}

    async def _renew(self, facts: RequestFacts, body: Body) -> Outcome:
        if not is_navigation(facts):
            detail = "Only a browser that goes here is renewed here; programs post to /.auth/refresh."
            return Outcome(Refuse(Reason.CROSS_SITE, detail=detail))
        query = read_query(facts)
        if isinstance(query, Refuse):
            return Outcome(query)
        rd = self._back(query.text("rd"))
        site = facts.one(b"sec-fetch-site")
        if site is not None and site.strip().lower() not in _OURS:
            return Outcome(self._desk.page("leaving.html", place=place_with_return(RENEW_URL, rd)))
        found = self._desk.credentials(facts)
        if isinstance(found, Reason):
            return Outcome(Refuse(found))
        wait_s = self._wait_s(found.refreshes[0]) if found.refreshes else 0
        if wait_s:
            return Outcome(Refuse(Reason.RATE_LIMITED, retry_after_s=wait_s, detail="Does this browser keep cookies?"))
        caller = await self._desk.caller(facts)
        if not isinstance(caller.who, Reason):
            cookies, written = await cookies_of(caller)
            return Outcome(goes_to(rd), cookies, written, caller.who.subject)
        if caller.who.status != 401:
            return Outcome(Refuse(caller.who))
        back = self._desk.public_url(facts) + rd if "://" in self._desk.login.url else rd
        place = place_with_return(self._desk.login.url, back).encode("ascii")
        return Outcome(Answer(303, (b"Location: " + place, b"Cache-Control: no-store")))

    def _back(self, wanted: str) -> str:
        """Where to go afterwards: a path on this site, but not back here."""
        rd = safe_return(wanted, self._desk.server.public_urls)
        return "/" if rd.partition("?")[0] == RENEW_URL else rd

    def _wait_s(self, refresh: str) -> int:
        asked = [(_ROUNDS, digest_of(refresh).hex())]
        (standing,) = self._desk.allowances.take_all(asked, int(self._desk.clock.mono_s() * NS_PER_S))
        return whole_seconds(standing.wait_ns) if standing.wait_ns else 0
