"""Management of access keys. A cleartext leaves once, in the answer that makes it."""

from gateway.emulator.directory import AccessKey, digest, new_cleartext, new_id
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import ApiError, invalid
from gateway.emulator.management_people import require_roles, tenant_roles
from gateway.emulator.networks import is_network
from gateway.emulator.views import access_key_view
from gateway.emulator.wire import Answer, Call, Fields, Serve


def _create(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    person_id = fields.maybe_text("userId")
    if person_id and person_id not in emulator.directory.people:
        raise invalid("There is no user with this 'userId'")
    key = AccessKey(
        new_id("K"),
        fields.text("name"),
        "",
        emulator.now_s(),
        person_id=person_id,
        expires_s=fields.number("expireTime"),
    )
    _fill(emulator, key, fields)
    emulator.directory.access_keys[key.id] = key
    return _with_new_cleartext(emulator, key)


def _with_new_cleartext(emulator: Emulator, key: AccessKey) -> Answer:
    cleartext = new_cleartext(key.id)
    key.digest = digest(cleartext)
    return Answer({"key": access_key_view(key, emulator.now_s()), "cleartext": cleartext})


def _fill(emulator: Emulator, key: AccessKey, fields: Fields) -> None:
    """Take over what is given and leave the rest as it is."""
    roles = require_roles(emulator, fields.texts("roleNames"))
    tenants = tenant_roles(emulator, fields.parts("keyTenants"))
    networks = fields.texts("permittedIps")
    strange = [one for one in networks if not is_network(one)]
    if strange:
        raise invalid(f"'permittedIps' must be addresses or ranges, unlike {', '.join(strange)}")
    claims, attributes = fields.mapping("customClaims"), fields.mapping("customAttributes")
    key.description = fields.maybe_text("description") if "description" in fields else key.description
    key.roles = roles if "roleNames" in fields else key.roles
    key.tenants = tenants if "keyTenants" in fields else key.tenants
    key.permitted_ips = networks if "permittedIps" in fields else key.permitted_ips
    key.claims = claims if "customClaims" in fields else key.claims
    key.attributes = attributes if "customAttributes" in fields else key.attributes


def _key(emulator: Emulator, fields: Fields) -> AccessKey:
    key = emulator.directory.access_keys.get(fields.text("id"))
    if key is None:
        raise ApiError(404, "There is no such access key")
    return key


def _load(emulator: Emulator, call: Call) -> Answer:
    return Answer({"key": access_key_view(_key(emulator, call.queried()), emulator.now_s())})


def _search(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    tenants, bound = fields.texts("tenantIds"), fields.maybe_text("boundUserId")
    found = [
        key
        for key in emulator.directory.access_keys.values()
        if (not tenants or set(tenants).intersection(key.tenants)) and bound in {"", key.person_id}
    ]
    return Answer({"keys": [access_key_view(key, emulator.now_s()) for key in found]})


def _update(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    key = _key(emulator, fields)
    name = fields.text("name")
    _fill(emulator, key, fields)
    key.name = name
    return Answer({"key": access_key_view(key, emulator.now_s())})


def _activate(emulator: Emulator, call: Call) -> Answer:
    _key(emulator, call.fields()).active = True
    return Answer()


def _deactivate(emulator: Emulator, call: Call) -> Answer:
    _key(emulator, call.fields()).active = False
    return Answer()


def _delete(emulator: Emulator, call: Call) -> Answer:
    del emulator.directory.access_keys[_key(emulator, call.fields()).id]
    return Answer()


def _rotate(emulator: Emulator, call: Call) -> Answer:
    return _with_new_cleartext(emulator, _key(emulator, call.fields()))


def access_key_endpoints() -> dict[tuple[str, str], Serve]:
    """By method and path below `/mgmt`."""
    return {
        ("POST", "/accesskey/create"): _create,
        ("GET", "/accesskey"): _load,
        ("POST", "/accesskey/search"): _search,
        ("POST", "/accesskey/update"): _update,
        ("POST", "/accesskey/activate"): _activate,
        ("POST", "/accesskey/deactivate"): _deactivate,
        ("POST", "/accesskey/delete"): _delete,
        ("POST", "/accesskey/rotate"): _rotate,
    }
