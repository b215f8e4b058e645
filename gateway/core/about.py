"""What an upstream is told about a caller: one answer for headers, templates and the signed assertion."""

from collections.abc import Mapping

from gateway.core.model import Admit, Grants, Identity, Kind
from gateway.core.policy import tenant_grants

Told = str | tuple[str, ...]
LISTS = frozenset({"roles", "permissions"})  # the nouns that several are told of


# Looked up once: a member of an enumeration and its value cost as much as a call.
_KINDS = {kind: kind.value for kind in Kind}
_ACCESS_KEY = Kind.ACCESS_KEY
_NOTHING = Grants()


def told_of(identity: Identity, admit: Admit) -> Mapping[str, Told]:
    """By noun, plain and not encoded; "" or () for what is not known."""
    grants = _grants_shown(identity, admit)
    claim = identity.claims.get
    person, kind = admit.person, identity.kind
    return {
        "subject": identity.subject,
        "email": _text(claim("email")) or person.email,
        "name": _text(claim("name")) or person.name,
        "username": _text(claim("preferred_username")),
        "roles": grants.roles,
        "permissions": grants.permissions,
        "tenant": admit.tenant or "",
        "method": _KINDS[kind],
        "key_id": identity.subject if kind is _ACCESS_KEY else "",
    }


def _grants_shown(identity: Identity, admit: Admit) -> Grants:
    """What the decision was made by: the tenant's where the route decides by one, else the project's."""
    if admit.match.route.tenant_from is None:
        return identity.project
    return tenant_grants(identity, admit.tenant) or _NOTHING


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
