"""The page that runs a Descope flow in `<descope-wc>`, and the way of its tokens into cookies.

The one page of ours with scripts: the component's files (`component`) and a small one of our own, which sets the
component up so that it stores no token, and brings what a flow ends with to `POST /.auth/session`. Nothing it loads or
asks is of another host; what it may do stands in the policy below.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from gateway.core.model import Match, Reason, Refuse, RequestFacts, Target
from gateway.core.routes import RouteTable
from gateway.core.signin import Method
from gateway.core.target import canonical
from gateway.doors.answers import Answer
from gateway.doors.auth import turns
from gateway.doors.auth.component import ComponentFiles
from gateway.doors.auth.desk import SHOWN_CODES, Desk, Problem
from gateway.doors.auth.login import LoginPage
from gateway.doors.auth.outcome import Body, Endpoints, Outcome, read_form, read_query
from gateway.idp_call import SessionPair, is_token

# The styles that the component makes carry the page's nonce; pictures and fonts may stand inside them.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class FlowSetting:
    """What flows need beside a desk. on_error: told the code of each error that a flow ended in, a bounded word."""

    project_id: str
    static_url: str
    table: RouteTable
    on_error: Callable[[str], None]

    def ids(self, default: str) -> frozenset[str]:
        """Every flow that the route file names."""
        return frozenset({default, *(route.flow for route in self.table.routes if route.flow)})

    def flow_for(self, host: str, rd: str, default: str) -> str:
        """The flow of the route that leads to `rd`."""
        target = canonical(rd.encode("latin-1", "replace"))
        match = self.table.match(host, "GET", target) if isinstance(target, Target) else None
        return match.route.flow or default if isinstance(match, Match) else default


class FlowPage:
    def __init__(self, desk: Desk, setting: FlowSetting, files: ComponentFiles, ordinary: LoginPage) -> None:
        """ordinary: the page with the other methods."""
        self._desk = desk
        self._setting = setting
        self._files = files
        self._ordinary = ordinary
        self.endpoints: Endpoints = {
            "login": {"GET": self._login},
            "flow": {"GET": self._page},
            "flow/error": {"POST": self._error},
            "session": {"POST": self._session},
        }

    async def _login(self, facts: RequestFacts, body: Body) -> Outcome:
        """Flows come first where the route file names them first, or a route on the way has one of its own."""
        query = read_query(facts)
        if isinstance(query, Refuse):
            return Outcome(query)
        own = self._flow_id(facts, turns.way_of(query, self._desk.back).rd) != self._desk.login.flow.id
        if own or self._desk.login.methods[0] is Method.FLOW:
            return await self._page(facts, body)
        return await self._ordinary.page(facts, body)

    async def _page(self, facts: RequestFacts, body: Body) -> Outcome:
        met = await self._ordinary.met(facts)
        if isinstance(met, Outcome):
            return met
        nonce = secrets.token_urlsafe(18)
        login, rd = self._desk.login, met.rd
        way = f"/.auth/flow?rd={quote(rd.encode('latin-1'), safe='')}"
        page = self._desk.page(
            "flow.html",
            met.problem if self._files.are_here else Problem(503),
            csp=_POLICY.format(nonce=nonce).encode("ascii"),
            nonce=nonce,
            rd=rd,
            project_id=self._setting.project_id,
            flow_id=self._flow_id(facts, met.wanted),
            files=self._files,
            redirect_url=self._desk.public_url(facts) + way,
            others=[method for method in login.methods if method is not Method.FLOW],
        )
        return Outcome(page, met.cookies)

    def _flow_id(self, facts: RequestFacts, rd: str) -> str:
        return self._setting.flow_for(facts.host, rd, self._desk.login.flow.id)

    async def _session(self, facts: RequestFacts, body: Body) -> Outcome:
        """Tokens in, cookies out; what a page brings is trusted no more than what any client sends."""
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        session, refresh = form.text("sessionJwt"), form.text("refreshJwt")
        if not is_token(session) or not is_token(refresh):
            return Outcome(Refuse(Reason.BAD_REQUEST, detail="The fields sessionJwt and refreshJwt are needed."))
        presented = await self._desk.sessions.presented(SessionPair(session, refresh))
        if isinstance(presented, Reason):
            return Outcome(Refuse(presented))
        return self._desk.arrived(facts, presented, form.text("rd"))

    async def _error(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        code = form.text("code")
        self._setting.on_error(code if code in SHOWN_CODES else "other")
        return Outcome(Answer(204, (b"Cache-Control: no-store",)))
