"""Sessions: the two tokens of a sign-in, their renewal, and the chain that a refresh token belongs to.

Every sign-in begins a chain. Of a chain one refresh token is the newest; under rotation the others are spent, and a
spent one that comes back means that somebody has a copy: the whole chain ends (RFC 9700 section 4.14.2). A rotated
token keeps the expiry of the first. Each token carries a `jti`, without which two made in one second would be equal.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.emulator.directory import AccessKey, Directory, Person, Rights, digest
from gateway.emulator.errors import not_valid, unauthenticated
from gateway.emulator.keys import SigningKeys
from gateway.emulator.settings import Settings
from gateway.emulator.traffic import Incident, Traffic

# What a custom claim may not be called: the service writes these itself.
SYSTEM_CLAIMS = frozenset(
    {"amr", "aud", "dct", "drn", "dsub", "exp", "iat", "iss", "jti", "nbf", "nsec", "permissions", "rexp", "roles"}
    | {"su", "sub", "tenants"}
)
MANY_CHAINS = 10_000


@dataclass(slots=True)
class Chain:
    """One sign-in and all refresh tokens that came of it."""

    person_id: str
    expires_s: int
    claims: dict[str, Any]
    client_claims: dict[str, Any]
    factors: tuple[str, ...] = ("pwd",)
    newest: str = field(default="", repr=False)
    spent_s: dict[str, float] = field(default_factory=dict, repr=False)
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Issued:
    """The tokens of a sign-in or a renewal."""

    person: Person
    session_jwt: str = field(repr=False)
    session_exp_s: int
    refresh_jwt: str = field(repr=False)
    refresh_exp_s: int


class Sessions:
    """All chains that have not ended."""

    def __init__(
        self,
        project_id: str,
        directory: Directory,
        signing: SigningKeys,
        traffic: Traffic,
        *,
        settings: Callable[[], Settings],
        now_s: Callable[[], float],
    ) -> None:
        self._project_id = project_id
        self._directory = directory
        self._signing = signing
        self._traffic = traffic
        self._settings = settings
        self._now_s = now_s
        self._chains: dict[str, Chain] = {}  # by the digest of each refresh token of the chain

    def start(
        self,
        person: Person,
        *,
        claims: Mapping[str, Any] | None = None,
        client_claims: Mapping[str, Any] | None = None,
        end_others: bool = False,
        factors: Iterable[str] = ("pwd",),
        step_up: bool = False,
    ) -> Issued:
        """Begin a chain.

        claims: trusted ones, for the root of the tokens. client_claims: those a client asked for, kept apart in `nsec`.
        factors: how the person proved who they are, for `amr`. step_up: mark the first session token, and it alone.
        """
        if end_others:
            self.end_person(person.id)
        self._sweep()
        expires_s = int(self._now_s()) + self._settings().refresh_ttl_s
        chain = Chain(person.id, expires_s, dict(claims or {}), dict(client_claims or {}), _factors(factors))
        self._advance(chain, person)
        return self._issued(chain, person, step_up=step_up)

    def is_going_on(self, chain: Chain) -> bool:
        """Whether this chain has neither ended nor expired."""
        return self._chains.get(digest(chain.newest)) is chain and self._now_s() < chain.expires_s

    def renew(self, token: str, *, tenant: str | None = None) -> Issued:
        """New tokens for a refresh token, on the way selecting `tenant` where one is given; ApiError when refused."""
        chain, person = self.find(token, spent_too=True)
        if self._is_spent(chain, token):
            self._traffic.note(Incident.REUSE_DETECTED)
            self._end(chain)
            raise unauthenticated("The refresh token was used before; its session has ended")
        if tenant is not None:
            if tenant not in person.tenants:
                raise not_valid(f"The user does not belong to the tenant {tenant!r}")
            chain.tenant = tenant
        # In its grace a spent token gets what its successor is, not a successor of its own.
        if self._settings().refresh_rotation != "off" and token == chain.newest:
            self._advance(chain, person)
        return self._issued(chain, person)

    def find(self, token: str, *, spent_too: bool = False) -> tuple[Chain, Person]:
        """The chain and the person of a refresh token that is good; ApiError otherwise."""
        claims = self._signing.claims(token, self._now_s())
        chain = self._chains.get(digest(token))
        if claims is None or claims.get("drn") != "DSR" or chain is None:
            raise unauthenticated("The refresh token is not valid or has expired")
        person = self._directory.people.get(chain.person_id)
        if person is None or person.status != "enabled":
            raise unauthenticated("The user is disabled or gone")
        if not spent_too and self._is_spent(chain, token):
            raise unauthenticated("The refresh token was used before")
        return chain, person

    def end(self, token: str) -> None:
        """End the chain of this refresh token; a spent one will do."""
        chain, _ = self.find(token, spent_too=True)
        self._end(chain)

    def end_all(self, token: str) -> None:
        """End every chain of the person this refresh token belongs to."""
        _, person = self.find(token, spent_too=True)
        self.end_person(person.id)

    def end_person(self, person_id: str) -> None:
        """End every chain of this person."""
        self._chains = {name: chain for name, chain in self._chains.items() if chain.person_id != person_id}

    def current_tenant(self, chain: Chain, person: Person) -> str:
        """The selected tenant, or the only one, or none."""
        if chain.tenant in person.tenants:
            return chain.tenant
        return next(iter(person.tenants)) if len(person.tenants) == 1 else ""

    def for_access_key(
        self, key: AccessKey, owner: Person | None, *, tenant: str, client_claims: Mapping[str, Any]
    ) -> tuple[str, int]:
        """A session token for an access key and when it expires; there is no refresh token beside it."""
        holder = owner or key
        # A key's tenants shut out its project roles; a person's do not.
        roles = [] if owner is None and key.tenants else holder.roles
        if tenant and tenant not in holder.tenants:
            raise not_valid(f"The access key does not belong to the tenant {tenant!r}")
        current = tenant or (next(iter(holder.tenants)) if len(holder.tenants) == 1 else "")
        rights = self._directory.rights(roles, holder.tenants)
        claims = self._session_claims(key.id, rights, current, {**key.claims}, client_claims)
        return self._signing.sign(claims), claims["exp"]

    def _issued(self, chain: Chain, person: Person, *, step_up: bool = False) -> Issued:
        rights = self._directory.rights(person.roles, person.tenants)
        custom = {**person.claims, **chain.claims}
        claims = self._session_claims(
            person.id, rights, self.current_tenant(chain, person), custom, chain.client_claims
        )
        claims |= {"amr": [*chain.factors], "rexp": _rfc3339(chain.expires_s)}
        if step_up:
            claims |= {"su": True, "exp": claims["iat"] + self._settings().step_up_ttl_s}
        return Issued(person, self._signing.sign(claims), claims["exp"], chain.newest, chain.expires_s)

    def _session_claims(
        self, subject: str, rights: Rights, tenant: str, custom: Mapping[str, Any], client_claims: Mapping[str, Any]
    ) -> dict[str, Any]:
        settings = self._settings()
        now_s = int(self._now_s())
        claims = self._custom(custom, client_claims) | {
            "drn": "DS",
            "exp": now_s + settings.session_ttl_s,
            "iat": now_s,
            "iss": self._issuer(),
            "jti": secrets.token_urlsafe(12),
            "permissions": rights.permissions,
            "roles": rights.roles,
            "sub": subject,
            "tenants": rights.tenants,
        }
        if tenant:
            claims["dct"] = tenant
        if settings.session_audience is not None:
            claims["aud"] = settings.session_audience
        return claims

    def _advance(self, chain: Chain, person: Person) -> None:
        """Give the chain its next refresh token; the one before is spent."""
        claims = self._custom({**person.claims, **chain.claims}, chain.client_claims) | {
            "amr": [*chain.factors],
            "drn": "DSR",
            "exp": chain.expires_s,
            "iat": int(self._now_s()),
            "iss": self._issuer(),
            "jti": secrets.token_urlsafe(12),
            "sub": person.id,
        }
        audience = self._settings().refresh_audience
        if audience is not None:
            claims["aud"] = audience
        if chain.newest:
            chain.spent_s[digest(chain.newest)] = self._now_s()
        chain.newest = self._signing.sign(claims)
        self._chains[digest(chain.newest)] = chain

    def _custom(self, custom: Mapping[str, Any], client_claims: Mapping[str, Any]) -> dict[str, Any]:
        claims = {name: value for name, value in custom.items() if name not in SYSTEM_CLAIMS}
        return claims | {"nsec": dict(client_claims)} if client_claims else claims

    def _issuer(self) -> str:
        form = self._settings().issuer
        return self._project_id if form == "id" else f"https://api.descope.com/{self._project_id}"

    def _is_spent(self, chain: Chain, token: str) -> bool:
        settings, spent_s = self._settings(), chain.spent_s.get(digest(token))
        if spent_s is None or settings.refresh_rotation == "off":
            return False
        return settings.refresh_rotation == "on" or self._now_s() - spent_s > settings.grace_s

    def _end(self, chain: Chain) -> None:
        self._chains = {name: one for name, one in self._chains.items() if one is not chain}

    def _sweep(self) -> None:
        # Nobody counts sign-ins of a demo, but a load test makes many: what has expired is of no use to anyone.
        if len(self._chains) >= MANY_CHAINS:
            now_s = self._now_s()
            self._chains = {name: chain for name, chain in self._chains.items() if chain.expires_s > now_s}


def _factors(given: Iterable[str]) -> tuple[str, ...]:
    """Each once and in order; `mfa` stands behind two or more."""
    factors = tuple(dict.fromkeys(one for one in given if one != "mfa"))
    return (*factors, "mfa") if len(factors) > 1 else factors


def _rfc3339(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
