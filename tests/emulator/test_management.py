"""Management beyond what the SDKs are walked through: searches, what is refused, test users."""

from typing import Any

import pytest

from gateway.emulator import Emulator


async def _found(api: Any, **fields: Any) -> list[str]:
    users = (await api.manage("/user/search", fields))["users"]
    return [one["loginIds"][0].partition("@")[0] for one in users]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        pytest.param({}, ["ada", "bob", "cleo", "dan"], id="everybody"),
        pytest.param({"roleNames": ["admin"]}, ["ada"], id="by-role"),
        pytest.param({"roleNames": ["editor"]}, ["cleo"], id="by-a-role-in-a-tenant"),
        pytest.param({"tenantIds": ["globex"]}, ["cleo"], id="by-tenant"),
        pytest.param({"statuses": ["disabled"]}, ["dan"], id="by-status"),
        pytest.param({"emails": ["bob@example.com"], "roleNames": ["admin"]}, [], id="all-conditions-together"),
        pytest.param({"loginIds": ["ada@example.com", "dan@example.com"]}, ["ada", "dan"], id="by-login-id"),
        pytest.param({"text": "CLE"}, ["cleo"], id="by-text"),
        pytest.param({"customAttributes": {"team": "blue"}}, ["bob"], id="by-attribute"),
        pytest.param({"limit": 2, "page": 1}, ["cleo", "dan"], id="the-second-page"),
        pytest.param(
            {"roleNames": None, "limit": 0, "sort": [{"field": "name"}]}, ["ada", "bob", "cleo", "dan"], id="nulls"
        ),
    ],
)
async def test_a_search_finds_who_meets_every_condition(
    api: Any, emulator: Emulator, fields: dict[str, Any], names: list[str]
) -> None:
    bob = emulator.directory.person_by_login("bob@example.com")
    assert bob is not None
    bob.attributes["team"] = "blue"

    assert await _found(api, **fields) == names


async def test_test_users_are_apart_from_people(api: Any) -> None:
    await api.manage("/user/create/test", {"loginId": "eve@example.com"})
    pair = await api.manage("/auth/signin", {"loginId": "eve@example.com"})

    assert "eve" not in await _found(api)
    assert "eve" in await _found(api, withTestUser=True)
    assert await _found(api, testUsersOnly=True) == ["eve"]
    assert (await api.manage("/user/search/test", {"testUsersOnly": True}))["total"] == 1
    await api.http.delete("/v1/mgmt/user/test/delete/all", headers=api.bearer(api.management_key))
    assert await _found(api, testUsersOnly=True) == []
    assert (await api.refresh(pair["refreshJwt"])).status_code == 401


async def test_an_update_says_everything_about_a_person_anew(api: Any) -> None:
    updated = await api.manage(
        "/user/update", {"loginId": "ada@example.com", "displayName": "Ada L", "roleNames": ["user"]}
    )

    assert (updated["user"]["name"], updated["user"]["email"], updated["user"]["roleNames"]) == ("Ada L", "", ["user"])


async def test_an_invited_person_is_enabled_by_signing_in(api: Any, emulator: Emulator) -> None:
    made = await api.manage(
        "/user/create", {"loginId": "eve@example.com", "invite": True, "password": "eve-demo-password", "userId": None}
    )

    signed_in = await api.sign_in("eve")

    assert made["user"]["status"] == "invited"
    assert signed_in["user"]["status"] == "enabled"
    loaded = await api.get(f"/v1/mgmt/user?userId={signed_in['user']['userId']}", secret=api.management_key)
    assert loaded.json()["user"]["loginIds"] == ["eve@example.com"]


async def test_tenants_are_found_by_id_name_and_domain(api: Any) -> None:
    for fields in ({"tenantIds": ["acme"]}, {"tenantNames": ["Acme Corporation"]}):
        assert [one["id"] for one in (await api.manage("/tenant/search", fields))["tenants"]] == ["acme"]
    by_domain = await api.manage("/tenant/search", {"tenantSelfProvisioningDomains": ["globex.example.com"]})
    assert [one["id"] for one in by_domain["tenants"]] == ["globex"]


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        pytest.param("/user/create", {"loginId": "ada@example.com"}, 400, "exists", id="a-taken-login-id"),
        pytest.param("/user/create", {}, 400, "loginId", id="no-login-id"),
        pytest.param("/user/create", {"loginId": "eve", "roleNames": ["king"]}, 400, "king", id="a-role-that-is-not"),
        pytest.param(
            "/user/create",
            {"loginId": "eve", "userTenants": [{"tenantId": "initech"}]},
            400,
            "initech",
            id="a-tenant-that-is-not",
        ),
        pytest.param(
            "/user/create", {"loginId": "eve", "userTenants": ["acme"]}, 400, "userTenants", id="a-tenant-as-text"
        ),
        pytest.param(
            "/user/create", {"loginId": "eve", "password": "short"}, 400, "8 characters", id="a-weak-password"
        ),
        pytest.param(
            "/user/create", {"loginId": "eve", "status": "asleep"}, 400, "enabled, disabled", id="a-status-that-is-not"
        ),
        pytest.param(
            "/user/update/status",
            {"loginId": "ada@example.com", "status": "asleep"},
            400,
            "status",
            id="another-status-that-is-not",
        ),
        pytest.param(
            "/user/update/status", {"loginId": "nobody", "status": "enabled"}, 404, "user", id="nobodys-status"
        ),
        pytest.param(
            "/user/update/role/add",
            {"loginId": "bob@example.com", "tenantId": "acme", "roleNames": []},
            400,
            "acme",
            id="a-role-in-a-tenant-of-others",
        ),
        pytest.param(
            "/user/update/tenant/add",
            {"loginId": "bob@example.com", "tenantId": "initech"},
            400,
            "initech",
            id="joining-no-tenant",
        ),
        pytest.param("/user/delete", {}, 400, "loginId", id="deleting-nobody"),
        pytest.param(
            "/user/password/set/active",
            {"loginId": "bob@example.com", "password": "x"},
            400,
            "8 characters",
            id="setting-a-weak-password",
        ),
        pytest.param("/auth/signin", {"loginId": "dan@example.com"}, 403, "disabled", id="signing-in-the-disabled"),
        pytest.param("/tenant/create", {"name": "Acme", "id": "acme"}, 400, "acme", id="a-taken-tenant-id"),
        pytest.param("/tenant/delete", {"id": "initech"}, 404, "tenant", id="deleting-no-tenant"),
        pytest.param("/permission/create", {"name": "docs.read"}, 400, "docs.read", id="a-taken-permission"),
        pytest.param(
            "/permission/update",
            {"name": "docs.read", "newName": "docs.write"},
            400,
            "docs.write",
            id="renaming-to-a-taken-permission",
        ),
        pytest.param("/permission/delete", {"name": "fly"}, 404, "permission", id="deleting-no-permission"),
        pytest.param("/role/create", {"name": "user"}, 400, "user", id="a-taken-role"),
        pytest.param(
            "/role/create", {"name": "pilot", "permissionNames": ["fly"]}, 400, "fly", id="a-role-with-no-permission"
        ),
        pytest.param(
            "/role/create", {"name": "pilot", "tenantId": "initech"}, 400, "initech", id="a-role-of-no-tenant"
        ),
        pytest.param("/role/update", {"name": "user", "newName": "admin"}, 400, "admin", id="renaming-to-a-taken-role"),
        pytest.param("/role/delete", {"name": "pilot"}, 404, "role", id="deleting-no-role"),
        pytest.param("/accesskey/rotate", {"id": "K2nothing"}, 404, "access key", id="rotating-no-key"),
        pytest.param("/user/history", {}, 404, "endpoint", id="an-endpoint-that-is-not"),
    ],
)
async def test_what_cannot_be_done_is_answered_with_a_reason(
    api: Any, path: str, body: dict[str, Any], status: int, named: str
) -> None:
    answer = await api.post(f"/v1/mgmt{path}", body, secret=api.management_key)

    assert answer.status_code == status
    assert named in answer.json()["errorDescription"]


async def test_a_refused_change_of_a_person_changes_nothing(api: Any) -> None:
    before = (await api.manage("/user/search", {"loginIds": ["bob@example.com"]}))["users"]

    await api.post(
        "/v1/mgmt/user/update",
        {"loginId": "bob@example.com", "roleNames": ["admin"], "userTenants": [{"tenantId": "initech"}]},
        secret=api.management_key,
    )

    assert (await api.manage("/user/search", {"loginIds": ["bob@example.com"]}))["users"] == before


async def test_a_renamed_or_deleted_project_role_is_so_for_everybody(api: Any, emulator: Emulator) -> None:
    await api.manage("/role/update", {"name": "user", "newName": "member", "permissionNames": ["docs.write"]})
    renamed = await api.sign_in("bob")
    await api.manage("/role/delete", {"name": "member"})
    deleted = await api.sign_in("bob")

    assert renamed["user"]["roleNames"] == ["member"]
    assert renamed["user"]["permissions"] == ["docs.write"]
    assert (deleted["user"]["roleNames"], deleted["user"]["permissions"]) == ([], [])


async def test_a_deleted_tenant_takes_its_roles_and_memberships_along(api: Any, emulator: Emulator) -> None:
    await api.manage("/role/create", {"name": "auditor", "tenantId": "acme"})
    _, token = emulator.sign_in("cleo@example.com")
    await api.post("/v1/auth/tenant/select", {"tenant": "acme"}, secret=token)

    await api.manage("/tenant/delete", {"id": "acme", "cascade": True})

    claims = emulator.signing.claims((await api.refresh(token)).json()["sessionJwt"], emulator.now_s())
    assert claims is not None
    assert list(claims["tenants"]) == ["globex"]
    # The only one left is the current one.
    assert claims["dct"] == "globex"
    assert ("acme", "auditor") not in emulator.directory.roles
