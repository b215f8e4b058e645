"""The door to the endpoints under `/.auth/`: which there are, and what holds for all of them. None is ever forwarded.

Every POST passes the cross-site check. Tokens go out in HttpOnly cookies and in nothing else, but for programs where
the route file says `login.deliver: body`. A method that is not offered is nowhere. To add one: a class over a `Desk`
with `endpoints`, named in `_offered`.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from gateway.assertion_keys import AssertionKeys
from gateway.clock import Clock
from gateway.core.crosssite import is_cross_site
from gateway.core.errors import IdentityProviderError
from gateway.core.limits import AllowanceTable
from gateway.core.model import Reason, Refuse, RequestFacts, ServerRules
from gateway.core.signin import LoginRules, Method
from gateway.doors.answers import Answer
from gateway.doors.auth.account import AccountPages
from gateway.doors.auth.component import ComponentDoor, component_files
from gateway.doors.auth.descope import DescopeDoor
from gateway.doors.auth.desk import Desk
from gateway.doors.auth.enchanted_link import EnchantedLinks
from gateway.doors.auth.flow import FlowPage, FlowSetting
from gateway.doors.auth.login import LoginPage
from gateway.doors.auth.magic_link import MagicLinks
from gateway.doors.auth.otp import OneTimeCodes
from gateway.doors.auth.outcome import Body, Endpoint, Endpoints, Outcome, refused_by
from gateway.doors.auth.password import Passwords
from gateway.doors.auth.password_reset import PasswordReset
from gateway.doors.auth.password_rules import PasswordRules
from gateway.doors.auth.published_keys import PublishedKeys
from gateway.doors.auth.redirects import OauthProviders, SingleSignOn
from gateway.doors.auth.renew import RenewPage
from gateway.doors.auth.session import OwnSession
from gateway.doors.auth.totp import AuthenticatorApps
from gateway.doors.look import look_of
from gateway.sessions import Sessions
from gateway.tasks import Tasks

_FOLDER = Path(__file__).parent / "templates"


class SignIn:
    def __init__(
        self,
        sessions: Sessions,
        server: ServerRules,
        login: LoginRules,
        tasks: Tasks,
        clock: Clock,
        *,
        flows: FlowSetting,
        allowances: AllowanceTable,
        keys: AssertionKeys | None = None,
        renews_by_redirect: bool = False,
    ) -> None:
        """allowances: how often a client may try. keys: those of assertions, None where no upstream gets any.

        renews_by_redirect: whether `/.auth/renew` is there, for proxies that cannot carry renewed cookies.
        """
        self._server = server
        self.look = look_of(login)
        desk = Desk(sessions, login, server, tasks, clock, allowances, self.look)
        self._endpoints: dict[str, dict[str, Endpoint]] = {
            "style.css": {"GET": _file(b"text/css", self.look.style)},
            "wait.js": {"GET": _file(b"text/javascript", (_FOLDER / "wait.js").read_bytes())},
        }
        published = (PublishedKeys(keys).endpoints,) if keys is not None else ()
        renewing = (RenewPage(desk).endpoints,) if renews_by_redirect else ()
        for endpoints in chain(_always(desk), _offered(desk, flows), published, renewing):
            for path, methods in endpoints.items():
                self._endpoints.setdefault(path, {}).update(methods)

    async def serve(self, facts: RequestFacts, body: Body) -> Outcome:
        """Answer one request for a path under `/.auth/`."""
        methods = self._methods("/".join(facts.target.segments[1:]))
        if methods is None:
            return Outcome(Refuse(Reason.NOT_FOUND))
        endpoint = methods.get("GET" if facts.method == "HEAD" else facts.method)
        if endpoint is None:
            allow = tuple(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
            return Outcome(Refuse(Reason.METHOD_NOT_ALLOWED, allow=allow))
        if facts.method == "POST" and is_cross_site(facts, None, self._server.public_urls, is_upgrade=False):
            return Outcome(Refuse(Reason.CROSS_SITE))
        try:
            return await endpoint(facts, body)
        except IdentityProviderError as fault:
            return Outcome(refused_by(fault))

    def _methods(self, path: str) -> dict[str, Endpoint] | None:
        """Those of the path itself, else of the innermost folder around it; a folder's name ends with a slash."""
        methods = self._endpoints.get(path)
        while methods is None and path:
            path = path.rstrip("/").rpartition("/")[0]
            methods = self._endpoints.get(f"{path}/")
        return methods


def _always(desk: Desk) -> Iterator[Endpoints]:
    yield OwnSession(desk).endpoints
    yield AccountPages(desk).endpoints
    yield LoginPage(desk).endpoints


def _offered(desk: Desk, flows: FlowSetting) -> Iterator[Endpoints]:
    """The endpoints of the methods that the route file offers."""
    if desk.login.offers(Method.PASSWORD):
        rules = PasswordRules(desk)
        yield Passwords(desk, rules).endpoints
        yield PasswordReset(desk, rules).endpoints
    if desk.login.offers(Method.OTP):
        yield OneTimeCodes(desk).endpoints
    if desk.login.offers(Method.MAGIC_LINK):
        yield MagicLinks(desk).endpoints
    if desk.login.offers(Method.ENCHANTED_LINK):
        yield EnchantedLinks(desk).endpoints
        yield {"enchanted.js": {"GET": _file(b"text/javascript", (_FOLDER / "enchanted.js").read_bytes())}}
    if desk.login.offers(Method.OAUTH):
        yield OauthProviders(desk).endpoints
    if desk.login.offers(Method.SSO):
        yield SingleSignOn(desk).endpoints
    if desk.login.offers(Method.TOTP):
        yield AuthenticatorApps(desk).endpoints
    if desk.login.offers(Method.FLOW):
        files = component_files()
        yield ComponentDoor(files).endpoints
        yield FlowPage(desk, flows, files, LoginPage(desk)).endpoints
        yield {"flow.js": {"GET": _file(b"text/javascript", (_FOLDER / "flow.js").read_bytes())}}
        yield DescopeDoor(desk, flows.project_id, flows.static_url, flows.ids(desk.login.flow.id)).endpoints


def _file(kind: bytes, content: bytes) -> Endpoint:
    """What a page of ours loads."""
    lines = (
        b"Content-Type: " + kind + b"; charset=utf-8",
        b"X-Content-Type-Options: nosniff",
        b"Cache-Control: no-store",
    )

    async def serve(facts: RequestFacts, body: Body) -> Outcome:
        return Outcome(Answer(200, lines, content))

    return serve
