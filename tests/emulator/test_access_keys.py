"""Which access keys are exchanged, from where, and for what."""

from typing import Any

import httpx
import pytest

from gateway.emulator import Emulator

WORKER_KEY = "K2worker00000000000000000000demoworkerkey"
BOBS_KEY = "K2bob00000000000000000000000demobobkey"


async def _make(api: Any, **fields: Any) -> str:
    return str((await api.manage("/accesskey/create", {"name": "made here", **fields}))["cleartext"])


@pytest.mark.parametrize(
    ("permitted", "status"),
    [
        pytest.param(["127.0.0.1"], 200, id="the-address"),
        pytest.param(["10.0.0.0/8", "127.0.0.0/30"], 200, id="a-range"),
        pytest.param(["127.0.0.2"], 401, id="another-address"),
        pytest.param(["::1"], 401, id="another-family"),
        pytest.param([], 200, id="from-anywhere"),
    ],
)
async def test_a_key_works_from_permitted_addresses_only(api: Any, permitted: list[str], status: int) -> None:
    key = await _make(api, permittedIps=permitted)

    assert (await api.exchange(key)).status_code == status


async def test_the_peers_address_counts_and_not_what_it_claims(api: Any, base_url: str) -> None:
    key = await _make(api, permittedIps=["127.0.0.2"])
    path = "/v1/auth/accesskey/exchange"

    claimed = await api.http.post(path, headers=api.bearer(key) | {"X-Forwarded-For": "127.0.0.2"})
    async with httpx.AsyncClient(
        base_url=base_url, transport=httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    ) as far:
        meant = await far.post(path, headers=api.bearer(key))

    assert (claimed.status_code, meant.status_code) == (401, 200)


async def test_an_expired_key_is_refused_by_the_emulators_clock(api: Any, emulator: Emulator) -> None:
    key = await _make(api, expireTime=int(emulator.now_s()) + 60)
    before = await api.exchange(key)

    emulator.advance(61)

    assert (before.status_code, (await api.exchange(key)).status_code) == (200, 401)
    assert (await api.exchange("K2expired0000000000000000000demoexpiredkey")).status_code == 401


@pytest.mark.parametrize(
    "key",
    ["", "K2worker00000000000000000000", "made up", WORKER_KEY + "x", "a.b.c"],
    ids=["none", "the-id-alone", "made-up", "one-letter-more", "like-a-token"],
)
async def test_what_is_no_key_is_refused(api: Any, key: str) -> None:
    answer = await api.exchange(key)

    assert answer.status_code == 401
    assert set(answer.json()) == {"errorCode", "errorDescription", "errorMessage"}


async def test_a_key_of_a_disabled_person_is_refused_until_they_are_enabled(api: Any) -> None:
    statuses = []
    for status in ("enabled", "disabled", "enabled"):
        await api.manage("/user/update/status", {"loginId": "bob@example.com", "status": status})
        statuses.append((await api.exchange(BOBS_KEY)).status_code)

    assert statuses == [200, 401, 200]


async def test_a_keys_tenant_can_be_selected_if_it_has_it(api: Any, emulator: Emulator) -> None:
    key = await _make(api, keyTenants=[{"tenantId": "acme"}, {"tenantId": "globex", "roleNames": ["reader"]}])

    chosen = await api.exchange(key, {"loginOptions": {"selectedTenant": "globex", "customClaims": None}})
    foreign = await api.exchange(key, {"loginOptions": {"selectedTenant": "initech"}})

    claims = emulator.signing.claims(chosen.json()["sessionJwt"], emulator.now_s())
    assert claims is not None
    assert (claims["dct"], claims["sub"]) == ("globex", chosen.json()["keyId"])
    # A membership without roles is an empty object, as with Descope.
    assert claims["tenants"] == {"acme": {}, "globex": {"permissions": ["docs.read"], "roles": ["reader"]}}
    assert chosen.json()["expiration"] == claims["exp"]
    assert foreign.status_code == 400


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        pytest.param({"name": None}, "name", id="no-name"),
        pytest.param({"permittedIps": ["somewhere"]}, "somewhere", id="no-address"),
        pytest.param({"roleNames": ["king"]}, "king", id="no-such-role"),
        pytest.param({"roleNames": "worker"}, "roleNames", id="a-text-for-a-list"),
        pytest.param({"expireTime": -1}, "expireTime", id="before-time-began"),
        pytest.param({"userId": "U2nobody"}, "userId", id="no-such-owner"),
        pytest.param({"keyTenants": [{"tenantId": "initech"}]}, "initech", id="no-such-tenant"),
    ],
)
async def test_a_bad_key_is_not_made_and_the_answer_names_what_is_wrong(
    api: Any, emulator: Emulator, fields: dict[str, Any], named: str
) -> None:
    count = len(emulator.directory.access_keys)

    answer = await api.post("/v1/mgmt/accesskey/create", {"name": "x", **fields}, secret=api.management_key)

    assert answer.status_code == 400
    assert named in answer.json()["errorDescription"]
    assert len(emulator.directory.access_keys) == count
