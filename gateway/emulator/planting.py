"""From seed to directory. Passwords and access keys are hashed on the way; of secrets only authenticators' stay."""

from gateway.emulator.directory import (
    AccessKey,
    Authenticator,
    Directory,
    Permission,
    Person,
    Role,
    Tenant,
    digest,
    fixed_id,
)
from gateway.emulator.passwords import hashed
from gateway.emulator.seed import Seed, SeedAccessKey, SeedPerson


def planted(seed: Seed, now_s: float) -> Directory:
    """A directory with everything the seed names."""
    directory = Directory()
    for permission in seed.permissions:
        permission_id = fixed_id("PR", seed.project_id, permission.name)
        directory.permissions[permission.name] = Permission(permission_id, permission.name, permission.description)
    for role in seed.roles:
        role_id = fixed_id("RL", seed.project_id, role.tenant or "", role.name)
        made = Role(role_id, role.name, now_s, role.description, [*role.permissions], role.tenant or "")
        directory.roles[made.tenant, made.name] = made
    for tenant in seed.tenants:
        directory.tenants[tenant.id] = Tenant(
            tenant.id, tenant.name, now_s, [*tenant.domains], {**tenant.attributes}, sso=tenant.sso
        )
    for one in seed.people:
        person = _person(seed.project_id, one, now_s)
        directory.people[person.id] = person
    for key in seed.access_keys:
        owner = directory.person_by_login(key.user) if key.user else None
        directory.access_keys[key.id] = _access_key(key, owner.id if owner else "", now_s)
    return directory


def _person(project_id: str, one: SeedPerson, now_s: float) -> Person:
    named = {"name": one.name, "email": one.email, "phone": one.phone}
    profile: dict[str, object] = {field: value for field, value in named.items() if value}
    if one.email:
        profile["verifiedEmail"] = True
    if one.phone:
        profile["verifiedPhone"] = True
    return Person(
        id=one.id or fixed_id("U", project_id, one.login_id),
        login_ids=[one.login_id, *one.more_login_ids],
        created_s=now_s,
        profile=profile,
        password=hashed(one.password.get_secret_value()) if one.password is not None else None,
        status=one.status,
        roles=[*one.roles],
        tenants={tenant: [*roles] for tenant, roles in one.tenants.items()},
        claims={**one.claims},
        attributes={**one.attributes},
        authenticator=Authenticator(one.totp_key.get_secret_value() if one.totp_key is not None else ""),
    )


def _access_key(key: SeedAccessKey, person_id: str, now_s: float) -> AccessKey:
    return AccessKey(
        id=key.id,
        name=key.name,
        digest=digest(key.cleartext.get_secret_value()),
        created_s=now_s,
        description=key.description,
        roles=[*key.roles],
        tenants={tenant: [*roles] for tenant, roles in key.tenants.items()},
        person_id=person_id,
        expires_s=key.expires_at,
        permitted_ips=[*key.permitted_ips],
        claims={**key.claims},
        active=key.active,
    )
