"""How people, tenants, roles and keys look in Descope's answers."""

from typing import Any

from gateway.emulator.directory import PROFILE_FIELDS, AccessKey, Directory, Permission, Person, Role, Tenant


def person_view(directory: Directory, person: Person) -> dict[str, Any]:
    """Descope's UserResponse."""
    texts = {name: person.profile.get(name, "") for name in PROFILE_FIELDS}
    return texts | {
        "loginIds": [*person.login_ids],
        "externalIds": [*person.login_ids],
        "userId": person.id,
        "verifiedEmail": bool(person.profile.get("verifiedEmail")),
        "verifiedPhone": bool(person.profile.get("verifiedPhone")),
        "roleNames": [*person.roles],
        "permissions": directory.permissions_of(person.roles),
        "userTenants": [
            {
                "tenantId": tenant,
                "tenantName": directory.tenants[tenant].name,
                "roleNames": [*roles],
                "permissions": directory.permissions_of(roles, tenant),
            }
            for tenant, roles in person.tenants.items()
        ],
        "status": person.status,
        "test": person.is_test,
        "customAttributes": person.attributes,
        "createdTime": int(person.created_s),
        "password": person.password is not None,
        "TOTP": bool(person.authenticator.key),
        "SAML": person.has_sso,
        "OIDC": False,
        "SCIM": False,
        "OAuth": dict.fromkeys(sorted(person.providers), True),
        "webauthn": False,
        "push": False,
        "ssoAppIds": [],
        "editable": True,
    }


def tenant_view(tenant: Tenant) -> dict[str, Any]:
    """A tenant as management shows it."""
    return {
        "id": tenant.id,
        "name": tenant.name,
        "selfProvisioningDomains": [*tenant.domains],
        "customAttributes": tenant.attributes,
        "authType": tenant.sso,
        "disabled": tenant.disabled,
        "createdTime": int(tenant.created_s),
    }


def role_view(role: Role) -> dict[str, Any]:
    """A role as management shows it."""
    return {
        "id": role.id,
        "name": role.name,
        "description": role.description,
        "permissionNames": [*role.permissions],
        "tenantId": role.tenant,
        "default": role.is_default,
        "private": role.is_private,
        "createdTime": int(role.created_s),
    }


def permission_view(permission: Permission) -> dict[str, Any]:
    """A permission as management shows it."""
    return {
        "id": permission.id,
        "name": permission.name,
        "description": permission.description,
        "systemDefault": False,
    }


def access_key_view(key: AccessKey, now_s: float) -> dict[str, Any]:
    """An access key as management shows it; never its cleartext."""
    expired = bool(key.expires_s) and key.expires_s <= now_s
    return {
        "id": key.id,
        "clientId": key.id,
        "name": key.name,
        "description": key.description,
        "roleNames": [*key.roles],
        "keyTenants": [{"tenantId": tenant, "roleNames": [*roles]} for tenant, roles in key.tenants.items()],
        "boundUserId": key.person_id,
        "status": "expired" if expired else "active" if key.active else "inactive",
        "createdTime": int(key.created_s),
        "expireTime": key.expires_s,
        "permittedIps": [*key.permitted_ips],
        "customClaims": key.claims,
        "customAttributes": key.attributes,
        "createdBy": "emulator",
    }
