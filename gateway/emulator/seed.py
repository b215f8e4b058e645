"""The seed file: who and what the emulator knows when it starts."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, SecretStr, ValidationError, model_validator

from gateway.emulator.channels import compared, is_email, is_phone
from gateway.emulator.networks import is_network
from gateway.emulator.passwords import broken_rules
from gateway.emulator.settings import PasswordPolicy, Settings, Strict, problems

# Those that Descope's JavaScript SDK has methods for.
KNOWN_PROVIDERS = ("google", "github", "microsoft", "apple", "gitlab", "facebook", "discord", "linkedin", "slack")


class SeedError(Exception):
    """The seed file cannot be used; the message names the file and every problem."""


class SeedPermission(Strict):
    """Something that a role may allow."""

    name: str = Field(min_length=1)
    description: str = ""


class SeedRole(Strict):
    """A named set of permissions, for the project or for one tenant."""

    name: str = Field(min_length=1)
    description: str = ""
    permissions: list[str] = Field(default_factory=list)
    tenant: str | None = None


class SeedTenant(Strict):
    """A customer."""

    id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    domains: list[str] = Field(default_factory=list)
    attributes: dict[str, Any] = Field(default_factory=dict)
    # Whether its people sign in at an identity provider of its own; the emulator plays that, too.
    sso: Literal["none", "saml", "oidc"] = "none"


class SeedPerson(Strict):
    """Somebody who can sign in."""

    login_id: str = Field(min_length=1)
    more_login_ids: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    id: str | None = Field(default=None, pattern=r"^U2[A-Za-z0-9]{20,}$")
    name: str = ""
    email: str = ""
    phone: str = ""
    password: SecretStr | None = None
    # The key of an authenticator app, base32.
    totp_key: SecretStr | None = None
    status: Literal["enabled", "disabled", "invited"] = "enabled"
    roles: list[str] = Field(default_factory=list)
    tenants: dict[str, list[str]] = Field(default_factory=dict)
    claims: dict[str, Any] = Field(default_factory=dict)
    attributes: dict[str, Any] = Field(default_factory=dict)


class SeedAccessKey(Strict):
    """A program's credential. `user` binds it to a person, whose rights and status it then has."""

    id: str = Field(pattern=r"^K2[A-Za-z0-9]{20,}$")
    name: str = Field(min_length=1)
    cleartext: SecretStr
    description: str = ""
    roles: list[str] = Field(default_factory=list)
    tenants: dict[str, list[str]] = Field(default_factory=dict)
    user: str | None = None
    expires_at: int = Field(default=0, ge=0)
    permitted_ips: list[str] = Field(default_factory=list)
    claims: dict[str, Any] = Field(default_factory=dict)
    active: bool = True


class Seed(Strict):
    """All of the seed file. Passwords and keys stay readable here, for whoever prints them; the emulator keeps none."""

    project_id: str = Field(pattern=r"^P[A-Za-z0-9]{27,39}$")
    management_key: SecretStr
    settings: Settings = Settings()
    password_policy: PasswordPolicy = PasswordPolicy()
    permissions: list[SeedPermission] = Field(default_factory=list)
    roles: list[SeedRole] = Field(default_factory=list)
    tenants: list[SeedTenant] = Field(default_factory=list)
    oauth_providers: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]] = Field(
        default_factory=lambda: [*KNOWN_PROVIDERS]
    )
    people: list[SeedPerson] = Field(default_factory=list)
    access_keys: list[SeedAccessKey] = Field(default_factory=list)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        found = [*self._twins(), *self._strangers(), *self._weak_passwords(), *self._no_addresses()]
        if found:
            raise ValueError("; ".join(found))
        return self

    def _twins(self) -> Iterable[str]:
        yield from _twice("permission", (one.name for one in self.permissions))
        yield from _twice("role", ((one.name, one.tenant) for one in self.roles))
        yield from _twice("tenant", (one.id for one in self.tenants))
        login_ids = (one for person in self.people for one in (person.login_id, *person.more_login_ids))
        yield from _twice("login_id", (compared(one) for one in login_ids))
        yield from _twice("domain of a tenant", (one.casefold() for tenant in self.tenants for one in tenant.domains))
        yield from _twice("oauth_providers:", self.oauth_providers)
        yield from _twice("id of a person", (one.id for one in self.people if one.id))
        yield from _twice("access key id", (one.id for one in self.access_keys))
        if len({one.cleartext.get_secret_value() for one in self.access_keys}) < len(self.access_keys):
            yield "two access keys have the same cleartext"
        if not self.management_key.get_secret_value():
            yield "management_key is empty"
        for key in self.access_keys:
            yield from (
                f"{key.name}: {address!r} in permitted_ips is neither an address nor a range"
                for address in key.permitted_ips
                if not is_network(address)
            )
        yield from (f"{key.name}: the cleartext is empty" for key in self.access_keys if not key.cleartext)

    def _strangers(self) -> Iterable[str]:
        permissions = {one.name for one in self.permissions}
        tenants = {one.id for one in self.tenants}
        logins = {one.login_id for one in self.people}
        for role in self.roles:
            yield from (
                f"role {role.name}: no permission {name!r}" for name in role.permissions if name not in permissions
            )
            if role.tenant is not None and role.tenant not in tenants:
                yield f"role {role.name}: no tenant {role.tenant!r}"
        holders: list[SeedPerson | SeedAccessKey] = [*self.people, *self.access_keys]
        for holder in holders:
            who = holder.login_id if isinstance(holder, SeedPerson) else holder.name
            yield from (f"{who}: no role {name!r}" for name in holder.roles if not self._has_role(name, None))
            for tenant, names in holder.tenants.items():
                if tenant not in tenants:
                    yield f"{who}: no tenant {tenant!r}"
                yield from (
                    f"{who}: no role {name!r} for {tenant}" for name in names if not self._has_role(name, tenant)
                )
        yield from (
            f"{key.name}: nobody has login_id {key.user!r}"
            for key in self.access_keys
            if key.user not in {None, *logins}
        )

    def _weak_passwords(self) -> Iterable[str]:
        for person in self.people:
            if person.password is not None:
                broken = broken_rules(self.password_policy, person.password.get_secret_value())
                yield from (f"{person.login_id}: the password needs {rule}" for rule in broken)

    def _no_addresses(self) -> Iterable[str]:
        for person in self.people:
            if person.email and not is_email(person.email):
                yield f"{person.login_id}: {person.email!r} is no e-mail address"
            if person.phone and not is_phone(person.phone):
                yield f"{person.login_id}: {person.phone!r} is no phone number, such as +12025550100"
            if person.totp_key is not None and not _is_base32(person.totp_key.get_secret_value()):
                yield f"{person.login_id}: totp_key must be base32, 16 letters A-Z and digits 2-7 or more"

    def _has_role(self, name: str, tenant: str | None) -> bool:
        return any(role.name == name and role.tenant in {None, tenant} for role in self.roles)


def load_seed(path: Path) -> Seed:
    """The seed in this file, or SeedError with every problem."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _OneOfEachLoader)  # noqa: S506 - a SafeLoader's child
    except OSError as err:
        raise SeedError(f"{path}: cannot be read: {err.strerror or err}") from err
    except UnicodeDecodeError as err:
        raise SeedError(f"{path}: is not UTF-8 text") from err
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else f"{path}"
        # `from None`, here and below: the cause would print what stands in the file, passwords included.
        raise SeedError(f"{where}: is not YAML: {err.problem}") from None
    except yaml.YAMLError:
        raise SeedError(f"{path}: is not YAML: it has characters that may not stand in it") from None
    if not isinstance(raw, dict):
        raise SeedError(f"{path}: must be a mapping with project_id, management_key, people, ...")
    try:
        return Seed.model_validate(raw)
    except ValidationError as err:
        raise SeedError("\n".join(f"{path}: {problem}" for problem in problems(err))) from None


def _is_base32(text: str) -> bool:
    return re.fullmatch(r"[A-Z2-7]{16,}", text) is not None


def _twice(kind: str, names: Iterable[Hashable]) -> Iterable[str]:
    return (f"{kind} {name!r} appears {count} times" for name, count in Counter(names).items() if count > 1)


class _OneOfEachLoader(yaml.SafeLoader):
    """Refuses a mapping with a key twice, where plain YAML lets the last one win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in keys.items():
            if count > 1 and key != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} appears twice", node.start_mark)
        return super().construct_mapping(node, deep)
