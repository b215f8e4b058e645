"""Management of what belongs to the project: tenants, roles and permissions."""

from gateway.emulator.directory import Permission, Role, Tenant, new_id
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import ApiError, invalid
from gateway.emulator.management_people import require_tenant
from gateway.emulator.views import permission_view, role_view, tenant_view
from gateway.emulator.wire import Answer, Call, Fields, Serve


def _create_tenant(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    tenant = Tenant(fields.maybe_text("id") or new_id("T"), fields.text("name"), emulator.now_s())
    if tenant.id in emulator.directory.tenants:
        raise invalid(f"There is a tenant {tenant.id!r} already")
    _fill_tenant(tenant, fields)
    emulator.directory.tenants[tenant.id] = tenant
    return Answer({"id": tenant.id})


def _update_tenant(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    tenant = _tenant(emulator, fields)
    tenant.name = fields.text("name")
    _fill_tenant(tenant, fields)
    return Answer()


def _fill_tenant(tenant: Tenant, fields: Fields) -> None:
    tenant.domains = fields.texts("selfProvisioningDomains")
    tenant.attributes = fields.mapping("customAttributes")
    tenant.disabled = fields.flag("disabled")


def _tenant(emulator: Emulator, fields: Fields) -> Tenant:
    tenant = emulator.directory.tenants.get(fields.text("id"))
    if tenant is None:
        raise ApiError(404, "There is no such tenant")
    return tenant


def _load_tenant(emulator: Emulator, call: Call) -> Answer:
    return Answer(tenant_view(_tenant(emulator, call.queried())))


def _all_tenants(emulator: Emulator, _call: Call) -> Answer:
    return Answer({"tenants": [tenant_view(tenant) for tenant in emulator.directory.tenants.values()]})


def _search_tenants(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    ids, names = fields.texts("tenantIds"), fields.texts("tenantNames")
    domains = fields.texts("tenantSelfProvisioningDomains")
    attributes = fields.mapping("customAttributes")
    found = [
        tenant
        for tenant in emulator.directory.tenants.values()
        if (not ids or tenant.id in ids)
        and (not names or tenant.name in names)
        and (not domains or set(domains).intersection(tenant.domains))
        and all(tenant.attributes.get(name) == value for name, value in attributes.items())
    ]
    return Answer({"tenants": [tenant_view(tenant) for tenant in found]})


def _delete_tenant(emulator: Emulator, call: Call) -> Answer:
    emulator.directory.remove_tenant(_tenant(emulator, call.fields()).id)
    return Answer()


def _create_permission(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    permission = Permission(new_id("PR"), fields.text("name"), fields.maybe_text("description"))
    if permission.name in emulator.directory.permissions:
        raise invalid(f"There is a permission {permission.name!r} already")
    emulator.directory.permissions[permission.name] = permission
    return Answer(permission_view(permission))


def _permission(emulator: Emulator, fields: Fields) -> Permission:
    wanted = fields.maybe_text("id")
    for permission in emulator.directory.permissions.values():
        if permission.id == wanted if wanted else permission.name == fields.text("name"):
            return permission
    raise ApiError(404, "There is no such permission")


def _update_permission(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    permission = _permission(emulator, fields)
    name = fields.text("newName")
    if name != permission.name and name in emulator.directory.permissions:
        raise invalid(f"There is a permission {name!r} already")
    permission.description = fields.maybe_text("description")
    emulator.directory.rename_permission(permission, name)
    return Answer(permission_view(permission))


def _delete_permission(emulator: Emulator, call: Call) -> Answer:
    emulator.directory.remove_permission(_permission(emulator, call.fields()).name)
    return Answer()


def _all_permissions(emulator: Emulator, _call: Call) -> Answer:
    return Answer({"permissions": [permission_view(one) for one in emulator.directory.permissions.values()]})


def _create_role(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    tenant = fields.maybe_text("tenantId")
    if tenant:
        require_tenant(emulator, tenant)
    role = Role(new_id("RL"), fields.text("name"), emulator.now_s(), tenant=tenant)
    if (tenant, role.name) in emulator.directory.roles:
        raise invalid(f"There is a role {role.name!r} already")
    _fill_role(emulator, role, fields)
    emulator.directory.roles[tenant, role.name] = role
    return Answer(role_view(role))


def _fill_role(emulator: Emulator, role: Role, fields: Fields) -> None:
    names = fields.texts("permissionNames")
    unknown = [name for name in names if name not in emulator.directory.permissions]
    if unknown:
        raise invalid(f"There is no permission {', '.join(unknown)}")
    role.permissions, role.description = names, fields.maybe_text("description")
    role.is_default, role.is_private = fields.flag("default"), fields.flag("private")


def _role(emulator: Emulator, fields: Fields) -> Role:
    wanted, tenant = fields.maybe_text("id"), fields.maybe_text("tenantId")
    for role in emulator.directory.roles.values():
        if role.id == wanted if wanted else (role.tenant, role.name) == (tenant, fields.text("name")):
            return role
    raise ApiError(404, "There is no such role")


def _update_role(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    role = _role(emulator, fields)
    name = fields.text("newName")
    if name != role.name and (role.tenant, name) in emulator.directory.roles:
        raise invalid(f"There is a role {name!r} already")
    _fill_role(emulator, role, fields)
    emulator.directory.rename_role(role, name)
    return Answer(role_view(role))


def _delete_role(emulator: Emulator, call: Call) -> Answer:
    emulator.directory.remove_role(_role(emulator, call.fields()))
    return Answer()


def _all_roles(emulator: Emulator, _call: Call) -> Answer:
    return Answer({"roles": [role_view(role) for role in emulator.directory.roles.values()]})


def _search_roles(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    tenants, names, ids = fields.texts("tenantIds"), fields.texts("roleNames"), fields.texts("roleIds")
    like, permissions = fields.maybe_text("roleNameLike").casefold(), set(fields.texts("permissionNames"))
    # Roles of the project are left out where tenants are asked for, unless they are asked for as well.
    of_project = not tenants or fields.flag("includeProjectRoles")
    found = [
        role
        for role in emulator.directory.roles.values()
        if (role.tenant in tenants or not tenants or (of_project and not role.tenant))
        and (not names or role.name in names)
        and (not ids or role.id in ids)
        and like in role.name.casefold()
        and permissions.issubset(role.permissions)
    ]
    return Answer({"roles": [role_view(role) for role in found]})


def project_endpoints() -> dict[tuple[str, str], Serve]:
    """By method and path below `/mgmt`."""
    return {
        ("POST", "/tenant/create"): _create_tenant,
        ("POST", "/tenant/update"): _update_tenant,
        ("POST", "/tenant/delete"): _delete_tenant,
        ("GET", "/tenant"): _load_tenant,
        ("GET", "/tenant/all"): _all_tenants,
        ("POST", "/tenant/search"): _search_tenants,
        ("POST", "/permission/create"): _create_permission,
        ("POST", "/permission/update"): _update_permission,
        ("POST", "/permission/delete"): _delete_permission,
        ("GET", "/permission/all"): _all_permissions,
        ("POST", "/role/create"): _create_role,
        ("POST", "/role/update"): _update_role,
        ("POST", "/role/delete"): _delete_role,
        ("GET", "/role/all"): _all_roles,
        ("POST", "/role/search"): _search_roles,
    }
