"""Renewal, rotation, delivery and the two tokens' shape."""

import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.emulator import Emulator, Seed, fresh_key


def _read(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def test_a_session_token_looks_like_descopes_default(emulator: Emulator) -> None:
    claims = _read(emulator.sign_in("bob@example.com")[0])

    assert set(claims) == {
        *("amr", "drn", "exp", "iat", "iss", "jti", "permissions", "rexp", "roles", "sub", "tenants"),
    }
    assert (claims["drn"], claims["amr"], claims["iss"]) == ("DS", ["pwd"], emulator.project_id)
    assert claims["exp"] - claims["iat"] == 600
    assert (len(claims["sub"]), claims["sub"][:2]) == (28, "U2")
    assert claims["rexp"].endswith("Z")


def test_a_refresh_token_lives_longer_and_says_what_it_is(emulator: Emulator) -> None:
    claims = _read(emulator.sign_in("bob@example.com")[1])

    assert claims["drn"] == "DSR"
    assert claims["exp"] - claims["iat"] == 4 * 7 * 24 * 3600
    assert "roles" not in claims


def test_email_and_name_are_in_a_token_only_where_the_seed_claims_them(emulator: Emulator) -> None:
    ada, bob = (_read(emulator.sign_in(f"{name}@example.com")[0]) for name in ("ada", "bob"))

    assert (ada["email"], ada["name"]) == ("ada@example.com", "Ada")
    assert not {"email", "name"} & set(bob)


def test_two_sessions_made_in_one_second_differ(emulator: Emulator) -> None:
    first, second = emulator.sign_in("ada@example.com"), emulator.sign_in("ada@example.com")

    assert not {*first} & {*second}


def test_a_person_keeps_the_same_id_from_start_to_start(seed: Seed) -> None:
    subjects = {_read(Emulator(seed).sign_in("ada@example.com")[0])["sub"] for _ in range(2)}

    assert len(subjects) == 1


def test_an_audience_can_be_in_one_token_of_the_pair_only(emulator: Emulator) -> None:
    emulator.configure(session_audience="https://app.example.com")

    session, refresh = emulator.sign_in("ada@example.com")

    assert _read(session)["aud"] == "https://app.example.com"
    assert "aud" not in _read(refresh)


def test_a_custom_claim_never_replaces_one_of_the_services_own(emulator: Emulator) -> None:
    person = emulator.directory.person_by_login("ada@example.com")
    assert person is not None
    person.claims |= {"sub": "U2other", "roles": ["owner"], "drn": "DSR", "team": "blue"}

    claims = _read(emulator.sign_in("ada@example.com")[0])

    assert claims["sub"] == person.id
    assert (claims["roles"], claims["drn"], claims["team"]) == (["admin", "user"], "DS", "blue")


def test_a_minted_token_has_just_the_claims_headers_and_key_it_was_given(emulator: Emulator) -> None:
    stranger = fresh_key("ES256").private
    assert isinstance(stranger, ec.EllipticCurvePrivateKey)
    jwk = emulator.jwks()["keys"][0]

    ours = emulator.mint({"sub": "U2x"}, headers={"typ": None, "b64": True})
    theirs = emulator.mint({"sub": "U2x"}, key=stranger)

    assert jwt.get_unverified_header(ours) == {"alg": "RS256", "kid": jwk["kid"], "b64": True}
    assert jwt.decode(ours, jwt.PyJWK(jwk).key, ["RS256"]) == {"sub": "U2x"}
    # Under our key's name: what a forger would send.
    assert jwt.get_unverified_header(theirs) == {"alg": "ES256", "kid": jwk["kid"], "typ": "JWT"}
    assert jwt.decode(theirs, stranger.public_key(), ["ES256"]) == {"sub": "U2x"}


async def test_without_rotation_one_refresh_token_renews_again_and_again(api: Any, emulator: Emulator) -> None:
    _, token = emulator.sign_in("ada@example.com")

    answers = [(await api.refresh(token)).json() for _ in range(3)]

    assert {answer["refreshJwt"] for answer in answers} == {token}
    assert len({answer["sessionJwt"] for answer in answers}) == 3


async def test_a_spent_refresh_token_ends_the_whole_session(api: Any, emulator: Emulator) -> None:
    emulator.configure(refresh_rotation="on")
    _, first = emulator.sign_in("ada@example.com")
    other = emulator.sign_in("ada@example.com")[1]
    second = (await api.refresh(first)).json()["refreshJwt"]
    assert emulator.count("reuse_detected") == 0

    again = await api.refresh(first)

    assert again.status_code == 401
    assert emulator.count("reuse_detected") == 1
    assert (await api.refresh(second)).status_code == 401
    assert (await api.refresh(other)).status_code == 200
    assert (await api.http.get("/_emulator/requests")).json()["reuse_detected"] == 1


async def test_a_spent_token_answers_nothing_but_still_signs_out(api: Any, emulator: Emulator) -> None:
    emulator.configure(refresh_rotation="on")
    _, first = emulator.sign_in("ada@example.com")
    second = (await api.refresh(first)).json()["refreshJwt"]

    asked = await api.get("/v1/auth/me", secret=first)

    assert asked.status_code == 401
    assert (await api.get("/v1/auth/me", secret=second)).status_code == 200
    assert (await api.post("/v1/auth/logout", secret=first)).status_code == 200
    assert (await api.refresh(second)).status_code == 401
    assert emulator.count("reuse_detected") == 0


async def test_a_rotated_token_keeps_the_first_ones_expiry(api: Any, emulator: Emulator) -> None:
    emulator.configure(refresh_rotation="on", refresh_ttl_s=100)
    _, first = emulator.sign_in("ada@example.com")
    emulator.advance(60)

    second = (await api.refresh(first)).json()["refreshJwt"]

    assert _read(second)["exp"] == _read(first)["exp"]
    emulator.advance(41)
    assert (await api.refresh(second)).status_code == 401


async def test_in_its_grace_a_spent_token_gets_its_successor(api: Any, emulator: Emulator) -> None:
    emulator.configure(refresh_rotation="grace", grace_s=10.0)
    _, first = emulator.sign_in("ada@example.com")
    second = (await api.refresh(first)).json()["refreshJwt"]

    emulator.advance(9)
    again = await api.refresh(first)

    assert again.json()["refreshJwt"] == second != first
    assert emulator.count("reuse_detected") == 0
    emulator.advance(2)
    assert (await api.refresh(first)).status_code == 401
    assert emulator.count("reuse_detected") == 1
    assert (await api.refresh(second)).status_code == 401


async def test_selecting_a_tenant_in_vain_spends_nothing(api: Any, emulator: Emulator) -> None:
    emulator.configure(refresh_rotation="on")
    _, token = emulator.sign_in("cleo@example.com")

    refused = await api.post("/v1/auth/tenant/select", {"tenant": "initech"}, secret=token)

    assert refused.status_code == 400
    assert (await api.refresh(token)).status_code == 200


async def test_by_cookie_the_body_has_no_token(api: Any, emulator: Emulator) -> None:
    emulator.configure(delivery="cookies")

    answer = await api.post("/v1/auth/password/signin", {"loginId": "ada@example.com", "password": "ada-demo-password"})

    cookies = {line.split("=")[0]: line for line in answer.headers.get_list("set-cookie")}
    assert set(cookies) == {"DS", "DSR"}
    assert all("HttpOnly" in line and "Path=/" in line and "Max-Age=" in line for line in cookies.values())
    assert not {"sessionJwt", "refreshJwt"} & set(answer.json())
    assert answer.json()["cookieExpiration"] > time.time()


async def test_a_browser_renews_and_signs_out_by_its_cookie_alone(api: Any, emulator: Emulator) -> None:
    emulator.configure(delivery="cookies")
    await api.sign_in("ada")

    renewed = await api.post("/v1/auth/refresh")
    signed_out = await api.post("/v1/auth/logout")

    assert renewed.json()["user"]["name"] == "Ada"
    assert sorted(line.split(";")[0] for line in signed_out.headers.get_list("set-cookie")) == ['DS=""', 'DSR=""']
    assert all("Max-Age=0" in line for line in signed_out.headers.get_list("set-cookie"))
    assert (await api.post("/v1/auth/refresh")).status_code == 401


@pytest.mark.parametrize("cookie", ["DS", "DSR"])
async def test_cookies_of_one_person_beside_the_bearer_of_another_are_refused(
    api: Any, emulator: Emulator, base_url: str, cookie: str
) -> None:
    adas, bobs = emulator.sign_in("ada@example.com"), emulator.sign_in("bob@example.com")
    planted = {cookie: adas[0] if cookie == "DS" else adas[1]}
    async with httpx.AsyncClient(base_url=base_url, cookies=planted, verify=False) as http:
        answers = [
            await http.post("/v1/auth/refresh", headers=api.bearer(bobs[1])),
            await http.get("/v1/auth/me", headers=api.bearer(bobs[1])),
            await http.post(
                "/v1/auth/accesskey/exchange", headers=api.bearer("K2worker00000000000000000000demoworkerkey")
            ),
        ]
        adas_own = await http.post("/v1/auth/refresh", headers=api.bearer(adas[1]))

    assert [answer.status_code for answer in answers] == [400] * 3
    assert "different identities" in answers[0].json()["errorDescription"]
    assert emulator.count("cookie_bearer_mismatch") == 3
    assert adas_own.status_code == 200


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda emulator, pair: pair[0], id="a-session-token"),
        pytest.param(
            lambda emulator, pair: emulator.mint({**_read(pair[1]), "jti": "x"}), id="signed-but-never-issued"
        ),
        pytest.param(lambda emulator, pair: pair[1][:-8] + "AAAAAAAA", id="a-broken-signature"),
        pytest.param(lambda emulator, pair: "a.b.c", id="no-token-at-all"),
        pytest.param(lambda emulator, pair: "", id="none"),
    ],
)
async def test_what_is_no_refresh_token_of_ours_renews_nothing(api: Any, emulator: Emulator, spoil: Any) -> None:
    token = spoil(emulator, emulator.sign_in("ada@example.com"))

    answer = await api.refresh(token)
    tried = await api.post("/v1/auth/try-refresh", secret=token)

    assert answer.status_code == 401
    assert (tried.status_code, tried.json()) == (200, {})


async def test_a_withdrawn_key_takes_its_refresh_tokens_along(api: Any, emulator: Emulator) -> None:
    kept = emulator.sign_in("ada@example.com")[1]
    emulator.rotate_keys()
    assert (await api.refresh(kept)).status_code == 200

    emulator.rotate_keys(keep_old=False)

    assert (await api.refresh(kept)).status_code == 401


async def test_a_deleted_persons_sessions_end(api: Any, emulator: Emulator) -> None:
    _, token = emulator.sign_in("bob@example.com")

    await api.manage("/user/delete", {"loginId": "bob@example.com"})

    assert (await api.refresh(token)).status_code == 401
    assert (await api.exchange("K2bob00000000000000000000000demobobkey")).status_code == 401


async def test_a_temporary_password_has_to_be_replaced(api: Any) -> None:
    body = {"loginId": "ada@example.com", "password": "for one day only"}
    await api.manage("/user/password/set/temporary", body)

    refused = await api.post("/v1/auth/password/signin", body)
    replaced = await api.post(
        "/v1/auth/password/replace",
        {"loginId": "ada@example.com", "oldPassword": "for one day only", "newPassword": "for ever and ever"},
    )

    assert refused.status_code == 400
    assert replaced.json()["user"]["name"] == "Ada"
    assert (
        await api.post("/v1/auth/password/signin", {"loginId": "ada@example.com", "password": "for ever and ever"})
    ).status_code == 200
