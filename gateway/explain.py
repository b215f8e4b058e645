"""What would happen to a request, and why: the gate's own questions, asked of a request that nobody sent.

Pure: a route file and a caller in, an account for people out. It goes the way of `gate` with the same core, but
for what depends on other requests (limits, holds) and on who sent it: requests are judged as sent by the site itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.core import target as targets
from gateway.core.facts import gather, read_block
from gateway.core.imagined import imagined
from gateway.core.model import (
    Admit,
    Auth,
    Decision,
    Identity,
    Kind,
    Match,
    MethodMismatch,
    Reason,
    Refuse,
    RequestFacts,
    Route,
    ServerRules,
)
from gateway.core.policy import Finding, decide, findings
from gateway.core.routes import RouteTable, methods_of
from gateway.routefile import Config, Expectation

_OWN_PAGES = ".auth"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to explain. url: whole, or a path alone, which is asked of the first public URL. client: its address.

    caller: an identity, or the reason why the credentials came to nothing (NO_CREDENTIALS for nobody).
    """

    method: str
    url: str
    caller: Identity | Reason
    client: str = LOOPBACK


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route that this request has to do with, and why it is the one or is not."""

    route: Route
    is_chosen: bool
    why: str


@dataclass(frozen=True, slots=True)
class Account:
    """What became of a request, and each step on the way.

    facts: None where it could not even be read. decision: None for the gateway's own pages. sent_path: what an admitted
    request asks of its upstream.
    """

    decision: Decision | None
    facts: RequestFacts | None = None
    candidates: tuple[Candidate, ...] = ()
    route: Route | None = None
    captures: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()
    sent_path: str = ""

    @property
    def is_admitted(self) -> bool:
        return not isinstance(self.decision, Refuse)

    @property
    def outcome(self) -> str:
        """The decision as tests in a route file spell it: 200, or 403 role_missing."""
        if isinstance(self.decision, Refuse):
            return f"{self.decision.status} {self.decision.reason}"
        return "200" if self.decision is not None else "an answer of the gateway's own"

    @property
    def why(self) -> str:
        """The one sentence that decided."""
        if self.decision is None:
            return "the gateway answers this address itself and forwards nothing"
        if isinstance(self.decision, Admit):
            return f"route {self.decision.match.route.id} admits it"
        missed = next((finding for finding in self.findings if finding.missed is not None), None)
        if missed is not None and self.route is not None:
            return f"missed a condition of route {self.route.id}: {missed.question}"
        match self.decision.reason:
            case Reason.NO_ROUTE:
                return "no route has this host and path"
            case Reason.METHOD_NOT_ALLOWED:
                allow = ", ".join(self.decision.allow)
                return f"the pattern that matches takes {allow} only" if allow else "no gateway passes this method on"
            case Reason.BAD_TARGET if self.facts is None:
                return "this address can be read in more than one way, so it is judged in none"
            case _ if self.route is not None:
                return f"route {self.route.id} rewrites the path to one that is refused"
            case _:
                return "its method or its host is none that this gateway takes (server.hosts)"


@dataclass(frozen=True, slots=True)
class Failure:
    """A test of a route file that does not hold. what: with its place, what was expected and what happened."""

    what: str
    why: str


def failures(config: Config) -> tuple[Failure, ...]:
    """Run the `tests` of a route file; what did not turn out as expected, in the file's order."""
    found = []
    for test in config.expectations:
        caller: Identity | Reason = Reason.NO_CREDENTIALS
        if test.as_ is not None:
            made = imagined(test.as_)
            if isinstance(made, str):
                found.append(Failure(f"{test.line}: {test.request}: there can be no such caller", made))
                continue
            caller = made
        url = f"http://{test.host}{test.target}" if test.host else test.target
        account = explain(config.table, config.server, Asked(test.method, url, caller))
        if not _is_expected(test, account):
            wanted = f"{test.status} {test.reason}" if test.reason else str(test.status)
            what = f"{test.line}: {test.request}: expected {wanted}, got {account.outcome}"
            found.append(Failure(what, f"{account.why}; asked by {spelt_caller(caller)}"))
    return tuple(found)


def _is_expected(test: Expectation, account: Account) -> bool:
    if isinstance(account.decision, Refuse):
        return account.decision.status == test.status and test.reason in (None, account.decision.reason)
    return account.decision is not None and test.status == 200


def explain(table: RouteTable, server: ServerRules, asked: Asked) -> Account:
    """Judge a request as the gateway would, and keep every step of it."""
    authority, target = _split(asked.url, server.public_urls)
    facts = gather(
        method=asked.method,
        raw_target=target.encode("utf-8", "surrogateescape"),
        version=(1, 1),
        block=read_block(((b"Host", authority.encode("utf-8", "surrogateescape")),), server.head_limits),
        peer=asked.client,
        server=server,
    )
    if isinstance(facts, Reason):
        return Account(Refuse(facts))
    if facts.target.segments[0] == _OWN_PAGES:
        return Account(None, facts)
    match = table.match(facts.host, facts.method, facts.target)
    candidates = tuple(_candidates(table, facts, match))
    if match is None:
        return Account(Refuse(Reason.NO_ROUTE), facts, candidates)
    if isinstance(match, MethodMismatch):
        return Account(Refuse(Reason.METHOD_NOT_ALLOWED, allow=match.allow), facts, candidates)
    route = match.route
    caller = None if route.auth is Auth.PUBLIC else asked.caller
    decision = decide(facts, match, caller)
    sent = targets.strip_prefix(facts.target, route.strip_prefix) if route.strip_prefix else facts.target
    if isinstance(decision, Admit) and isinstance(sent, Reason):
        decision = Refuse(sent, route)
    return Account(
        decision,
        facts,
        candidates,
        route,
        tuple(match.captures.items()),
        tuple(findings(facts, match, caller)),
        "" if isinstance(sent, Reason) else route.upstream.base_path + sent.text,
    )


def spelt_caller(caller: Identity | Reason) -> str:
    """Who asks, in one line."""
    if isinstance(caller, Reason):
        return "nobody (no credentials)" if caller is Reason.NO_CREDENTIALS else f"nobody ({caller})"
    kind = "session" if caller.kind is Kind.SESSION else "access key"
    parts = [f"{caller.subject}, {kind}", f"roles {_listed(caller.project.roles)}"]
    if caller.project.permissions:
        parts.append(f"permissions {_listed(caller.project.permissions)}")
    for name, grants in (caller.tenants or {}).items():
        parts.append(f"in {name} roles {_listed(grants.roles)}, permissions {_listed(grants.permissions)}")
    if caller.selected_tenant:
        parts.append(f"selected tenant {caller.selected_tenant}")
    return "; ".join(parts)


def _listed(names: Sequence[str]) -> str:
    return " ".join(names) or "(none)"


def _split(url: str, public_urls: Sequence[str]) -> tuple[str, str]:
    """Authority and raw target of a URL as a browser would send them; nothing is decoded or mended."""
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme.isalnum():
        if not url.startswith("/"):
            raise ValueError(
                f"{url!r} is neither a path such as /admin/ nor a URL such as https://app.example.com/admin/"
            )
        authority = public_urls[0].partition("://")[2] if public_urls else "localhost"
        return authority, url.partition("#")[0]
    at = min((place for place in map(rest.find, "/?#") if place >= 0), default=len(rest))
    authority, target = rest[:at].rpartition("@")[2], rest[at:].partition("#")[0]
    return authority, target if target.startswith("/") else f"/{target}"


def _candidates(table: RouteTable, facts: RequestFacts, match: Match | MethodMismatch | None) -> Iterator[Candidate]:
    chosen = match.route.id if isinstance(match, Match) else ""
    for route, why in table.candidates(facts.host, facts.target):
        if route.id != chosen and why.startswith("chosen"):
            methods = ", ".join(sorted(methods_of(route)))
            yield Candidate(route, False, f"its pattern is the one that matches, but it takes {methods} only")
        else:
            yield Candidate(route, route.id == chosen, why)
