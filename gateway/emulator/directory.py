"""People, tenants, roles, permissions and access keys, and what each of them may do. In memory only."""

import hashlib
import secrets
import string
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.emulator.channels import compared
from gateway.emulator.passwords import PasswordHash

Status = Literal["enabled", "disabled", "invited", "expired"]
Sso = Literal["none", "saml", "oidc"]
_ALPHABET = string.digits + string.ascii_letters
_ID_CHARS = 26
REMEMBERED_LOGINS = 50
PROFILE_FIELDS = ("name", "givenName", "middleName", "familyName", "email", "phone", "picture")


@dataclass(slots=True)
class Login:
    """One sign-in, for a person's history."""

    at_s: float
    address: str


@dataclass(slots=True)
class Authenticator:
    """A person's authenticator app.

    key: the secret that counts, base32. offered: one that was shown and counts from the first code made with it.
    last_step: the time step of the last code taken, so that none is taken twice.
    """

    key: str = field(default="", repr=False)
    offered: str = field(default="", repr=False)
    last_step: int = -1


@dataclass(slots=True)
class Person:
    """Somebody who can sign in. `profile` has what Descope calls name, givenName, email, phone, picture and so on."""

    id: str
    login_ids: list[str]
    created_s: float
    profile: dict[str, Any] = field(default_factory=dict)
    password: PasswordHash | None = None
    status: Status = "enabled"
    roles: list[str] = field(default_factory=list)
    tenants: dict[str, list[str]] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    is_test: bool = False
    authenticator: Authenticator = field(default_factory=Authenticator)
    providers: set[str] = field(default_factory=set)
    has_sso: bool = False
    logins: deque[Login] = field(default_factory=lambda: deque(maxlen=REMEMBERED_LOGINS))


@dataclass(slots=True)
class Tenant:
    """A customer."""

    id: str
    name: str
    created_s: float
    domains: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    disabled: bool = False
    sso: Sso = "none"


@dataclass(slots=True)
class Permission:
    """Something that a role may allow."""

    id: str
    name: str
    description: str = ""


@dataclass(slots=True)
class Role:
    """A named set of permissions; `tenant` is empty for a role of the whole project."""

    id: str
    name: str
    created_s: float
    description: str = ""
    permissions: list[str] = field(default_factory=list)
    tenant: str = ""
    is_default: bool = False
    is_private: bool = False


@dataclass(slots=True)
class AccessKey:
    """A program's credential, known by the digest of its cleartext."""

    id: str
    name: str
    digest: str
    created_s: float
    description: str = ""
    roles: list[str] = field(default_factory=list)
    tenants: dict[str, list[str]] = field(default_factory=dict)
    person_id: str = ""
    expires_s: int = 0
    permitted_ips: list[str] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    active: bool = True


@dataclass(frozen=True, slots=True)
class Rights:
    """What goes into a token: project roles and permissions, and those of each tenant."""

    roles: list[str]
    permissions: list[str]
    tenants: dict[str, dict[str, list[str]]]


class Directory:
    """Everything the project knows, by id. What is removed leaves no name behind in the others."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        self.tenants: dict[str, Tenant] = {}
        self.roles: dict[tuple[str, str], Role] = {}
        self.permissions: dict[str, Permission] = {}
        self.access_keys: dict[str, AccessKey] = {}

    def person_by_login(self, login_id: str) -> Person | None:
        """Who signs in by this id, regardless of case and of what stands between the digits of a phone number."""
        wanted = compared(login_id)
        return next((one for one in self.people.values() if wanted in map(compared, one.login_ids)), None)

    def merge(self, kept: Person, other: Person) -> None:
        """Give all that `other` signs in by and may do to `kept`, and forget `other`."""
        kept.login_ids = list(dict.fromkeys([*kept.login_ids, *other.login_ids]))
        kept.roles = list(dict.fromkeys([*kept.roles, *other.roles]))
        for tenant, names in other.tenants.items():
            kept.tenants[tenant] = list(dict.fromkeys([*kept.tenants.get(tenant, []), *names]))
        kept.providers |= other.providers
        self.people.pop(other.id, None)

    def tenant_by(self, word: str) -> Tenant | None:
        """The tenant of this id, this name or this e-mail domain; an e-mail address stands for its domain."""
        domain = word.rpartition("@")[2].casefold()
        named = self.tenants.get(word) or next((one for one in self.tenants.values() if one.name == word), None)
        return named or next(
            (one for one in self.tenants.values() if domain in map(str.casefold, one.domains)),
            None,
        )

    def key_by_cleartext(self, cleartext: str) -> AccessKey | None:
        """The access key with this cleartext."""
        wanted = digest(cleartext)
        return next((key for key in self.access_keys.values() if secrets.compare_digest(key.digest, wanted)), None)

    def has_role(self, name: str, tenant: str = "") -> bool:
        """Whether the project, or this tenant, has such a role."""
        return ("", name) in self.roles or (tenant, name) in self.roles

    def rights(self, roles: Sequence[str], tenants: Mapping[str, Sequence[str]]) -> Rights:
        """The roles with the permissions they bring; a tenant without roles is there with nothing in it."""
        return Rights(
            roles=sorted(roles),
            permissions=self.permissions_of(roles),
            tenants={
                tenant: {"permissions": self.permissions_of(names, tenant), "roles": sorted(names)} if names else {}
                for tenant, names in sorted(tenants.items())
            },
        )

    def permissions_of(self, roles: Iterable[str], tenant: str = "") -> list[str]:
        """What these roles allow together, sorted."""
        found = (self.roles.get((tenant, name)) or self.roles.get(("", name)) for name in roles)
        return sorted({permission for role in found if role is not None for permission in role.permissions})

    def remove_tenant(self, tenant_id: str) -> None:
        """Forget a tenant, its roles and everybody's membership."""
        self.tenants.pop(tenant_id, None)
        for key in [key for key in self.roles if key[0] == tenant_id]:
            del self.roles[key]
        for holder in self._holders():
            holder.tenants.pop(tenant_id, None)

    def rename_role(self, role: Role, name: str) -> None:
        """Give a role another name wherever it is held."""
        del self.roles[role.tenant, role.name]
        self._replace_role(role, [name])
        role.name = name
        self.roles[role.tenant, name] = role

    def remove_role(self, role: Role) -> None:
        """Forget a role and take it from everybody."""
        del self.roles[role.tenant, role.name]
        self._replace_role(role, [])

    def rename_permission(self, permission: Permission, name: str) -> None:
        """Give a permission another name in every role."""
        del self.permissions[permission.name]
        for role in self.roles.values():
            role.permissions = [name if one == permission.name else one for one in role.permissions]
        permission.name = name
        self.permissions[name] = permission

    def remove_permission(self, name: str) -> None:
        """Forget a permission and take it from every role."""
        del self.permissions[name]
        for role in self.roles.values():
            role.permissions = [one for one in role.permissions if one != name]

    def _holders(self) -> list[Person | AccessKey]:
        return [*self.people.values(), *self.access_keys.values()]

    def _replace_role(self, role: Role, names: list[str]) -> None:
        for holder in self._holders():
            if not role.tenant:
                holder.roles = _replaced(holder.roles, role.name, names)
            for tenant, held in holder.tenants.items():
                if role.tenant in {"", tenant}:
                    holder.tenants[tenant] = _replaced(held, role.name, names)


def new_id(prefix: str) -> str:
    """A fresh id in the shape of Descope's: the prefix, a 2 and 26 letters or digits."""
    return f"{prefix}2" + "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARS))


def fixed_id(prefix: str, *names: str) -> str:
    """The id that these names always get, so that a seeded person keeps it from start to start."""
    number = int.from_bytes(hashlib.sha256("\n".join(names).encode()).digest())
    return f"{prefix}2" + "".join(_ALPHABET[number // 62**place % 62] for place in range(_ID_CHARS))


def digest(cleartext: str) -> str:
    """What is kept of a random credential instead of itself."""
    return hashlib.sha256(cleartext.encode("utf-8", "surrogatepass")).hexdigest()


def new_cleartext(key_id: str) -> str:
    """A fresh access key secret for this id."""
    return key_id + secrets.token_urlsafe(32).replace("-", "x").replace("_", "y")


def _replaced(held: Iterable[str], old: str, new: list[str]) -> list[str]:
    return [name for one in held for name in (new if one == old else [one])]
