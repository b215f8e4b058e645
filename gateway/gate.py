"""The journey of one request: match, limit, caller, decide. Faults become refusals here and nowhere else.

The order matters. A route comes first, for without one nothing is forwarded. Limits that need no identity come before
any credential is looked at: a flood costs a dictionary look-up, not a signature. The cross-site check comes before
Descope is asked anything, so that another site cannot make a browser renew. Limits per identity come last and count
only what was admitted: a refused caller spends nobody's allowance.
"""

from collections.abc import Sequence
from dataclasses import replace

from gateway.chains import Chain
from gateway.clock import Clock
from gateway.core import credentials as finding
from gateway.core.crosssite import SAFE_METHODS, is_cross_site
from gateway.core.errors import IdentityProviderBusy, IdentityProviderError
from gateway.core.facts import client_key
from gateway.core.limits import NS_PER_S, AllowanceTable, Standing, whole_seconds
from gateway.core.model import (
    Admit,
    Auth,
    Credentials,
    Decision,
    Identity,
    Kind,
    Limit,
    Match,
    MethodMismatch,
    Per,
    Reason,
    Refuse,
    RequestFacts,
    Route,
    ServerRules,
    noun,
)
from gateway.core.policy import decide
from gateway.core.routes import RouteTable
from gateway.sessions import Caller, Sessions
from gateway.steps import follower, step

_PUBLIC = Auth.PUBLIC  # looked up once: a member of an enumeration costs as much as a call
_PLACES_KEPT = 4096  # hosts, methods and paths whose route is remembered
_KEPT_CHARS = 512


@noun
class Verdict:
    """A decision, and where the caller stands with the route's limits."""

    decision: Decision
    standings: tuple[Standing, ...] = ()
    route: Route | None = None


@noun
class Unsettled:
    """A request that cannot be decided without waiting for somebody; what is known of it so far."""

    facts: RequestFacts
    match: Match
    found: Credentials
    standings: tuple[Standing, ...]
    caller: Caller | None
    renews: bool = True


class Gate:
    def __init__(
        self, table: RouteTable, server: ServerRules, sessions: Sessions, allowances: AllowanceTable, clock: Clock
    ) -> None:
        self.table = table
        self._matched: dict[tuple[str, str, str], Match | MethodMismatch | None] = {}
        self._server = server
        self._sessions = sessions
        self._allowances = allowances
        self._clock = clock

    def judge_at_once(
        self, facts: RequestFacts, *, is_upgrade: bool = False, renews: bool = True
    ) -> Verdict | Unsettled:
        """Decide on one request as far as that goes without waiting; what is not settled goes on to `settle`.

        renews: whether a session that has run out is renewed; where the cookies could not be sent, that would lose it.
        Neither raises for anything that Descope or a client does.
        """
        match = self._found(facts)
        if match is None:
            return Verdict(Refuse(Reason.NO_ROUTE))
        if isinstance(match, MethodMismatch):
            return Verdict(Refuse(Reason.METHOD_NOT_ALLOWED, allow=match.allow))
        route = match.route
        standings: tuple[Standing, ...] = ()
        if route.limits:
            standings = self._take(facts, route, None)
            refused = _over(standings, route)
            if refused is not None:
                return Verdict(refused, standings, route)
        if route.auth is _PUBLIC:
            if is_upgrade and is_cross_site(
                facts, route.cors, self._server.public_urls, is_upgrade=b"cookie" in facts.named
            ):
                return Verdict(Refuse(Reason.CROSS_SITE, route), standings, route)
            return Verdict(decide(facts, match, None), standings, route)
        found = finding.find(facts, route.auth, self._server.cookies)
        if not isinstance(found, Reason) and self._is_foreign(facts, route, found, is_upgrade=is_upgrade):
            return Verdict(Refuse(Reason.CROSS_SITE, route), standings, route)
        if isinstance(found, Reason):
            return self._judged(facts, match, standings, self._decide(facts, match, Caller(found)))
        caller = self._known_caller(route, found if renews else replace(found, refreshes=()))
        if caller is None or route.upstream.profile:
            return Unsettled(facts, match, found, standings, caller, renews)
        return self._judged(facts, match, standings, self._decide(facts, match, caller))

    def _found(self, facts: RequestFacts) -> Match | MethodMismatch | None:
        place = (facts.host, facts.method, facts.target.path)
        # Nobody follows most requests, and then even a step that nobody hears of costs more than this look.
        if follower() is None:
            return self._matched.get(place) or self._match(place, facts)
        with step("match"):
            return self._matched.get(place) or self._match(place, facts)

    def _known_caller(self, route: Route, found: Credentials) -> Caller | None:
        if follower() is None:
            return self._sessions.caller_at_once(route, found)
        with step("caller"):
            return self._sessions.caller_at_once(route, found)

    def _match(self, place: tuple[str, str, str], facts: RequestFacts) -> Match | MethodMismatch | None:
        match = self.table.match(facts.host, facts.method, facts.target)
        if len(self._matched) >= _PLACES_KEPT:
            self._matched.clear()
        if len(facts.target.path) <= _KEPT_CHARS:
            self._matched[place] = match
        return match

    async def settle(self, case: Unsettled) -> Verdict:
        """Decide on what had to wait."""
        facts, route = case.facts, case.match.route
        asked = case.found if case.renews else replace(case.found, refreshes=())
        with step("caller"):
            caller = case.caller or await self._caller(route, asked, facts)
        decision = self._decide(facts, case.match, caller)
        if route.upstream.profile and isinstance(decision, Admit):
            with step("profile"):
                decision = await self._with_person(decision, case.found)
        return self._judged(facts, case.match, case.standings, decision)

    # --- streams ----------------------------------------------------------------------------------------------------

    def follow(self, facts: RequestFacts, admit: Admit) -> Chain | None:
        """The sessions by which an admitted request's stream lives; None where nobody is known."""
        if admit.identity is None:
            return None
        route = admit.match.route
        found = finding.find(facts, route.auth, self._server.cookies)
        found = Credentials() if isinstance(found, Reason) else found
        return self._sessions.follow(admit.identity, found, route.exchange)

    def leave(self, chain: Chain) -> None:
        """The stream that lived by these sessions has ended."""
        self._sessions.chains.leave(chain)

    def judge_again(self, facts: RequestFacts, caller: Identity | None, admit: Admit) -> Decision:
        """Decide anew, by the present route table, on a stream that `admit` opened; never asks anybody.

        Limits are not spent again. What the upstream was told at the beginning must still be true of the tenant.
        """
        match = self.table.match(facts.host, facts.method, facts.target)
        if not isinstance(match, Match):
            return Refuse(Reason.NO_ROUTE if match is None else Reason.METHOD_NOT_ALLOWED)
        route = match.route
        if route.upstream.name != admit.match.route.upstream.name:
            return Refuse(Reason.NO_ROUTE, route, detail="The path leads to another upstream now.")
        decision = decide(facts, match, caller or Reason.NO_CREDENTIALS)
        if isinstance(decision, Admit) and route.tenant_from is not None and decision.tenant != admit.tenant:
            return Refuse(Reason.TENANT_MISMATCH, route)
        return decision

    # --- what they share --------------------------------------------------------------------------------------------

    def _judged(
        self, facts: RequestFacts, match: Match, standings: tuple[Standing, ...], decision: Decision
    ) -> Verdict:
        """Limits per identity come last."""
        route = match.route
        if route.limits and isinstance(decision, Admit):
            later = self._take(facts, route, decision)
            standings += later
            refused = _over(later, route)
            if refused is not None:
                subject = decision.identity.subject if decision.identity is not None else ""
                decision = replace(refused, set_cookies=decision.set_cookies, subject=subject)
        return Verdict(decision, standings, route)

    async def _with_person(self, admit: Admit, found: Credentials) -> Admit:
        identity = admit.identity
        if identity is None or identity.kind is not Kind.SESSION or {"email", "name"} <= identity.claims.keys():
            return admit
        return replace(admit, person=await self._sessions.person(identity, found))

    def _is_foreign(self, facts: RequestFacts, route: Route, found: Credentials, *, is_upgrade: bool) -> bool:
        has_cookies = bool(found.sessions or found.refreshes)
        if not is_upgrade and (facts.method in SAFE_METHODS or not has_cookies):
            return False
        return is_cross_site(facts, route.cors, self._server.public_urls, is_upgrade=is_upgrade and has_cookies)

    async def _caller(self, route: Route, found: Credentials, facts: RequestFacts) -> Caller:
        try:
            return await self._sessions.caller(route, found, facts.client)
        except IdentityProviderError as fault:
            busy = isinstance(fault, IdentityProviderBusy)
            reason = Reason.IDENTITY_PROVIDER_BUSY if busy else Reason.IDENTITY_PROVIDER_UNAVAILABLE
            return Caller(reason, wait_ns=int((fault.retry_after_s or 1.0) * NS_PER_S))

    @staticmethod
    def _decide(facts: RequestFacts, match: Match, caller: Caller) -> Decision:
        decision = decide(facts, match, caller.who, caller.token)
        if isinstance(decision, Admit):
            return replace(decision, set_cookies=caller.set_cookies) if caller.set_cookies else decision
        wait_s = max(whole_seconds(caller.wait_ns), 1) if caller.wait_ns and decision.reason is caller.who else None
        subject = caller.who.subject if isinstance(caller.who, Identity) else ""
        if wait_s is None and caller.set_cookies is None and not subject:
            return decision
        return replace(decision, retry_after_s=wait_s, set_cookies=caller.set_cookies, subject=subject)

    def _take(self, facts: RequestFacts, route: Route, admit: Admit | None) -> tuple[Standing, ...]:
        """Spend of the limits per client (before anybody is known), or of those per identity (for the admitted)."""
        asked: list[tuple[Limit, str]] = []
        for limit in route.limits:
            whose = _whose(limit, facts, admit)
            if whose is not None:
                asked.append((limit, whose))
        return self._allowances.take_all(asked, int(self._clock.mono_s() * NS_PER_S)) if asked else ()


def _whose(limit: Limit, facts: RequestFacts, admit: Admit | None) -> str | None:
    """Whose allowance `limit` counts at this point of the journey; None when it is not this point's business."""
    if admit is None:
        return client_key(facts.client) if limit.per is Per.CLIENT else None
    identity: Identity | None = admit.identity
    match limit.per:
        case Per.CLIENT:
            return None
        case Per.SUBJECT:
            # Nobody signed in on an optional route: the client stands in, or anonymity would be no limit at all.
            return f"s:{identity.subject}" if identity else f"c:{client_key(facts.client)}"
        case Per.ACCESS_KEY:
            return f"k:{identity.subject}" if identity is not None and identity.kind is Kind.ACCESS_KEY else None
        case Per.TENANT:
            return f"t:{admit.tenant}" if admit.tenant else f"s:{identity.subject if identity else ''}"


def _over(standings: Sequence[Standing], route: Route) -> Refuse | None:
    wait_ns = max((standing.wait_ns for standing in standings), default=0)
    if not wait_ns:
        return None
    return Refuse(Reason.RATE_LIMITED, route, retry_after_s=whole_seconds(wait_ns))
