"""The judge: a matched route and a caller in, `Admit` or `Refuse` out. The only maker of `Admit`.

The order of the questions is part of the promise. The client's address comes before the identity, because signing in
would not help. The kind of credential comes before what it holds, because a key with the right roles is still a key.
The tenant comes before roles and permissions, because it says which of them count.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import assert_never

from gateway.core.model import (
    NOBODY,
    Admit,
    Auth,
    ClaimHeld,
    ClientWithin,
    Condition,
    ConstantTenant,
    Decision,
    Grants,
    HostLabel,
    Identity,
    KeyIdIn,
    Kind,
    Match,
    PathCapture,
    PermissionsHeld,
    Reason,
    Refuse,
    RequestFacts,
    RolesHeld,
    Route,
    SelectedTenant,
    Wanted,
)

# On an optional route these leave the caller anonymous; whatever looks like an attack stays a refusal.
_ANONYMOUS = frozenset(
    {
        Reason.NO_CREDENTIALS,
        Reason.TOKEN_EXPIRED,
        Reason.SESSION_REVOKED,
        Reason.REFRESH_REFUSED,
        Reason.IDENTITY_PROVIDER_BUSY,
        Reason.IDENTITY_PROVIDER_UNAVAILABLE,
    }
)
_NOTHING = Grants()
# Looked up once: a member of an enumeration costs as much as a call.
_PUBLIC, _ACCESS_KEY = Auth.PUBLIC, Kind.ACCESS_KEY


@dataclass(frozen=True, slots=True)
class Finding:
    """One question asked of a request, and the reason it was answered no with; None for yes.

    The sentence is put together only when somebody reads it: `decide` asks on every request.
    """

    sentence: str
    values: tuple[object, ...]
    missed: Reason | None

    @property
    def question(self) -> str:
        return self.sentence.format(*map(_spelt, self.values))


def decide(facts: RequestFacts, match: Match, caller: Identity | Reason | None, token: str = "") -> Decision:
    """Let the caller through `match`, or say why not.

    caller: None where nobody was asked (public routes), a Reason where the credentials came to nothing.
    token: the caller's verified session JWT, carried along for upstreams that ask for it.
    """
    route = match.route
    if route.conditions or route.tenant_from is not None or not isinstance(caller, Identity):
        for finding in findings(facts, match, caller):
            if finding.missed is not None:
                return Refuse(finding.missed, route, may_choose_tenant=_may_choose(route, caller))
    elif route.auth is not _PUBLIC and not _is_kind(caller, route):
        return Refuse(Reason.WRONG_CREDENTIAL_KIND, route)
    if route.auth is _PUBLIC or not isinstance(caller, Identity):
        return Admit(match, None)
    tenant = wanted_tenant(facts, match, caller) if route.tenant_from is not None else None
    return Admit(match, caller, tenant or caller.selected_tenant, NOBODY, token)


def _may_choose(route: Route, caller: Identity | Reason | None) -> bool:
    """Whether the caller, having selected no tenant yet, could select one for this route."""
    if not isinstance(route.tenant_from, SelectedTenant) or not isinstance(caller, Identity):
        return False
    return caller.kind is Kind.SESSION and caller.selected_tenant is None and bool(caller.tenants)


def findings(facts: RequestFacts, match: Match, caller: Identity | Reason | None) -> Iterator[Finding]:
    """Every question that `match` asks, in order; `decide` stops at the first no, `explain` shows them all."""
    route = match.route
    for condition in route.conditions:
        if isinstance(condition, ClientWithin):
            held = _is_within(facts.client, condition)
            yield Finding("client address {} in {}", (facts.client, condition), _no(held, Reason.CLIENT_NOT_ALLOWED))
    if route.auth is Auth.PUBLIC:
        yield Finding("public: nobody is asked who they are", (), None)
        return
    if not isinstance(caller, Identity):
        yield _anonymous(route, caller)
        return
    yield Finding(
        "auth {}, caller came with {}",
        (route.auth, caller.kind),
        _no(_is_kind(caller, route), Reason.WRONG_CREDENTIAL_KIND),
    )
    grants: Grants | None = caller.project
    if route.tenant_from is not None:
        tenant = wanted_tenant(facts, match, caller)
        grants = tenant_grants(caller, tenant)
        yield Finding("member of tenant {}", (tenant,), _no(grants is not None, Reason.TENANT_MISMATCH))
    for condition in route.conditions:
        if not isinstance(condition, ClientWithin):
            yield _asked(condition, caller, grants or _NOTHING)


def _is_kind(caller: Identity, route: Route) -> bool:
    return route.auth.takes_keys if caller.kind is _ACCESS_KEY else route.auth.takes_sessions


def _anonymous(route: Route, caller: Reason | None) -> Finding:
    reason = caller or Reason.NO_CREDENTIALS
    if route.auth is not Auth.OPTIONAL:
        return Finding("auth {}: an identity", (route.auth,), reason)
    if reason not in _ANONYMOUS:
        return Finding("optional: none or a genuine identity", (), reason)
    if route.tenant_from is not None or any(not isinstance(c, ClientWithin) for c in route.conditions):
        return Finding("optional with requirements: an identity that could meet them", (), Reason.NO_CREDENTIALS)
    return Finding("optional: anonymous", (), None)


def _asked(condition: Condition, caller: Identity, grants: Grants) -> Finding:
    match condition:
        case RolesHeld(wanted):
            return Finding("roles {}", (wanted,), _no(_holds(grants.roles, wanted), Reason.ROLE_MISSING))
        case PermissionsHeld(wanted):
            held = _holds(grants.permissions, wanted)
            return Finding("permissions {}", (wanted,), _no(held, Reason.PERMISSION_MISSING))
        case ClaimHeld(name, any_of, all_of):
            held = _claim_holds(caller.claims.get(name), any_of, all_of)
            return Finding("claim {} {}", (name, condition), _no(held, Reason.CLAIM_MISMATCH))
        case KeyIdIn(ids):
            held = caller.kind is not Kind.ACCESS_KEY or caller.subject in ids
            return Finding("key id one of {}", (condition,), _no(held, Reason.KEY_NOT_ALLOWED))
        case ClientWithin():
            return Finding("client address", (), None)
        case _:
            assert_never(condition)


def wanted_tenant(facts: RequestFacts, match: Match, caller: Identity) -> str | None:
    """The tenant that the route decides by; None where it names none, or where the token has none selected."""
    source = match.route.tenant_from
    match source:
        case None:
            return None
        case PathCapture(name):
            return match.captures.get(name)
        case HostLabel(index):
            labels = facts.host.split(".")
            return labels[index] if index < len(labels) else None
        case ConstantTenant(value):
            return value
        case SelectedTenant():
            return caller.selected_tenant
        case _:
            assert_never(source)


def tenant_grants(caller: Identity, tenant: str | None) -> Grants | None:
    """What the caller holds in `tenant` alone, never a union with the project's; None where it is no member.

    Root roles count for a tenant only when the token selects it and has no `tenants` claim at all: then they are that
    tenant's by the template that Descope calls "no tenant reference".
    """
    if not tenant:
        return None
    if caller.tenants is None:
        return caller.project if caller.selected_tenant == tenant else None
    return caller.tenants.get(tenant)


def _no(held: bool, reason: Reason) -> Reason | None:
    return None if held else reason


def _holds(held: tuple[str, ...], wanted: Wanted) -> bool:
    if wanted.any and not any(name in held for name in wanted.any):
        return False
    return all(name in held for name in wanted.all)


def _claim_holds(value: object, any_of: tuple[str | int | bool, ...], all_of: tuple[str | int | bool, ...]) -> bool:
    values = value if isinstance(value, list) else [value]
    # Types compare too: in Python `True == 1`, in a token they are different claims.
    held = {(type(v), v) for v in values if isinstance(v, str | int | bool)}
    if any_of and not any((type(v), v) in held for v in any_of):
        return False
    return all((type(v), v) in held for v in all_of)


def _is_within(client: str, condition: ClientWithin) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return False  # a Unix-socket peer has no address, so it lies in no network
    return any(address in network for network in condition.networks)


def _spelt(value: object) -> str:
    match value:
        case Wanted(any_of, all_of) | ClaimHeld(_, any_of, all_of):
            halves = (("any", any_of), ("all", all_of))
            return " and ".join(f"{word} of {', '.join(map(str, some))}" for word, some in halves if some) or "(none)"
        case ClientWithin(networks):
            return ", ".join(map(str, networks))
        case KeyIdIn(ids):
            return ", ".join(sorted(ids))
        case None | "":
            return "(none)"
        case _:
            return str(value)
