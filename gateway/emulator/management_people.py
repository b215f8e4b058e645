"""Management of people."""

from collections.abc import Callable
from typing import Any, get_args

from gateway.emulator.directory import PROFILE_FIELDS, Authenticator, Person, Status, new_id
from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import NO_SUCH_PERSON, ApiError, already_exists, invalid, missing
from gateway.emulator.invitations import Invitation, invitation_of, invite
from gateway.emulator.passwords import expired, hashed, require_policy
from gateway.emulator.views import person_view
from gateway.emulator.wire import Answer, Call, Fields, Serve

_STATUSES: tuple[Status, ...] = get_args(Status)
_PROFILE_FLAGS = ("verifiedEmail", "verifiedPhone")
_DEFAULT_PAGE = 100


def person_of(emulator: Emulator, fields: Fields) -> Person:
    """The person that `loginId` or `userId` names, or ApiError."""
    login_id, user_id = fields.maybe_text("loginId"), fields.maybe_text("userId")
    if not login_id and not user_id:
        raise missing("loginId")
    person = emulator.directory.person_by_login(login_id) if login_id else emulator.directory.people.get(user_id)
    if person is None:
        raise ApiError(404, "There is no such user", code=NO_SUCH_PERSON)
    return person


def require_roles(emulator: Emulator, names: list[str], tenant: str = "") -> list[str]:
    """The same names, or ApiError naming those that are no role of the project or the tenant."""
    unknown = [name for name in names if not emulator.directory.has_role(name, tenant)]
    if unknown:
        raise invalid(f"There is no role {', '.join(unknown)}")
    return names


def tenant_roles(emulator: Emulator, parts: list[Fields]) -> dict[str, list[str]]:
    """Roles by tenant, from `[{tenantId, roleNames}]`."""
    found: dict[str, list[str]] = {}
    for part in parts:
        tenant = require_tenant(emulator, part.text("tenantId"))
        found[tenant] = require_roles(emulator, part.texts("roleNames"), tenant)
    return found


def require_tenant(emulator: Emulator, tenant: str) -> str:
    """The same id, or ApiError."""
    if tenant not in emulator.directory.tenants:
        raise invalid(f"There is no tenant {tenant!r}")
    return tenant


def _view(emulator: Emulator, person: Person) -> Answer:
    return Answer({"user": person_view(emulator.directory, person)})


def _create(emulator: Emulator, call: Call) -> Answer:
    return _view(emulator, _created(emulator, call.fields(), is_test=False))


def _create_test(emulator: Emulator, call: Call) -> Answer:
    return _view(emulator, _created(emulator, call.fields(), is_test=True))


def _create_batch(emulator: Emulator, call: Call) -> Answer:
    """Each on its own: who cannot be created stands among the failed, and the others are there."""
    fields = call.fields()
    shared = {name: value for name, value in fields.given().items() if name != "users"}
    created, failed = [], []
    for user in fields.parts("users"):
        try:
            created.append(person_view(emulator.directory, _created(emulator, Fields(shared | user.given()))))
        except ApiError as err:
            failed.append({"failure": err.description, "user": {"loginId": user.maybe_text("loginId")}})
    return Answer({"createdUsers": created, "failedUsers": failed})


def _created(emulator: Emulator, fields: Fields, *, is_test: bool = False) -> Person:
    login_ids = [fields.text("loginId"), *fields.texts("additionalLoginIds")]
    if any(emulator.directory.person_by_login(login_id) for login_id in login_ids):
        raise already_exists()
    person = Person(new_id("U"), login_ids, emulator.now_s(), is_test=is_test or fields.flag("test"))
    _fill(emulator, person, fields)
    password = fields.maybe_text("password")
    if password:
        require_policy(emulator.password_policy, password)
        person.password = hashed(password)
    invitation: Invitation | None = None
    if fields.flag("invite"):
        person.status = "invited"
        invitation = invitation_of(emulator, person, fields)
    if "status" in fields:
        person.status = _status(fields)
    emulator.directory.people[person.id] = person
    if invitation is not None:
        invite(emulator, person, invitation)
    return person


def _update(emulator: Emulator, call: Call) -> Answer:
    # As in Descope, an update says everything anew: what it leaves out is emptied.
    fields = call.fields()
    person = person_of(emulator, fields)
    _fill(emulator, person, fields)
    return _view(emulator, person)


def _fill(emulator: Emulator, person: Person, fields: Fields) -> None:
    profile: dict[str, Any] = {name: fields.maybe_text(name) for name in PROFILE_FIELDS if name in fields}
    if "displayName" in fields:
        profile["name"] = fields.maybe_text("displayName")
    profile |= {name: fields.flag(name) for name in _PROFILE_FLAGS if name in fields}
    roles = require_roles(emulator, fields.texts("roleNames"))
    tenants = tenant_roles(emulator, fields.parts("userTenants"))
    attributes = fields.mapping("customAttributes")
    person.profile, person.roles, person.tenants, person.attributes = profile, roles, tenants, attributes


def _load(emulator: Emulator, call: Call) -> Answer:
    return _view(emulator, person_of(emulator, call.queried()))


def _search(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    found = [one for one in emulator.directory.people.values() if _is_wanted(one, fields)]
    limit = fields.number("limit") or _DEFAULT_PAGE
    start = fields.number("page") * limit
    users = [person_view(emulator.directory, one) for one in found[start : start + limit]]
    return Answer({"users": users, "total": len(found)})


def _search_test(emulator: Emulator, call: Call) -> Answer:
    found = [one for one in emulator.directory.people.values() if one.is_test and _is_wanted(one, call.fields())]
    return Answer({"users": [person_view(emulator.directory, one) for one in found], "total": len(found)})


def _is_wanted(person: Person, fields: Fields) -> bool:
    text = fields.maybe_text("text").casefold()
    words = [*person.login_ids, person.profile.get("name", ""), person.profile.get("email", "")]
    has = {
        "tenantIds": set(person.tenants),
        "roleNames": {*person.roles, *(name for names in person.tenants.values() for name in names)},
        "loginIds": set(person.login_ids),
        "userIds": {person.id},
        "emails": {person.profile.get("email", "")},
        "phones": {person.profile.get("phone", "")},
        "statuses": {person.status},
    }
    if person.is_test and not (fields.flag("testUsersOnly") or fields.flag("withTestUser")):
        return False
    if fields.flag("testUsersOnly") and not person.is_test:
        return False
    if text and not any(text in str(word).casefold() for word in words):
        return False
    attributes = fields.mapping("customAttributes")
    if any(person.attributes.get(name) != value for name, value in attributes.items()):
        return False
    return all(not fields.texts(name) or held.intersection(fields.texts(name)) for name, held in has.items())


def _update_status(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    person = person_of(emulator, fields)
    person.status = _status(fields)
    return _view(emulator, person)


def _status(fields: Fields) -> Status:
    status = fields.text("status")
    for known in _STATUSES:
        if status == known:
            return known
    raise invalid(f"The field 'status' must be one of {', '.join(_STATUSES)}")


def _delete(emulator: Emulator, call: Call) -> Answer:
    person = person_of(emulator, call.fields())
    emulator.sessions.end_person(person.id)
    del emulator.directory.people[person.id]
    return Answer()


def _delete_test(emulator: Emulator, call: Call) -> Answer:
    for person in [one for one in emulator.directory.people.values() if one.is_test]:
        emulator.sessions.end_person(person.id)
        del emulator.directory.people[person.id]
    return Answer()


def _change_roles(change: Callable[[list[str], list[str]], list[str]]) -> Serve:
    """Roles of the project, or with `tenantId` of that tenant, changed from the held and the given names."""

    def serve(emulator: Emulator, call: Call) -> Answer:
        fields = call.fields()
        person = person_of(emulator, fields)
        tenant = fields.maybe_text("tenantId")
        names = require_roles(emulator, fields.texts("roleNames"), tenant)
        if not tenant:
            person.roles = change(person.roles, names)
        elif tenant in person.tenants:
            person.tenants[tenant] = change(person.tenants[tenant], names)
        else:
            raise invalid(f"The user does not belong to the tenant {tenant!r}")
        return _view(emulator, person)

    return serve


def _add_tenant(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    person = person_of(emulator, fields)
    person.tenants.setdefault(require_tenant(emulator, fields.text("tenantId")), [])
    return _view(emulator, person)


def _remove_tenant(emulator: Emulator, call: Call) -> Answer:
    fields = call.fields()
    person = person_of(emulator, fields)
    person.tenants.pop(require_tenant(emulator, fields.text("tenantId")), None)
    return _view(emulator, person)


def _logout(emulator: Emulator, call: Call) -> Answer:
    emulator.sessions.end_person(person_of(emulator, call.fields()).id)
    return Answer()


def _set_password(*, active: bool | None) -> Serve:
    """A new password; unless it is active its owner has to replace it at the next sign-in. None: `setActive` says."""

    def serve(emulator: Emulator, call: Call) -> Answer:
        fields = call.fields()
        person = person_of(emulator, fields)
        password = fields.text("password")
        require_policy(emulator.password_policy, password)
        is_active = fields.flag("setActive") if active is None else active
        person.password = hashed(password, must_replace=not is_active)
        return Answer()

    return serve


def _expire_password(emulator: Emulator, call: Call) -> Answer:
    person = person_of(emulator, call.fields())
    if person.password is None:
        raise invalid("The user has no password")
    person.password = expired(person.password)
    return Answer()


def _forget_authenticator(emulator: Emulator, call: Call) -> Answer:
    person_of(emulator, call.fields()).authenticator = Authenticator()
    return Answer()


def people_endpoints() -> dict[tuple[str, str], Serve]:
    """By method and path below `/mgmt`."""
    return {
        ("POST", "/user/create"): _create,
        ("POST", "/user/create/test"): _create_test,
        ("POST", "/user/create/batch"): _create_batch,
        ("GET", "/user"): _load,
        ("POST", "/user/search"): _search,
        ("POST", "/user/search/test"): _search_test,
        ("POST", "/user/update"): _update,
        ("POST", "/user/update/status"): _update_status,
        ("POST", "/user/delete"): _delete,
        ("DELETE", "/user/test/delete/all"): _delete_test,
        ("POST", "/user/update/role/set"): _change_roles(lambda _, given: given),
        ("POST", "/user/update/role/add"): _change_roles(lambda held, given: list(dict.fromkeys([*held, *given]))),
        ("POST", "/user/update/role/remove"): _change_roles(lambda held, given: [x for x in held if x not in given]),
        ("POST", "/user/update/tenant/add"): _add_tenant,
        ("POST", "/user/update/tenant/remove"): _remove_tenant,
        ("POST", "/user/logout"): _logout,
        ("POST", "/user/password/set"): _set_password(active=None),
        ("POST", "/user/password/set/active"): _set_password(active=True),
        ("POST", "/user/password/set/temporary"): _set_password(active=False),
        ("POST", "/user/password/expire"): _expire_password,
        ("POST", "/user/totp/delete"): _forget_authenticator,
    }
