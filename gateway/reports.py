"""What `gateway check` and `gateway explain` print. Text from files, tokens and the command line stays text:
no markup in it counts, and what could speak to a terminal is escaped.
"""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from gateway.compare import Change, Difference
from gateway.core.model import Admit, Auth, Per, Reason, Refuse, Route
from gateway.core.policy import Finding
from gateway.core.routes import methods_of
from gateway.doors.answers import SENTENCES
from gateway.explain import Account, Asked, Candidate, spelt_caller
from gateway.meanings import MEANINGS

_GOOD, _BAD, _QUIET = "green", "red", "dim"


class Report:
    """Lines for people; never wrapped, so that they can be searched and copied."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def line(self, *parts: str | tuple[str, str]) -> None:
        """One line of plain texts and (text, style) pairs."""
        text = Text()
        for part in parts:
            words, style = part if isinstance(part, tuple) else (part, "")
            text.append(_printable(words), style)
        self._console.print(text, soft_wrap=True)

    def good(self, words: str) -> None:
        self.line((words, _GOOD))

    def bad(self, words: str) -> None:
        self.line((words, _BAD))

    # --- diff -------------------------------------------------------------------------------------------------------

    def differences(self, found: Sequence[Difference], restarts: Sequence[str]) -> None:
        """What another route file would decide differently, and which of its keys need a restart."""
        styles = {Change.OPEN: _BAD, Change.CLOSED: "yellow", Change.OTHER: ""}
        for one in found:
            self.line((one.change.value, styles[one.change]))
            for request in one.requests:
                self.line("    ", (request, "bold"))
            for word, (outcome, route) in (("was", one.before), ("is", one.after)):
                self.line(f"    {word:<3}  {outcome}", (f"  by {route}" if route else "  by no route", _QUIET))
            for caller in one.callers:
                self.line((f"    for  {caller}", _QUIET))
        for key in restarts:
            self.line((f"needs a restart: {key}", "yellow"))
        if not found:
            self.line("no request among the examples is decided differently")

    # --- explain ----------------------------------------------------------------------------------------------------

    def account(self, asked: Asked, account: Account) -> None:
        """Everything about one request: what was read, every route, every condition, the verdict."""
        facts = account.facts
        read = f"{facts.scheme}://{facts.authority}{facts.target.text}" if facts is not None else asked.url
        self.line((f"{asked.method} {read}", "bold"))
        self.line(f"  from {facts.client if facts is not None else asked.client}, by {spelt_caller(asked.caller)}")
        if account.candidates:
            self.line()
            self.line(("Routes", "bold"))
            self._candidates(account.candidates)
        if account.route is not None:
            self.line()
            self.line((f"Conditions of {account.route.id}", "bold"))
            if account.captures:
                self.line("  caught  ", ", ".join(f"{name}={value}" for name, value in account.captures))
            self._findings(account.findings)
        self.line()
        self._verdict(account)
        self.line()
        for sentence in _not_judged(account.route):
            self.line((sentence, _QUIET))

    def _candidates(self, candidates: Iterable[Candidate]) -> None:
        shown = list(candidates)
        width = max(len(one.route.id) for one in shown)
        for one in shown:
            mark, style = (">", _GOOD) if one.is_chosen else (" ", "")
            self.line(f"  {mark} ", (one.route.id.ljust(width), style), f"  {_pattern(one.route)}")
            self.line((f"    {'':{width}}  {one.why}", _QUIET))

    def _findings(self, found: Iterable[Finding]) -> None:
        """Every condition; the first one missed decides, the others are told because they come next."""
        decided = False
        for finding in found:
            if finding.missed is None:
                self.line("  ", ("hit ", _GOOD), "  ", finding.question)
                continue
            also = "" if not decided else "  (would refuse as well)"
            self.line("  ", ("miss", _BAD), "  ", finding.question, "  ", (finding.missed.value, _BAD), (also, _QUIET))
            decided = True

    def _verdict(self, account: Account) -> None:
        decision = account.decision
        if isinstance(decision, Refuse):
            self.line((f"Refused: {decision.status} {decision.reason}", f"bold {_BAD}"))
            self.line(f"  {account.why}")
            self.line((f"  the client is told: {SENTENCES[decision.reason]}", _QUIET))
        elif isinstance(decision, Admit):
            self.line(("Admitted", f"bold {_GOOD}"))
            upstream = decision.match.route.upstream
            self.line(f"  goes to upstream {upstream.name} as {account.sent_path}")
            if decision.identity is None:
                self.line("  with no identity headers")
            elif decision.tenant:
                self.line(f"  as {decision.identity.subject} in tenant {decision.tenant}")
            else:
                self.line(f"  as {decision.identity.subject}")
        else:
            self.line(("Answered by the gateway", f"bold {_GOOD}"))
            self.line(f"  {account.why}")

    # --- what a running gateway decided -----------------------------------------------------------------------------

    def recorded(self, decided: Mapping[str, object]) -> None:
        """One decision as a gateway remembers it, what it means, and what to do."""
        field = {name: str(value) for name, value in decided.items()}
        self.line((f"{field['method'] or '(no method)'} {field['host']}{field['path']}", "bold"))
        self.line(f"  request {field['request_id']}, at {field['time']}")
        who = f", by {field['subject']}" if field["subject"] else ", by nobody known"
        self.line(f"  from {field['client'] or 'an unknown address'}{who}")
        self.line(f"  route {field['route'] or '(none)'}")
        if field["upstream"]:
            self.line(f"  upstream {field['upstream']}")
        self.line()
        outcome = "Failed" if field["outcome"] == "failed" else "Refused"
        self.line((f"{outcome}: {field['status']} {field['reason']}", f"bold {_BAD}"))
        reason = next((one for one in Reason if one.value == field["reason"]), None)
        if reason is None:
            self.line("  a reason of another version of the gateway; docs/reasons.md of that version tells it")
            return
        for part in MEANINGS[reason]:
            self.line(f"  {part}")
        self.line((f"  the client was told: {SENTENCES[reason]}", _QUIET))


def _pattern(route: Route) -> str:
    methods = "every method" if route.methods is None else " ".join(sorted(methods_of(route)))
    return f"{route.host}{route.path}  ({methods}; auth {route.auth})"


def _not_judged(route: Route | None) -> Iterable[str]:
    """What a live request would meet beside this."""
    if route is None:
        return
    if route.limits:
        names = ", ".join(f"{limit.name} (per {_spelt(limit.per)})" for limit in route.limits)
        yield f"Not simulated: the route's limits {names}; a live request over one is 429 rate_limited."
    if route.auth is not Auth.PUBLIC:
        yield "Judged as sent by a page of this site; what other sites make browsers post or upgrade is 403 cross_site."


def _spelt(per: Per) -> str:
    return per.value.replace("_", " ")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
