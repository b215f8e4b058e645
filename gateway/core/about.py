"""What an upstream is told about a caller: one answer for headers, templates and the signed assertion."""

from collections.abc import Mapping

from gateway.core.model import Admit, Grants, Identity, Kind
from gateway.core.policy import tenant_grants

Told = str | tuple[str, ...]


def told_of(identity: Identity, admit: Admit) -> Mapping[str, Told]:
    """By noun, plain and not encoded; "" or () for what is not known."""
    grants = _grants_shown(identity, admit)
    return {
        "subject": identity.subject,
        "email": _claim_text(identity, "email") or admit.person.email,
        "name": _claim_text(identity, "name") or admit.person.name,
        "username": _claim_text(identity, "preferred_username"),
        "roles": grants.roles,
        "permissions": grants.permissions,
        "tenant": admit.tenant or "",
        "method": identity.kind.value,
        "key_id": identity.subject if identity.kind is Kind.ACCESS_KEY else "",
    }


def _grants_shown(identity: Identity, admit: Admit) -> Grants:
    """What the decision was made by: the tenant's where the route decides by one, else the project's."""
    if admit.match.route.tenant_from is None:
        return identity.project
    return tenant_grants(identity, admit.tenant) or Grants()


def _claim_text(identity: Identity, name: str) -> str:
    value = identity.claims.get(name)
    return value if isinstance(value, str) else ""
