"""Identities that nobody proved, for `gateway check` and `gateway explain`. No request ever reaches this module.

It is the one place beside `tokens` that makes an `Identity`; the layer test keeps it from everything that serves.
"""

from collections.abc import Mapping
from typing import Any

from gateway.core.model import Grants, Identity, Kind

KEYS = ("subject", "key_id", "kind", "roles", "permissions", "tenants", "tenant", "claims")
_GRANT_KEYS = ("roles", "permissions")
# Said by the keys above; said twice, they could contradict each other.
_OWN_CLAIMS = frozenset({"sub", "dsub", "roles", "permissions", "tenants", "dct", "nsec", "drn"})
_FAR_FUTURE_S = 253_402_300_799  # the last second of the year 9999


def imagined(description: Mapping[str, object]) -> Identity | str:
    """The identity that `description` speaks of, or a sentence that says what is wrong with it.

    Keys, each optional: subject, kind (session, access_key), roles, permissions, tenants ({id: {roles, permissions}}),
    tenant (the selected one), claims (root claims of the token), key_id (a subject that is an access key's).
    """
    for key in description:
        if key not in KEYS:
            return f"{key!r} is no property of a caller; there are {', '.join(KEYS)}"
    named = _subject(description)
    if isinstance(named, str):
        return named
    kind, subject = named
    project = _grants(description, "the caller")
    if isinstance(project, str):
        return project
    tenants = _tenants(description.get("tenants"))
    if isinstance(tenants, str):
        return tenants
    selected = description.get("tenant")
    if selected is not None and not (isinstance(selected, str) and selected):
        return "tenant must be the id of the selected tenant, a text"
    claims = description.get("claims") or {}
    if not isinstance(claims, Mapping) or not all(isinstance(name, str) for name in claims):
        return "claims must be a mapping from names to values"
    twice = sorted(_OWN_CLAIMS.intersection(claims))
    if twice:
        return f"claims may not hold {', '.join(twice)}; say it with {', '.join(KEYS[:-1])}"
    return Identity(
        kind=kind,
        subject=subject,
        issued_at_s=0,
        not_before_s=0,
        expires_at_s=_FAR_FUTURE_S,
        project=project,
        tenants=tenants,
        selected_tenant=selected,
        claims={**_root_claims(subject, project, tenants, selected), **claims},
        digest=bytes(32),
    )


def _subject(description: Mapping[str, object]) -> tuple[Kind, str] | str:
    """Kind and subject; an id that begins with K is an access key's, as in Descope."""
    said = {name: description[name] for name in ("subject", "key_id") if description.get(name) is not None}
    for name, value in said.items():
        if not isinstance(value, str) or not value:
            return f"{name} must be a text"
    if len(said) == 2 and said["subject"] != said["key_id"]:
        return "subject and key_id are the same thing here; give one of them"
    subject = next((str(value) for value in said.values()), "")
    word = description.get("kind")
    if word is not None and word not in ("session", "access_key"):
        return "kind must be session or access_key"
    if "key_id" in said or subject.startswith("K"):
        if word == "session":
            return "an access key's id does not go with kind: session; leave kind out, or name a subject like U2ada"
        return Kind.ACCESS_KEY, subject
    if word == "access_key":
        return Kind.ACCESS_KEY, subject or "K2imagined"
    return Kind.SESSION, subject or "U2imagined"


def _grants(description: Mapping[str, object], whose: str) -> Grants | str:
    found: list[tuple[str, ...]] = []
    for name in _GRANT_KEYS:
        value = description.get(name)
        if value is None:
            value = ()
        if isinstance(value, str) or not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            return f"{name} of {whose} must be a list of texts"
        found.append(tuple(value))
    return Grants(*found)


def _tenants(value: object) -> Mapping[str, Grants] | str | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return "tenants must be a mapping from tenant ids to {roles, permissions}"
    tenants: dict[str, Grants] = {}
    for name, held in value.items():
        if not isinstance(name, str) or not (held is None or isinstance(held, Mapping)):
            return "tenants must be a mapping from tenant ids to {roles, permissions}"
        mapping = held or {}
        for key in mapping:
            if key not in _GRANT_KEYS:
                return f"{key!r} is no property of a caller in tenant {name}; there are {', '.join(_GRANT_KEYS)}"
        grants = _grants(mapping, f"tenant {name}")
        if isinstance(grants, str):
            return grants
        tenants[name] = grants
    return tenants


def _root_claims(
    subject: str, project: Grants, tenants: Mapping[str, Grants] | None, selected: str | None
) -> dict[str, Any]:
    """The claims that a token of this identity would hold, as far as conditions and templates can ask for them."""
    claims: dict[str, Any] = {"sub": subject, "roles": list(project.roles), "permissions": list(project.permissions)}
    if tenants is not None:
        claims["tenants"] = {
            name: {"roles": list(grants.roles), "permissions": list(grants.permissions)}
            for name, grants in tenants.items()
        }
    if selected is not None:
        claims["dct"] = selected
    return claims
