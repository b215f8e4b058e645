"""The sign-in page: the first method's form, and the way to all others."""

from dataclasses import dataclass

from gateway.core.credentials import cleared_cookies
from gateway.core.errors import IdentityProviderError
from gateway.core.model import Identity, Reason, Refuse, RequestFacts
from gateway.doors.auth.desk import Desk, cookies_of
from gateway.doors.auth.outcome import Body, Endpoints, Outcome, goes_to, read_query
from gateway.sessions import Caller

# What the sign-in page must not take for stale: the refresh token beside it may be as good as ever.
_MAY_BE_GOOD_LATER = frozenset({Reason.NO_CREDENTIALS, Reason.TOKEN_UNKNOWN_KEY, Reason.TOKEN_NOT_YET_VALID})


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody to be shown a way to sign in. rd: where to go afterwards. stale: takes useless cookies away."""

    rd: str
    stale: tuple[bytes, ...]


class LoginPage:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.endpoints: Endpoints = {"login": {"GET": self.page}}

    async def page(self, facts: RequestFacts, body: Body) -> Outcome:
        met = await self.met(facts)
        return met if isinstance(met, Outcome) else Outcome(self._desk.page("login.html", rd=met.rd), met.stale)

    async def met(self, facts: RequestFacts) -> Stranger | Outcome:
        """Whoever is signed in already goes on at once."""
        query = read_query(facts)
        if isinstance(query, Refuse):
            return Outcome(query)
        rd = self._desk.back(query.text("rd") or "/")
        try:
            caller = await self._desk.caller(facts)
        except IdentityProviderError:
            caller = Caller(Reason.NO_CREDENTIALS)  # the form itself will say so, and no cookie is lost meanwhile
        if isinstance(caller.who, Identity):
            cookies, written = await cookies_of(caller)
            return Outcome(goes_to(rd), cookies, written, caller.who.subject)
        stale = () if caller.who in _MAY_BE_GOOD_LATER else cleared_cookies(self._desk.server.cookies)
        return Stranger(rd, stale)
