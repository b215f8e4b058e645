"""The forward-auth door: another proxy asks about a request, and forwards it itself where the answer is 200.

The gate judges the original request as it would judge one that came here, and every doubt about what that request is
ends in a refusal. The upstream is never contacted. What a 200 says is all that the service behind gets to know of the
caller, so the proxy has to put it in the place of whatever its client sent.
"""

from collections.abc import Callable

from gateway.assertion_keys import Assertions
from gateway.core import credentials as finding
from gateway.core.errors import IdentityProviderError
from gateway.core.forwarded import PREFIX, Dialect, ForwardAuth, is_socket, names_to_remove, original, told_lines
from gateway.core.headers import RequestWriter
from gateway.core.limits import Standing
from gateway.core.model import Admit, Auth, Reason, Refuse, RequestFacts, Route, ServerRules, noun
from gateway.core.target import strip_prefix
from gateway.doors.answers import RENEW_URL, Answer, is_navigation, login_location
from gateway.gate import Gate, Unsettled, Verdict
from gateway.sessions import Sessions

ASKED = (PREFIX.rpartition("/")[2],)
_STORED = b"Cache-Control: no-store"
# Under which name a proxy is told what to take off the request, where it can be told.
_REMOVE = {Dialect.ENVOY: b"X-Envoy-Auth-Headers-To-Remove: ", Dialect.HAPROXY: b"X-Gateway-Remove: "}

Spelt = Callable[[Refuse, str, RequestFacts | None, tuple[bytes, ...], tuple[Standing, ...]], Answer]
"""A refusal as the client is to read it."""


@noun
class Told:
    """What a proxy is told. facts: of the original request, None where there is no telling which that is."""

    facts: RequestFacts | None
    verdict: Verdict
    answer: Answer


class VerifyDoor:
    """Everything is made once for a route, when its first request is admitted."""

    def __init__(
        self,
        rules: ForwardAuth,
        *,
        gate: Gate,
        sessions: Sessions,
        server: ServerRules,
        project_id: str,
        assertions: Assertions | None,
        spelt: Spelt,
    ) -> None:
        self._rules = rules
        self._gate = gate
        self._sessions = sessions
        self._server = server
        self._project_id = project_id
        self._assertions = assertions
        self._spelt = spelt
        self._writers: dict[str, RequestWriter] = {}

    async def serve(self, asked: RequestFacts, raw_target: bytes, request_id: str) -> Told:
        """Judge the request that is asked about. raw_target: of the question, as it came."""
        facts = original(asked, raw_target, self._rules.dialect, self._server)
        if isinstance(facts, Reason):
            refuse = Refuse(facts)
            answer = self._spelt(refuse, request_id, None, (), ())
            # A question that makes no sense is the proxy's fault, and shall look like one.
            is_question = facts in (Reason.BAD_REQUEST, Reason.CLIENT_NOT_ALLOWED)
            return Told(None, Verdict(refuse), answer if is_question else self._bent(answer, refuse))
        verdict = await self._judged(facts)
        decision = verdict.decision
        cookies = await decision.set_cookies.settled() if decision.set_cookies is not None else ()
        if isinstance(decision, Admit):
            return Told(facts, verdict, self._admitted(facts, decision, request_id, cookies))
        answer = self._spelt(decision, request_id, facts, cookies, verdict.standings)
        if not self._rules.renew and await self._is_renewable(facts, decision):
            place = login_location(RENEW_URL, "", facts).encode("ascii")
            answer = Answer(302, (b"Location: " + place, _STORED, b"X-Request-Id: " + request_id.encode("ascii")))
        return Told(facts, verdict, self._bent(answer, decision))

    async def _judged(self, facts: RequestFacts) -> Verdict:
        verdict = self._gate.judge_at_once(facts, is_upgrade=is_socket(facts), renews=self._rules.renew)
        if isinstance(verdict, Unsettled):
            verdict = await self._gate.settle(verdict)
        decision = verdict.decision
        if isinstance(decision, Refuse):
            return verdict
        route = decision.match.route
        rewritten = strip_prefix(facts.target, route.strip_prefix) if route.strip_prefix else None
        if isinstance(rewritten, Reason):
            return Verdict(Refuse(rewritten, route, set_cookies=decision.set_cookies), verdict.standings, route)
        return verdict

    def _admitted(self, facts: RequestFacts, admit: Admit, request_id: str, cookies: tuple[bytes, ...]) -> Answer:
        route = admit.match.route
        written, identity = self._writer(route).lines(facts, admit, request_id), admit.identity
        if route.upstream.assertion and identity is not None and self._assertions is not None:
            written = written.and_one("X-Auth-Assertion", self._assertions.of(identity, admit, request_id))
        lines = told_lines(written, route)
        remove = _REMOVE.get(self._rules.dialect)
        names = names_to_remove(facts, lines, route) if remove is not None else []
        if remove is not None and names:
            lines.append(remove + b", ".join(names))
        return Answer(200, (*lines, _STORED, *(b"Set-Cookie: " + cookie for cookie in cookies)))

    def _writer(self, route: Route) -> RequestWriter:
        known = self._writers.get(route.id)
        if known is None:
            known = RequestWriter(route, self._server.cookies, self._project_id)
            self._writers[route.id] = known
        return known

    async def _is_renewable(self, facts: RequestFacts, refuse: Refuse) -> bool:
        """Whether a browser should go and have its session renewed, and come back."""
        route = refuse.route
        if refuse.status != 401 or route is None or route.auth is Auth.PUBLIC or not is_navigation(facts):
            return False
        found = finding.find(facts, route.auth, self._server.cookies)
        if isinstance(found, Reason) or found.bearer is not None or not found.refreshes:
            return False
        try:
            return isinstance(await self._sessions.refresh_token(found), tuple)
        except IdentityProviderError:
            return False

    def _bent(self, answer: Answer, refuse: Refuse) -> Answer:
        """nginx takes two statuses; the true one, and why, stand beside them for its configuration to use."""
        if self._rules.dialect.knows_all_statuses:
            return answer
        status = 401 if answer.status in (302, 401) else 403
        told = (b"X-Gateway-Status: %d" % answer.status, b"X-Gateway-Reason: " + refuse.reason.value.encode("ascii"))
        return Answer(status, (*answer.lines, *told), answer.body)
