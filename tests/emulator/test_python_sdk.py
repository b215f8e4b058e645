"""What the unmodified Python SDK, sync and async, makes of the emulator."""

import json
from typing import Any

import pytest
from descope import AccessKeyLoginOptions, AssociatedTenant, AuthException, RateLimitException

from gateway.emulator import Emulator

WORKER_KEY = "K2worker00000000000000000000demoworkerkey"
BOBS_KEY = "K2bob00000000000000000000000demobobkey"


async def _sign_in(sdk: Any, name: str) -> Any:
    return await sdk(lambda client: client.password.sign_in(f"{name}@example.com", f"{name}-demo-password"))


def _refresh_jwt(signed_in: Any) -> str:
    return str(signed_in["refreshSessionToken"]["jwt"])


async def test_a_person_signs_in_and_the_session_verifies(sdk: Any) -> None:
    signed_in = await _sign_in(sdk, "ada")

    validated = signed_in["sessionToken"]["jwt"]
    if hasattr(sdk.client, "aclose"):
        claims = await sdk.client.validate_session(validated)
    else:
        claims = await sdk(lambda client: client.validate_session(validated))
    assert claims["userId"] == signed_in["userId"]
    assert claims["userId"].startswith("U2")
    assert claims["roles"] == ["admin", "user"]
    assert claims["projectId"] == "P2demo0000000000000000000000"


async def test_t19_an_unknown_person_and_a_wrong_password_get_the_same_answer(sdk: Any) -> None:
    answers = []
    for login_id in ("ada@example.com", "nobody@example.com"):
        with pytest.raises(AuthException) as refused:
            await sdk(lambda client, who=login_id: client.password.sign_in(who, "not-the-password"))
        answers.append((refused.value.status_code, str(refused.value.error_message)))

    assert answers[0] == answers[1]
    assert answers[0][0] == 401
    assert set(json.loads(answers[0][1])) == {"errorCode", "errorDescription", "errorMessage"}


async def test_a_disabled_person_cannot_sign_in(sdk: Any) -> None:
    with pytest.raises(AuthException) as refused:
        await _sign_in(sdk, "dan")

    assert refused.value.status_code == 403


async def test_a_refresh_token_gives_a_new_session_for_the_same_person(sdk: Any) -> None:
    signed_in = await _sign_in(sdk, "bob")

    renewed = await sdk(lambda client: client.refresh_session(_refresh_jwt(signed_in)))

    assert renewed["userId"] == signed_in["userId"]
    assert renewed["sessionToken"]["jwt"] != signed_in["sessionToken"]["jwt"]
    assert renewed["cookieData"]["maxAge"] > 0
    assert renewed["user"]["email"] == "bob@example.com"


async def test_a_selected_tenant_stays_selected_after_renewal(sdk: Any) -> None:
    signed_in = await _sign_in(sdk, "cleo")
    assert "dct" not in signed_in["sessionToken"]

    selected = await sdk(lambda client: client.select_tenant("globex", _refresh_jwt(signed_in)))
    renewed = await sdk(lambda client: client.refresh_session(_refresh_jwt(selected)))

    assert selected["sessionToken"]["dct"] == "globex"
    assert renewed["sessionToken"]["dct"] == "globex"
    assert renewed["tenants"]["acme"] == {"permissions": ["docs.read", "docs.write"], "roles": ["editor"]}


async def test_a_tenant_one_does_not_belong_to_cannot_be_selected(sdk: Any) -> None:
    signed_in = await _sign_in(sdk, "bob")

    with pytest.raises(AuthException) as refused:
        await sdk(lambda client: client.select_tenant("acme", _refresh_jwt(signed_in)))

    assert refused.value.status_code == 400


async def test_a_person_sees_themselves_their_tenants_and_their_sign_ins(sdk: Any) -> None:
    await _sign_in(sdk, "cleo")
    refresh_jwt = _refresh_jwt(await _sign_in(sdk, "cleo"))
    await sdk(lambda client: client.select_tenant("acme", refresh_jwt))

    me = await sdk(lambda client: client.me(refresh_jwt))
    current = await sdk(lambda client: client.my_tenants(refresh_jwt, dct=True))
    both = await sdk(lambda client: client.my_tenants(refresh_jwt, ids=["acme", "globex", "initech"]))
    history = await sdk(lambda client: client.history(refresh_jwt))

    assert me["loginIds"] == ["cleo@example.com"]
    assert [one["tenantId"] for one in me["userTenants"]] == ["acme", "globex"]
    assert current["tenants"] == [{"id": "acme", "name": "Acme Corporation", "customAttributes": {}}]
    assert [one["id"] for one in both["tenants"]] == ["acme", "globex"]
    assert [one["ip"] for one in history] == ["127.0.0.1", "127.0.0.1"]
    assert history[0]["userId"] == me["userId"]


async def test_signing_out_ends_one_session_and_signing_out_everywhere_ends_all(sdk: Any) -> None:
    here, there, elsewhere = [_refresh_jwt(await _sign_in(sdk, "ada")) for _ in range(3)]
    bobs = _refresh_jwt(await _sign_in(sdk, "bob"))

    await sdk(lambda client: client.logout(here))
    with pytest.raises(AuthException):
        await sdk(lambda client: client.refresh_session(here))
    await sdk(lambda client: client.refresh_session(there))
    await sdk(lambda client: client.logout_all(there))

    for ended in (there, elsewhere):
        with pytest.raises(AuthException) as refused:
            await sdk(lambda client, token=ended: client.refresh_session(token))
        assert refused.value.status_code == 401
    await sdk(lambda client: client.refresh_session(bobs))


async def test_a_new_person_signs_up_once_and_by_the_policy(sdk: Any) -> None:
    policy = await sdk(lambda client: client.password.get_policy())
    with pytest.raises(AuthException, match="at least 8 characters"):
        await sdk(lambda client: client.password.sign_up("eve@example.com", "short"))

    signed_up = await sdk(lambda client: client.password.sign_up("eve@example.com", "long enough", {"name": "Eve"}))

    assert policy["minLength"] == 8
    assert signed_up["firstSeen"] is True
    assert (signed_up["user"]["name"], signed_up["user"]["email"]) == ("Eve", "eve@example.com")
    with pytest.raises(AuthException, match="E062107"):
        await sdk(lambda client: client.password.sign_up("EVE@example.com", "long enough"))


async def test_a_password_is_replaced_and_updated(sdk: Any) -> None:
    ask = "bob@example.com"
    replaced = await sdk(lambda client: client.password.replace(ask, "bob-demo-password", "second password"))
    await sdk(lambda client: client.password.update(ask, "third password", _refresh_jwt(replaced)))

    for old in ("bob-demo-password", "second password"):
        with pytest.raises(AuthException):
            await sdk(lambda client, password=old: client.password.sign_in(ask, password))
    await sdk(lambda client: client.password.sign_in(ask, "third password"))


async def test_nobody_updates_another_persons_password(sdk: Any) -> None:
    adas = _refresh_jwt(await _sign_in(sdk, "ada"))

    with pytest.raises(AuthException):
        await sdk(lambda client: client.password.update("bob@example.com", "taken over", adas))

    await _sign_in(sdk, "bob")


async def test_t19_a_reset_answers_alike_for_whoever_it_is(sdk: Any) -> None:
    known = await sdk(lambda client: client.password.send_reset("ada@example.com"))
    unknown = await sdk(lambda client: client.password.send_reset("abe@example.com"))

    assert known == unknown == {"resetMethod": "magiclink", "maskedEmail": "a**@e******.com"}


async def test_an_access_key_is_exchanged_for_a_session(sdk: Any) -> None:
    options = AccessKeyLoginOptions(custom_claims={"roles": ["admin"]})

    session = await sdk(lambda client: client.exchange_access_key(WORKER_KEY, login_options=options))

    assert session["keyId"] == "K2worker00000000000000000000"
    assert session["roles"] == ["worker"]
    assert session["permissions"] == ["jobs.run"]
    # What a client asks for stays apart from what the project says.
    assert session["sessionToken"]["nsec"] == {"roles": ["admin"]}
    assert "refreshSessionToken" not in session


async def test_a_key_bound_to_a_person_has_that_persons_roles(sdk: Any) -> None:
    session = await sdk(lambda client: client.exchange_access_key(BOBS_KEY))

    assert session["keyId"].startswith("K2bob")
    assert session["roles"] == ["user"]


async def test_management_makes_a_tenant_with_roles_and_a_person_in_it(sdk: Any) -> None:
    async def manage(ask: Any) -> Any:
        return await sdk(lambda client: ask(client.mgmt))

    await manage(lambda m: m.permission.create("wiki.read", "Read the wiki"))
    await manage(lambda m: m.tenant.create("Initech", id="initech", self_provisioning_domains=["initech.example.com"]))
    await manage(lambda m: m.role.create("scribe", "Writes", ["wiki.read"], tenant_id="initech"))
    made = await manage(
        lambda m: m.user.create(
            "fay@example.com", display_name="Fay", user_tenants=[AssociatedTenant("initech", ["scribe"])]
        )
    )
    await manage(lambda m: m.user.set_active_password("fay@example.com", "fay's password"))
    signed_in = await sdk(lambda client: client.password.sign_in("fay@example.com", "fay's password"))

    assert made["user"]["userTenants"][0]["permissions"] == ["wiki.read"]
    assert signed_in["sessionToken"]["dct"] == "initech"
    assert signed_in["tenants"] == {"initech": {"permissions": ["wiki.read"], "roles": ["scribe"]}}

    await manage(lambda m: m.role.update("scribe", "writer", "Writes", ["wiki.read"], "initech"))
    await manage(lambda m: m.permission.update("wiki.read", "wiki.view"))
    loaded = await manage(lambda m: m.user.load("fay@example.com"))
    assert loaded["user"]["userTenants"][0]["roleNames"] == ["writer"]
    assert loaded["user"]["userTenants"][0]["permissions"] == ["wiki.view"]
    assert (await manage(lambda m: m.tenant.load("initech")))["selfProvisioningDomains"] == ["initech.example.com"]
    assert [one["id"] for one in (await manage(lambda m: m.tenant.load_all()))["tenants"]][-1] == "initech"
    roles = (await manage(lambda m: m.role.search(tenant_ids=["initech"])))["roles"]
    assert [one["name"] for one in roles] == ["writer"]

    await manage(lambda m: m.role.delete("writer", "initech"))
    await manage(lambda m: m.permission.delete("wiki.view"))
    await manage(lambda m: m.tenant.update("initech", "Initech Limited"))
    await manage(lambda m: m.tenant.delete("initech", cascade=True))
    assert (await manage(lambda m: m.user.load("fay@example.com")))["user"]["userTenants"] == []
    assert "wiki.view" not in str(await manage(lambda m: m.permission.load_all()))
    assert "writer" not in str(await manage(lambda m: m.role.load_all()))


async def test_management_changes_a_persons_roles_status_and_sessions(sdk: Any) -> None:
    async def manage(ask: Any) -> Any:
        return await sdk(lambda client: ask(client.mgmt.user))

    refresh_jwt = _refresh_jwt(await _sign_in(sdk, "bob"))
    await manage(lambda user: user.add_roles("bob@example.com", ["admin"]))
    await manage(lambda user: user.remove_roles("bob@example.com", ["user"]))
    await manage(lambda user: user.add_tenant("bob@example.com", "acme"))
    changed = await manage(lambda user: user.set_tenant_roles("bob@example.com", "acme", ["reader"]))
    renewed = await sdk(lambda client: client.refresh_session(refresh_jwt))

    assert changed["user"]["roleNames"] == renewed["roles"] == ["admin"]
    assert renewed["tenants"]["acme"]["roles"] == ["reader"]

    await manage(lambda user: user.remove_tenant("bob@example.com", "acme"))
    await manage(lambda user: user.set_roles("bob@example.com", ["user"]))
    await manage(lambda user: user.deactivate("bob@example.com"))
    for ask in (
        lambda client: client.refresh_session(refresh_jwt),
        lambda client: client.exchange_access_key(BOBS_KEY),
    ):
        with pytest.raises(AuthException) as refused:
            await sdk(ask)
        assert refused.value.status_code == 401
    await manage(lambda user: user.activate("bob@example.com"))
    await sdk(lambda client: client.refresh_session(refresh_jwt))
    await manage(lambda user: user.logout_user("bob@example.com"))
    with pytest.raises(AuthException):
        await sdk(lambda client: client.refresh_session(refresh_jwt))

    found = await manage(lambda user: user.search_all(role_names=["user"], tenant_ids=["acme"]))
    assert [one["name"] for one in found["users"]] == ["Cleo"]
    await manage(lambda user: user.delete("bob@example.com"))
    with pytest.raises(AuthException, match="E112102"):
        await manage(lambda user: user.load("bob@example.com"))


async def test_management_looks_after_access_keys(sdk: Any) -> None:
    async def manage(ask: Any) -> Any:
        return await sdk(lambda client: ask(client.mgmt.access_key))

    made = await manage(
        lambda keys: keys.create(
            "robot", role_names=["worker"], key_tenants=[AssociatedTenant("acme", ["reader"])], custom_claims={"a": 1}
        )
    )
    key_id, cleartext = made["key"]["id"], made["cleartext"]
    session = await sdk(lambda client: client.exchange_access_key(cleartext))

    # A key's tenants shut out its project roles.
    assert (session["roles"], session["tenants"]["acme"]["roles"]) == ([], ["reader"])
    assert (session["sessionToken"]["dct"], session["sessionToken"]["a"]) == ("acme", 1)
    assert key_id.startswith("K2")
    assert cleartext not in str(await manage(lambda keys: keys.load(key_id)))

    await manage(lambda keys: keys.deactivate(key_id))
    with pytest.raises(AuthException):
        await sdk(lambda client: client.exchange_access_key(cleartext))
    await manage(lambda keys: keys.activate(key_id))
    await manage(lambda keys: keys.update(key_id, "robot two", description="newer"))
    rotated = await manage(lambda keys: keys.rotate(key_id))
    with pytest.raises(AuthException):
        await sdk(lambda client: client.exchange_access_key(cleartext))
    await sdk(lambda client: client.exchange_access_key(rotated["cleartext"]))
    assert (rotated["key"]["name"], rotated["key"]["keyTenants"][0]["tenantId"]) == ("robot two", "acme")
    found = await manage(lambda keys: keys.search_all_access_keys(tenant_ids=["acme"]))
    assert [one["id"] for one in found["keys"]] == [key_id]
    await manage(lambda keys: keys.delete(key_id))
    with pytest.raises(AuthException):
        await manage(lambda keys: keys.load(key_id))


async def test_management_signs_in_for_a_person_with_trusted_claims(sdk: Any) -> None:
    from descope.management.common import MgmtLoginOptions

    options = MgmtLoginOptions(custom_claims={"plan": "gold", "sub": "U2somebodyelse"})

    signed_in = await sdk(lambda client: client.mgmt.jwt.sign_in("ada@example.com", options))

    assert signed_in["sessionToken"]["plan"] == "gold"
    assert signed_in["userId"] != "U2somebodyelse"


async def test_a_rotated_token_delivered_by_cookie_is_found(sdk: Any, emulator: Emulator) -> None:
    emulator.configure(delivery="cookies", refresh_rotation="on")
    _, refresh_jwt = emulator.sign_in("ada@example.com")

    renewed = await sdk(lambda client: client.refresh_session(refresh_jwt))

    assert "sessionToken" not in renewed
    assert _refresh_jwt(renewed) != refresh_jwt
    await sdk(lambda client: client.refresh_session(_refresh_jwt(renewed)))
    assert emulator.count("reuse_detected") == 0


async def test_a_clients_shared_cookie_jar_is_caught(sdk: Any, emulator: Emulator) -> None:
    emulator.configure(delivery="cookies")
    adas, bobs = emulator.sign_in("ada@example.com")[1], emulator.sign_in("bob@example.com")[1]
    await sdk(lambda client: client.refresh_session(adas))

    if hasattr(sdk.client, "aclose"):
        # The async client keeps one cookie jar for everybody; the sync one has none.
        with pytest.raises(AuthException, match="different identities") as refused:
            await sdk(lambda client: client.me(bobs))
        assert refused.value.status_code == 400
        assert emulator.count("cookie_bearer_mismatch") == 1
    else:
        assert (await sdk(lambda client: client.me(bobs)))["name"] == "Bob"
        assert emulator.count("cookie_bearer_mismatch") == 0


async def test_a_fault_of_429_is_a_rate_limit_with_its_wait(sdk: Any, emulator: Emulator) -> None:
    _, refresh_jwt = emulator.sign_in("ada@example.com")
    emulator.fault("refresh", status=429, headers={"Retry-After": "7"}, times=1)

    with pytest.raises(RateLimitException) as limited:
        await sdk(lambda client: client.refresh_session(refresh_jwt))

    assert limited.value.rate_limit_parameters == {"Retry-After": 7}
    await sdk(lambda client: client.refresh_session(refresh_jwt))
