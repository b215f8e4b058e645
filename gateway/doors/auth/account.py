"""The account page: who somebody is, the tenants with a switch, recent sign-ins, ways out."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.errors import IdentityProviderError
from gateway.core.model import Identity, Reason, Refuse, RequestFacts
from gateway.core.signin import Method
from gateway.doors.answers import as_json
from gateway.doors.auth.desk import Desk, Here, about_identity
from gateway.doors.auth.outcome import Body, Endpoints, Outcome, goes_to, read_form, read_query, wants_page
from gateway.idp_methods import account as calls
from gateway.renewals import Renewed

_SIGN_INS = 10


@dataclass(frozen=True, slots=True)
class _Tenant:
    id: str
    name: str
    is_selected: bool


class AccountPages:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._sessions = desk.sessions
        self.endpoints: Endpoints = {
            "account": {"GET": self._account},
            "tenant": {"GET": self._choose, "POST": self._select},
        }

    async def _account(self, facts: RequestFacts, body: Body) -> Outcome:
        here = await self._desk.signed_in(facts)
        if isinstance(here, Outcome):
            return here
        identity = here.caller.who
        assert isinstance(identity, Identity)  # noqa: S101  # for the type checker: `signed_in` has seen to it
        seen, tenants = await self._history(here), await self._tenants(here, identity)
        cookies, written = await here.cookies()
        if not wants_page(facts):
            about = about_identity(identity) | {
                "tenant_names": {one.id: one.name for one in tenants},
                "sign_ins": [
                    {"at": one.at_s, "ip": one.ip, "city": one.city, "country": one.country} for one in seen or ()
                ],
            }
            return Outcome(as_json(200, about), cookies, written, here.subject)
        page = self._desk.page(
            "account.html",
            who=about_identity(identity),
            tenants=tenants,
            sign_ins=None if seen is None else [(_moment(one.at_s), one) for one in seen],
            may_change_password=self._desk.login.offers(Method.PASSWORD),
            may_enrol_totp=self._desk.login.offers(Method.TOTP),
        )
        return Outcome(page, cookies, written, here.subject)

    async def _choose(self, facts: RequestFacts, body: Body) -> Outcome:
        """The page for somebody who has to say in which of the tenants to work."""
        here = await self._desk.signed_in(facts)
        if isinstance(here, Outcome):
            return here
        query = read_query(facts)
        if isinstance(query, Refuse):
            return Outcome(query)
        identity = here.caller.who
        assert isinstance(identity, Identity)  # noqa: S101  # as above
        tenants = await self._tenants(here, identity)
        cookies, written = await here.cookies()
        page = self._desk.page("tenant.html", tenants=tenants, rd=self._desk.back(query.text("rd") or "/"))
        return Outcome(page, cookies, written, here.subject)

    async def _select(self, facts: RequestFacts, body: Body) -> Outcome:
        form = await read_form(facts, body)
        if isinstance(form, Refuse):
            return Outcome(form)
        tenant = form.text("tenant")
        if not tenant:
            return Outcome(Refuse(Reason.BAD_REQUEST, detail="The field tenant is needed."))
        found = await self._desk.refresh_token(facts)
        if isinstance(found, Reason):
            return Outcome(Refuse(found))
        outcome = await self._sessions.state.switch_tenant(tenant, *found)
        replaced = await self._desk.replaced(outcome, found[1])
        if isinstance(outcome, Renewed) and wants_page(facts) and not isinstance(replaced.answer, Refuse):
            rd = self._desk.back(form.text("rd"))
            return Outcome(goes_to(rd), replaced.cookies, replaced.written, replaced.subject)
        return replaced

    async def _history(self, here: Here) -> tuple[calls.SeenSignIn, ...] | None:
        """None where Descope cannot tell just now: the rest of the page does not need it."""
        try:
            answer = await self._sessions.state.asked(calls.history(here.refresh_raw))
        except IdentityProviderError:
            return None
        return answer[:_SIGN_INS] if isinstance(answer, tuple) else None

    async def _tenants(self, here: Here, identity: Identity) -> list[_Tenant]:
        ids = tuple(identity.tenants or ())
        names: Mapping[str, str] = {}
        if ids:
            try:
                answer = await self._sessions.state.asked(calls.tenants(here.refresh_raw, ids))
            except IdentityProviderError:
                answer = {}
            names = answer if isinstance(answer, Mapping) else {}
        return [_Tenant(one, names.get(one, one), one == identity.selected_tenant) for one in ids]


def _moment(at_s: int) -> str:
    """A time as people read it, in the one zone that everybody can convert from."""
    try:
        moment = dt.datetime.fromtimestamp(at_s, dt.UTC)
    except (OverflowError, ValueError, OSError):
        return ""
    return moment.strftime("%Y-%m-%d %H:%M UTC")
