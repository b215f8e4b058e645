"""The controls: faults, the request log, the clock, keys and settings."""

import asyncio
import time
from typing import Any

import jwt
import pytest

from gateway.emulator import Emulator


async def test_a_fault_shows_as_often_as_it_was_told(api: Any, emulator: Emulator) -> None:
    told = await api.http.post(
        "/_emulator/faults",
        json={"operation": "keys", "status": 503, "headers": {"Retry-After": "7"}, "delay_s": 0, "times": 2},
    )

    answers = [await api.get(f"/v2/keys/{emulator.project_id}") for _ in range(3)]

    assert told.json()["faults"][0]["times"] == 2
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert set(answers[0].json()) == {"errorCode", "errorDescription", "errorMessage"}
    assert emulator.count("keys") == 3


async def test_a_fault_without_times_shows_until_it_is_cleared(api: Any) -> None:
    await api.http.post("/_emulator/faults", json={"operation": "any", "status": 429, "times": None})
    during = [(await api.get("/v1/auth/password/policy")).status_code for _ in range(3)]

    cleared = await api.http.delete("/_emulator/faults")

    assert during == [429] * 3
    assert cleared.json()["faults"] == []
    assert (await api.get("/v1/auth/password/policy")).status_code == 200


async def test_a_fault_of_delay_alone_answers_late_and_right(api: Any, emulator: Emulator) -> None:
    emulator.fault("me", delay_s=0.08)
    _, token = emulator.sign_in("ada@example.com")
    began = time.monotonic()

    answer = await api.get("/v1/auth/me", secret=token)

    assert time.monotonic() - began >= 0.08
    assert answer.json()["name"] == "Ada"


async def test_a_slow_answer_holds_up_nobody_else(api: Any, emulator: Emulator) -> None:
    emulator.fault("me", delay_s=0.1)
    _, token = emulator.sign_in("ada@example.com")
    slow = asyncio.create_task(api.get("/v1/auth/me", secret=token))
    await asyncio.sleep(0)

    assert (await api.refresh(token)).status_code == 200
    assert not slow.done()
    assert (await slow).status_code == 200


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        pytest.param("<html>busy</html>", "<html>busy</html>", "text/plain", id="text-as-it-is"),
        pytest.param({"keys": None}, '{"keys": null}', "application/json", id="an-object-as-json"),
        pytest.param([], "[]", "application/json", id="a-list-as-json"),
    ],
)
async def test_a_faults_body_is_sent(api: Any, emulator: Emulator, body: object, sent: str, kind: str) -> None:
    emulator.fault("keys", status=200, body=body)

    answer = await api.get(f"/v2/keys/{emulator.project_id}")

    assert answer.text == sent
    assert answer.headers["Content-Type"].startswith(kind)


async def test_a_fault_can_send_one_header_twice(api: Any, emulator: Emulator) -> None:
    emulator.fault("refresh", status=200, body={}, headers={"Set-Cookie": ["DSR=a; Path=/", "DSR=b; Path=/v1"]})

    answer = await api.refresh("a.b.c")

    assert answer.headers.get_list("set-cookie") == ["DSR=a; Path=/", "DSR=b; Path=/v1"]


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        pytest.param("faults", {"operation": "dance"}, ["operation", "refresh", "exchange"], id="no-such-operation"),
        pytest.param("faults", {}, ["operation", "required"], id="no-operation"),
        pytest.param("faults", {"operation": "keys", "status": 99}, ["status", "200"], id="no-such-status"),
        pytest.param("faults", {"operation": "keys", "status": "429"}, ["status", "integer"], id="a-text-for-a-number"),
        pytest.param("faults", {"operation": "keys", "times": 0}, ["times", "1"], id="never"),
        pytest.param("faults", {"operation": "keys", "delay_s": -1}, ["delay_s", "0"], id="into-the-past"),
        pytest.param("faults", {"operation": "keys", "headers": {"X": "a\nb"}}, ["headers", "X"], id="a-split-header"),
        pytest.param(
            "faults", {"operation": "keys", "headers": {"Content-Length": "1"}}, ["Content-Length"], id="framing"
        ),
        pytest.param("faults", {"operation": "keys", "speed": 3}, ["speed", "not permitted"], id="an-unknown-field"),
        pytest.param("clock", {"offset_s": "soon"}, ["offset_s", "number"], id="a-clock-without-a-number"),
        pytest.param("clock", {"offset_s": 1e300}, ["offset_s", "less than"], id="a-clock-past-the-calendar"),
        pytest.param("clock", {}, ["offset_s", "required"], id="a-clock-without-an-offset"),
        pytest.param("keys/rotate", {"keep_old": "no"}, ["keep_old", "boolean"], id="a-text-for-a-flag"),
        pytest.param("settings", {"session_ttl_s": 0}, ["session_ttl_s", "1"], id="no-life"),
        pytest.param("settings", {"algorithm": "HS256"}, ["algorithm", "RS256", "ES256"], id="another-algorithm"),
        pytest.param("settings", {"refresh_rotation": "maybe"}, ["refresh_rotation", "grace"], id="another-rotation"),
        pytest.param("settings", {"colour": "red"}, ["colour", "not permitted"], id="an-unknown-setting"),
        pytest.param("settings", [], ["object"], id="a-list"),
    ],
)
async def test_bad_controls_change_nothing_and_the_answer_says_what_is_accepted(
    api: Any, emulator: Emulator, path: str, body: object, named: list[str]
) -> None:
    before = (emulator.settings, emulator.offset_s, emulator.jwks(), emulator.traffic.faults)

    answer = await api.http.post(f"/_emulator/{path}", json=body)

    assert answer.status_code == 400
    assert all(word in answer.json()["errorDescription"] for word in named), answer.text
    assert (emulator.settings, emulator.offset_s, emulator.jwks(), emulator.traffic.faults) == before


async def test_the_log_tells_operations_and_no_credential(api: Any, emulator: Emulator) -> None:
    signed_in = await api.sign_in("ada")
    await api.refresh(signed_in["refreshJwt"])
    await api.exchange("K2secretsecretsecret")
    await api.http.get("/v1/mgmt/user?loginId=ada@example.com", headers=api.bearer(api.management_key))

    shown = await api.http.get("/_emulator/requests")

    assert shown.json()["counts"] == {"signin": 1, "refresh": 1, "exchange": 1, "management": 1}
    told = [(one["operation"], one["status"]) for one in shown.json()["requests"]]
    assert told == [("signin", 200), ("refresh", 200), ("exchange", 401), ("management", 200)]
    assert shown.json()["requests"][0]["time"] == pytest.approx(emulator.now_s(), abs=5)
    for secret in (signed_in["refreshJwt"], "K2secretsecretsecret", "ada-demo-password", api.management_key, "loginId"):
        assert secret not in shown.text


async def test_counting_starts_anew_when_told(api: Any, emulator: Emulator) -> None:
    await api.sign_in("ada")

    await api.http.delete("/_emulator/requests")

    assert emulator.requests == ()
    assert emulator.count("signin") == 0
    with pytest.raises(ValueError, match="signin"):
        emulator.count("sign-in")


async def test_the_clock_runs_ahead_and_ends_what_expires(api: Any, emulator: Emulator) -> None:
    _, token = emulator.sign_in("ada@example.com")
    await api.http.post("/_emulator/clock", json={"offset_s": 3600})
    renewed = (await api.refresh(token)).json()

    await api.http.post("/_emulator/clock", json={"offset_s": 5 * 7 * 24 * 3600})

    assert renewed["sessionExpiration"] == pytest.approx(time.time() + 3600 + 600, abs=5)
    assert (await api.refresh(token)).status_code == 401
    await api.http.post("/_emulator/clock", json={"offset_s": 0})
    assert (await api.refresh(token)).status_code == 200


async def test_a_rotation_keeps_the_old_keys_unless_told_otherwise(api: Any, emulator: Emulator) -> None:
    first = emulator.jwks()["keys"][0]["kid"]

    kept = (await api.http.post("/_emulator/keys/rotate")).json()
    dropped = (await api.http.post("/_emulator/keys/rotate", json={"keep_old": False})).json()

    assert kept["published"] == [first, kept["kid"]]
    assert dropped["published"] == [dropped["kid"]]
    assert [key["kid"] for key in (await api.get(f"/v2/keys/{emulator.project_id}")).json()["keys"]] == [dropped["kid"]]
    assert jwt.get_unverified_header(emulator.sign_in("ada@example.com")[0])["kid"] == dropped["kid"]


async def test_settings_change_what_tokens_look_like(api: Any, emulator: Emulator) -> None:
    changed = await api.http.post(
        "/_emulator/settings", json={"session_ttl_s": 60, "algorithm": "ES256", "issuer": "url", "refresh_ttl_s": 120}
    )

    session, _ = emulator.sign_in("ada@example.com")

    key = jwt.PyJWK(emulator.jwks()["keys"][-1])
    claims = jwt.decode(session, key.key, algorithms=["ES256"])
    assert changed.json()["issuer"] == "url"
    assert claims["iss"] == f"https://api.descope.com/{emulator.project_id}"
    assert claims["exp"] - claims["iat"] == 60


async def test_a_withdrawn_key_never_comes_back(emulator: Emulator) -> None:
    first = emulator.jwks()["keys"][0]["kid"]
    emulator.configure(algorithm="ES256")
    emulator.rotate_keys(keep_old=False)

    emulator.configure(algorithm="RS256")

    assert [key["alg"] for key in emulator.jwks()["keys"]] == ["ES256", "RS256"]
    assert first not in {key["kid"] for key in emulator.jwks()["keys"]}


async def test_published_keys_have_what_clients_read(api: Any, emulator: Emulator) -> None:
    emulator.configure(algorithm="ES256")

    keys = (await api.get(f"/v2/keys/{emulator.project_id}")).json()["keys"]

    assert set(keys[0]) == {"alg", "e", "kid", "kty", "n", "use"}
    assert set(keys[1]) == {"alg", "crv", "kid", "kty", "use", "x", "y"}
    assert {key["use"] for key in keys} == {"sig"}
