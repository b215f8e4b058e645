"""Promise 2: nobody is signed out by accident. Renewal, rests, exchange and sign-out, through a listening gateway."""

import asyncio
import base64
import hashlib
import math
from collections import Counter

import pytest

from gateway import verification
from gateway.core.tokens import Signed
from tests.conftest import WORKER_KEY, House, OpenHouse, Reply, Seen, cookie_header, reason_of, set_cookies

EXPIRY_S = 700  # the seed's sessions live ten minutes


async def test_a_request_without_credentials_is_401_and_never_forwarded(house: House) -> None:
    response = await house.get("/")

    assert response.status == 401
    assert reason_of(response) == "no_credentials"
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="gateway"'
    assert house.upstream.seen == []


async def test_a_session_is_admitted_as_cookie_and_as_bearer(house: House) -> None:
    cookies = house.cookies("ada@example.com")

    by_cookie = await house.get("/", headers=cookie_header(cookies))
    by_bearer = await house.get("/", headers={"Authorization": f"Bearer {cookies['DS']}"})

    assert (by_cookie.status, by_bearer.status) == (200, 200)
    assert house.emulator.count("refresh") == 0


async def test_t25_fifty_parallel_requests_with_one_expired_session_are_one_renewal(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)

    replies = await asyncio.gather(*(house.get(f"/{n}", headers=cookie_header(cookies)) for n in range(50)))

    assert [reply.status for reply in replies] == [200] * 50
    assert house.emulator.count("refresh") == 1
    assert house.emulator.count("reuse_detected") == 0
    sets = {tuple(reply.headers.getall("Set-Cookie", [])) for reply in replies} - {()}
    assert len(sets) == 1


async def test_t25_half_of_fifty_hanging_up_changes_nothing_for_the_others(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)
    house.emulator.fault("refresh", delay_s=0.3, times=1)

    tasks = [asyncio.ensure_future(house.get(f"/{n}", headers=cookie_header(cookies))) for n in range(50)]
    while house.emulator.count("refresh") == 0:
        await asyncio.sleep(0.01)
    for task in tasks[::2]:
        task.cancel()
    replies = await asyncio.gather(*tasks[1::2])

    assert [reply.status for reply in replies] == [200] * 25
    assert house.emulator.count("refresh") == 1
    assert house.emulator.count("reuse_detected") == 0


async def test_t25_everybody_hanging_up_loses_no_session(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)
    house.emulator.fault("refresh", delay_s=0.2, times=1)
    tasks = [asyncio.ensure_future(house.get("/", headers=cookie_header(cookies))) for _ in range(5)]
    while house.emulator.count("refresh") == 0:
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()

    house.put_forward(60)
    reply = await house.get("/", headers=cookie_header(cookies))

    assert reply.status == 200
    assert set_cookies(reply)["DSR"] not in ("", cookies["DSR"])
    assert house.emulator.count("refresh") == 1


async def test_t25_a_slow_renewal_ahead_of_expiry_is_found_by_the_next_request(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("bob@example.com")
    house.put_forward(600 - 20)
    house.emulator.fault("refresh", delay_s=1.0, times=1)

    first = await house.get("/", headers=cookie_header(cookies))
    cookies |= set_cookies(first)
    house.put_forward(40)
    second = await house.get("/", headers=cookie_header(cookies))

    assert (first.status, second.status) == (200, 200)
    assert "DS" in set_cookies(second)
    assert house.emulator.count("refresh") == 1
    assert house.emulator.count("reuse_detected") == 0


async def test_renewal_ahead_of_expiry_goes_out_with_the_reply_it_ran_beside(house: House) -> None:
    cookies = house.cookies("bob@example.com")
    house.put_forward(600 - 20)

    reply = await house.get("/", headers=cookie_header(cookies))

    assert reply.status == 200
    assert set_cookies(reply)["DS"] not in ("", cookies["DS"])
    assert reply.headers["Cache-Control"] == "no-store"


async def test_a_refused_renewal_ahead_of_expiry_fails_no_request_whose_session_is_valid(house: House) -> None:
    cookies = house.cookies("bob@example.com")
    house.put_forward(600 - 20)
    house.emulator.fault("refresh", status=401, times=None)

    replies = [await house.get("/", headers=cookie_header(cookies)) for _ in range(3)]

    assert [reply.status for reply in replies] == [200] * 3
    assert not any(set_cookies(reply) for reply in replies)
    assert house.emulator.count("refresh") == 1


async def test_a_403_after_a_renewal_keeps_the_renewed_session(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)

    refused = await house.get("/admin/x", headers=cookie_header(cookies))
    cookies |= set_cookies(refused)
    after = await house.get("/", headers=cookie_header(cookies))

    assert (refused.status, after.status) == (403, 200)
    assert set_cookies(refused)["DSR"]
    assert house.emulator.count("refresh") == 1


async def test_a_502_after_a_renewal_keeps_the_renewed_session(house: House) -> None:
    house.upstream.reply = b"nonsense\r\n\r\n"
    cookies = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)

    reply = await house.get("/", headers=cookie_header(cookies))

    assert (reply.status, reason_of(reply)) == (502, "upstream_bad_reply")
    assert set_cookies(reply)["DS"]


async def test_a_refresh_cookie_alone_is_enough(house: House) -> None:
    cookies = house.cookies("bob@example.com")

    reply = await house.get("/", headers=cookie_header({"DSR": cookies["DSR"]}))

    assert reply.status == 200
    assert set_cookies(reply)["DS"]


async def test_a_refused_refresh_is_401_without_set_cookie_and_remembered(house: House) -> None:
    cookies = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)
    house.emulator.fault("refresh", status=401, times=1)

    replies = [await house.get("/", headers=cookie_header(cookies)) for _ in range(3)]
    house.put_forward(61)
    later = await house.get("/", headers=cookie_header(cookies))

    assert [reason_of(reply) for reply in replies] == ["refresh_refused"] * 3
    assert not any("Set-Cookie" in reply.headers for reply in replies)
    assert later.status == 200
    assert house.emulator.count("refresh") == 2


async def test_t25_an_old_refresh_token_after_the_grace_time_is_refused_without_asking(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)
    renewed = await house.get("/", headers=cookie_header(cookies))
    house.put_forward(31)

    stolen = await house.get("/", headers=cookie_header(cookies))
    owner = await house.get("/", headers=cookie_header(set_cookies(renewed)))

    assert reason_of(stolen) == "refresh_refused"
    assert owner.status == 200
    assert house.emulator.count("reuse_detected") == 0
    assert house.emulator.count("refresh") == 1


async def test_t25_a_slow_reply_never_puts_an_older_cookie_back(built: OpenHouse) -> None:
    held = asyncio.Event()

    async def slow(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if seen.path == "/slow":
            await held.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True

    async with built(top="refresh: {grace: 2m}") as house:
        house.emulator.configure(refresh_rotation="on", session_ttl_s=60)
        cookies = house.cookies("bob@example.com")
        house.put_forward(70)
        house.upstream.reply = slow
        slow_reply = asyncio.ensure_future(house.get("/slow", headers=cookie_header(cookies)))
        while not house.upstream.seen:
            await asyncio.sleep(0.01)
        first = set_cookies(await house.get("/quick", headers=cookie_header(cookies)))
        house.put_forward(40)
        second = set_cookies(await house.get("/quick", headers=cookie_header(first)))
        held.set()

        assert second["DSR"] != first["DSR"]
        assert set_cookies(await slow_reply)["DSR"] == second["DSR"]


async def test_a_busy_descope_rests_and_signs_nobody_out(house: House) -> None:
    expired = [house.cookies("bob@example.com") for _ in range(5)]
    house.put_forward(EXPIRY_S)
    valid = house.cookies("ada@example.com")
    house.emulator.fault("refresh", status=429, headers={"Retry-After": "7"}, times=None)

    replies = [await house.get("/", headers=cookie_header(cookies)) for cookies in expired]
    good = await house.get("/", headers=cookie_header(valid))
    house.emulator.clear_faults()
    calls = house.emulator.count("refresh")
    house.put_forward(8)
    later = await asyncio.gather(*(house.get("/", headers=cookie_header(cookies)) for cookies in expired))

    assert good.status == 200
    assert [reason_of(reply) for reply in replies] == ["identity_provider_busy"] * 5
    assert all(1 <= int(reply.headers["Retry-After"]) <= 7 for reply in replies)
    assert not any("Set-Cookie" in reply.headers for reply in replies)
    assert calls == 1
    assert [reply.status for reply in later] == [200] * 5


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        pytest.param("3", 1, 3, id="seconds"),
        pytest.param("86400", 290, 300, id="a day is cut to five minutes"),
        pytest.param("0", 1, 2, id="zero is our own back-off"),
        pytest.param("soon", 1, 2, id="nonsense is our own back-off"),
        pytest.param("-5", 1, 2, id="negative is our own back-off"),
    ],
)
async def test_t25_the_wait_that_descope_names_is_clamped(house: House, header: str, least: int, most: int) -> None:
    cookies = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)
    house.emulator.fault("refresh", status=429, headers={"Retry-After": header}, times=None)

    reply = await house.get("/", headers=cookie_header(cookies))

    assert least <= int(reply.headers["Retry-After"]) <= most


async def test_the_end_of_a_rest_is_one_probe_and_no_stampede(house: House) -> None:
    expired = [house.cookies("bob@example.com") for _ in range(10)]
    house.put_forward(EXPIRY_S)
    house.emulator.fault("refresh", status=429, headers={"Retry-After": "5"}, times=None)
    await house.get("/", headers=cookie_header(expired[0]))
    house.put_forward(6)

    replies = await asyncio.gather(*(house.get("/", headers=cookie_header(cookies)) for cookies in expired))

    assert [reply.status for reply in replies] == [503] * 10
    assert house.emulator.count("refresh") == 2


async def test_a_broken_descope_is_503_and_keeps_the_cookies(house: House) -> None:
    cookies = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)
    house.emulator.fault("refresh", status=500, times=1)

    broken = await house.get("/", headers=cookie_header(cookies))
    house.put_forward(2)
    after = await house.get("/", headers=cookie_header(cookies))

    assert reason_of(broken) == "identity_provider_unavailable"
    assert "Set-Cookie" not in broken.headers
    assert int(broken.headers["Retry-After"]) >= 1
    assert after.status == 200


# --- signing keys -----------------------------------------------------------------------------------------------------


async def test_t13_a_thousand_random_key_ids_are_one_fetch(house: House) -> None:
    good = house.cookies("ada@example.com")
    await house.get("/", headers=cookie_header(good))
    before = house.emulator.count("keys")
    strangers = [
        house.emulator.mint({"sub": "U2x", "exp": 9999999999, "iss": "x"}, headers={"kid": f"k{n}"})
        for n in range(1000)
    ]

    refused: Counter[str] = Counter()
    for start in range(0, 1000, 100):
        replies = await asyncio.gather(
            *(house.get("/", headers={"Authorization": f"Bearer {raw}"}) for raw in strangers[start : start + 100])
        )
        refused.update([reason_of(reply) for reply in replies])
        assert (await house.get("/", headers=cookie_header(good))).status == 200

    assert refused == {"token_unknown_key": 1000}
    assert house.emulator.count("keys") - before <= 1


async def test_a_key_that_descope_adds_is_found_at_once_and_one_that_it_withdraws_stops(house: House) -> None:
    old = house.cookies("ada@example.com")
    await house.get("/", headers=cookie_header(old))
    house.put_forward(11)
    house.emulator.rotate_keys(keep_old=False)
    new = house.cookies("ada@example.com")

    admitted = await house.get("/", headers={"Authorization": f"Bearer {new['DS']}"})
    stopped = await house.get("/", headers={"Authorization": f"Bearer {old['DS']}"})

    assert admitted.status == 200
    assert reason_of(stopped) == "token_unknown_key"


async def test_keys_serve_on_for_a_day_without_an_answer_and_then_nothing_verifies(house: House) -> None:
    house.emulator.configure(session_ttl_s=200_000)
    cookies = house.cookies("ada@example.com")
    house.emulator.fault("keys", status=500, times=None)
    house.put_forward(80_000)

    served = await house.get("/", headers=cookie_header(cookies))
    house.put_forward(10_000)
    refused = await house.get("/", headers=cookie_header(cookies))

    assert served.status == 200
    assert reason_of(refused) == "identity_provider_unavailable"


@pytest.mark.parametrize("times", [1, 2])
async def test_a_token_that_was_seen_before_runs_out_all_the_same(house: House, times: int) -> None:
    bearer = {"Authorization": f"Bearer {house.cookies('ada@example.com')['DS']}"}

    before = [(await house.get("/", headers=bearer)).status for _ in range(times)]
    house.put_forward(3600)
    await house.gateway.keyring._fetch_shared()
    after = await house.get("/", headers=bearer)

    assert before == [200] * times
    assert reason_of(after) == "token_expired"


async def test_a_token_is_remembered_whole_once_it_comes_again(house: House) -> None:
    verifier = house.gateway.sessions.verifier
    ada = bearer(house.cookies("ada@example.com")["DS"])

    kept: list[object] = []
    for _ in range(3):
        assert (await house.get("/", headers=ada)).status == 200
        kept += verifier._remembered.values()

    assert [isinstance(known, Signed) for known in kept] == [True, False, False]
    assert (verifier.misses, verifier.hits) == (1, 2)


async def test_t15_a_token_that_came_once_and_was_signed_out_is_refused(house: House) -> None:
    ada = bearer(house.cookies("ada@example.com")["DS"])
    assert (await house.get("/admin/x", headers=ada)).status == 200
    house.gateway.sessions.state.revocations.revoke_subject(house.upstream.last.values("x-auth-subject")[0])

    assert reason_of(await house.get("/admin/x", headers=ada)) == "session_revoked"


async def test_a_forged_token_is_verified_once_for_a_set_of_keys(house: House) -> None:
    good = house.cookies("ada@example.com")["DS"]
    forged = {"Authorization": f"Bearer {good[:-8]}{'A' * 8}"}
    verifier = house.gateway.sessions.verifier

    reasons = [reason_of(await house.get("/", headers=forged)) for _ in range(3)]
    misses = verifier.misses
    house.emulator.rotate_keys()
    await house.gateway.keyring._fetch_shared()
    again = await house.get("/", headers=forged)

    assert reasons == ["token_bad_signature"] * 3
    assert misses == 1
    assert (again.status, verifier.misses) == (401, 2)


async def test_t18_verified_tokens_are_remembered_within_a_bound_of_their_length(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "_REMEMBERED_CHARS", 3_000)
    verifier = house.gateway.sessions.verifier
    sessions = [house.cookies("ada@example.com")["DS"] for _ in range(10)]

    replies = [await house.get("/", headers=bearer(raw)) for raw in sessions * 2]

    assert [reply.status for reply in replies] == [200] * 20
    assert 1 <= len(verifier._remembered) <= 3
    assert verifier._chars == sum(known.size for known in verifier._remembered.values()) <= 3_000
    assert hashlib.sha256(sessions[-1].encode()).digest() in verifier._remembered
    assert hashlib.sha256(sessions[0].encode()).digest() not in verifier._remembered


# --- access keys ------------------------------------------------------------------------------------------------------


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_an_access_key_is_exchanged_once_and_remembered(house: House) -> None:
    replies = await asyncio.gather(*(house.get("/jobs/x", headers=bearer(WORKER_KEY)) for _ in range(20)))
    by_header = await house.get("/jobs/x", headers={"X-API-Key": WORKER_KEY})

    assert [reply.status for reply in replies] == [200] * 20
    assert by_header.status == 200
    assert house.emulator.count("exchange") == 1


async def test_an_access_key_is_exchanged_again_behind_the_answer_before_it_grows_old(house: House) -> None:
    await house.get("/jobs/x", headers=bearer(WORKER_KEY))
    house.put_forward(50)

    reply = await house.get("/jobs/x", headers=bearer(WORKER_KEY))
    while house.emulator.count("exchange") < 2:
        await asyncio.sleep(0.01)

    assert reply.status == 200


async def test_t15_a_revoked_access_key_stops_within_the_time_it_is_remembered(house: House) -> None:
    await house.get("/jobs/x", headers=bearer(WORKER_KEY))
    house.emulator.fault("exchange", status=401, times=None)

    within = await house.get("/jobs/x", headers=bearer(WORKER_KEY))
    house.put_forward(61)
    after = await house.get("/jobs/x", headers=bearer(WORKER_KEY))

    assert within.status == 200
    assert reason_of(after) == "access_key_refused"


async def test_an_access_key_serves_on_while_descope_is_away_but_not_for_ever(house: House) -> None:
    await house.get("/jobs/x", headers=bearer(WORKER_KEY))
    house.emulator.fault("exchange", status=500, times=None)

    house.put_forward(200)
    served = await house.get("/jobs/x", headers=bearer(WORKER_KEY))
    house.put_forward(200)
    stopped = await house.get("/jobs/x", headers=bearer(WORKER_KEY))

    assert served.status == 200
    assert reason_of(stopped) == "identity_provider_unavailable"


async def test_a_thousand_made_up_keys_neither_reach_descope_nor_stop_a_key_that_worked(house: House) -> None:
    assert (await house.get("/jobs/x", headers=bearer(WORKER_KEY))).status == 200

    reasons: Counter[str] = Counter()
    for start in range(0, 1000, 100):
        replies = await asyncio.gather(
            *(house.get("/jobs/x", headers=bearer(f"made-up-{n}")) for n in range(start, start + 100))
        )
        reasons.update([reason_of(reply) for reply in replies])
    house.put_forward(61)
    worked = await house.get("/jobs/x", headers=bearer(WORKER_KEY))

    assert reasons["access_key_refused"] == 4  # the fifth was the worker's own first use
    assert reasons["rate_limited"] == 996
    assert worked.status == 200
    assert house.emulator.count("exchange") == 6


async def test_an_exchange_that_rests_is_503_for_new_keys_and_one_call(house: House) -> None:
    await house.get("/jobs/x", headers=bearer(WORKER_KEY))
    house.emulator.fault("exchange", status=429, headers={"Retry-After": "7"}, times=None)

    replies = [await house.get("/jobs/x", headers=bearer(f"new-{n}")) for n in range(4)]
    house.put_forward(20)
    remembered = await house.get("/jobs/x", headers=bearer(WORKER_KEY))

    assert [reason_of(reply) for reply in replies] == ["identity_provider_busy"] * 4
    assert all(1 <= int(reply.headers["Retry-After"]) <= 7 for reply in replies)
    assert remembered.status == 200
    assert house.emulator.count("exchange") == 2


async def test_options_of_a_route_go_with_the_exchange_and_into_its_memory(built: OpenHouse) -> None:
    routes = """
routes:
  - {id: plain, match: {path: "/plain"}, auth: access_key, upstream: legacy}
  - id: special
    match: {path: "/special"}
    auth: access_key
    access_keys: {claims: {purpose: test}, tenant: acme}
    upstream: legacy
"""
    async with built(routes=routes) as house:
        key = bearer("K2bob00000000000000000000000demobobkey")
        plain = await house.get("/plain", headers=key)
        again = await house.get("/plain", headers=key)
        special = await house.get("/special", headers=key)

        assert (plain.status, again.status) == (200, 200)
        assert special.status in (200, 401)
        assert house.emulator.count("exchange") == 2


# --- sign-out ---------------------------------------------------------------------------------------------------------


async def test_t15_after_sign_out_neither_token_works_and_descope_knows(house: House) -> None:
    cookies = house.cookies("bob@example.com")
    signed_out = await house.send("POST", "/.auth/logout", headers=cookie_header(cookies))

    by_session = await house.get("/", headers=bearer(cookies["DS"]))
    by_refresh = await house.get("/", headers=cookie_header({"DSR": cookies["DSR"]}))

    assert signed_out.status == 204
    assert set_cookies(signed_out) | {"DS": "", "DSR": ""} == set_cookies(signed_out)
    assert reason_of(by_session) == "session_revoked"
    assert reason_of(by_refresh) == "session_revoked"
    assert house.emulator.count("logout") == 1


async def test_a_session_that_was_signed_out_stays_so_under_its_other_valid_signature(house: House) -> None:
    house.emulator.configure(algorithm="ES256")
    house.put_forward(11)
    cookies = house.cookies("bob@example.com")
    twin = other_signature(cookies["DS"])
    before = await house.get("/", headers=bearer(twin))
    await house.send("POST", "/.auth/logout", headers=cookie_header(cookies))

    after = await house.get("/", headers=bearer(twin))

    assert twin != cookies["DS"]
    assert before.status == 200
    assert reason_of(after) == "session_revoked"


def other_signature(token: str) -> str:
    """The second signature (r, n - s) that verifies wherever (r, s) does, for the curve P-256."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signed, _, text = token.rpartition(".")
    raw = base64.urlsafe_b64decode(text + "==")
    twin = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
    return f"{signed}.{base64.urlsafe_b64encode(twin).rstrip(b'=').decode()}"


async def test_sign_out_waits_for_a_running_renewal_and_ends_its_successor(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)
    house.emulator.fault("refresh", delay_s=0.2, times=1)
    renewing = asyncio.ensure_future(house.get("/", headers=cookie_header(cookies)))
    while house.emulator.count("refresh") == 0:
        await asyncio.sleep(0.01)

    signed_out = await house.send("POST", "/.auth/logout", headers=cookie_header(cookies))
    late = await renewing
    renewed = {name: value for name, value in set_cookies(late).items() if value}
    after = await house.get("/", headers=cookie_header(renewed or cookies))

    assert signed_out.status == 204
    assert after.status == 401
    assert house.emulator.count("reuse_detected") == 0


async def test_whoever_hangs_up_while_signing_out_has_still_signed_out(house: House) -> None:
    cookies = house.cookies("bob@example.com")
    house.emulator.fault("logout", delay_s=0.2, times=1)
    leaving = asyncio.ensure_future(house.send("POST", "/.auth/logout", headers=cookie_header(cookies)))
    while house.emulator.count("logout") == 0:
        await asyncio.sleep(0.01)
    leaving.cancel()

    after = await house.get("/", headers=cookie_header({"DSR": cookies["DSR"]}))

    assert reason_of(after) == "session_revoked"


async def test_an_older_refresh_cookie_does_not_lead_back_to_a_session_that_was_signed_out(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    old = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)
    new = set_cookies(await house.get("/", headers=cookie_header(old)))
    await house.send("POST", "/.auth/logout", headers=cookie_header(new))

    after = [await house.get("/", headers=cookie_header({"DSR": old["DSR"]})) for _ in range(2)]

    assert [reason_of(reply) for reply in after] == ["session_revoked"] * 2
    assert house.emulator.count("reuse_detected") == 0


@pytest.mark.parametrize("second", ["tenant", "refresh"])
async def test_switches_and_renewals_side_by_side_spend_each_refresh_token_once(house: House, second: str) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = cookie_header(house.cookies("cleo@example.com"))
    house.emulator.fault("tenant_select", delay_s=0.1, times=None)

    async def ask(path: str, after_s: float, tenant: str = "") -> Reply:
        await asyncio.sleep(after_s)
        return await house.send("POST", f"/.auth/{path}", json={"tenant": tenant}, headers=cookies)

    refused, first, last = await asyncio.gather(
        ask("tenant", 0, "nobodys"), ask(second, 0.02, "acme"), ask("tenant", 0.04, "globex")
    )
    after = await house.get("/", headers=cookie_header(set_cookies(last)))

    assert (refused.status, first.status, last.status, after.status) == (403, 200, 200, 200)
    assert house.emulator.count("reuse_detected") == 0


async def test_hanging_up_while_sign_out_waits_for_a_renewal_signs_out_all_the_same(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)
    house.emulator.fault("refresh", delay_s=0.2, times=1)
    renewing = asyncio.ensure_future(house.get("/", headers=cookie_header(cookies)))
    while house.emulator.count("refresh") == 0:
        await asyncio.sleep(0.01)
    leaving = asyncio.ensure_future(house.send("POST", "/.auth/logout", headers=cookie_header(cookies)))
    await asyncio.sleep(0.05)
    leaving.cancel()
    late = await renewing
    while house.emulator.count("logout") == 0:
        await asyncio.sleep(0.01)

    after = await house.get("/", headers=cookie_header(set_cookies(late) or cookies))

    assert after.status == 401


async def test_a_renewal_that_loses_against_a_sign_out_hands_out_no_cookies(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("bob@example.com")
    house.emulator.fault("refresh", delay_s=0.2, times=1)
    renewing = asyncio.ensure_future(house.send("POST", "/.auth/refresh", headers=cookie_header(cookies)))
    while house.emulator.count("refresh") == 0:
        await asyncio.sleep(0.01)
    await house.send("POST", "/.auth/logout", headers=cookie_header(cookies))
    late = await renewing

    assert not any(set_cookies(late).values())


async def test_parallel_refreshes_are_one_renewal_with_one_set_of_cookies(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("bob@example.com")
    house.emulator.fault("refresh", delay_s=0.1, times=1)

    replies = await asyncio.gather(
        *(house.send("POST", "/.auth/refresh", headers=cookie_header(cookies)) for _ in range(10))
    )

    assert [reply.status for reply in replies] == [200] * 10
    assert house.emulator.count("refresh") == 1
    assert len({set_cookies(reply)["DSR"] for reply in replies}) == 1


async def test_a_new_signing_key_that_cannot_be_fetched_is_an_outage_and_no_forgery(house: House) -> None:
    house.put_forward(11)
    house.emulator.rotate_keys(keep_old=False)
    cookies = house.cookies("ada@example.com")
    house.emulator.fault("keys", status=500, times=None)

    reply = await house.get("/", headers=cookie_header(cookies))
    house.emulator.clear_faults()
    house.put_forward(11)
    after = await house.get("/", headers=cookie_header(cookies))

    assert reason_of(reply) == "identity_provider_unavailable"
    assert after.status == 200


async def test_the_sign_in_page_keeps_a_session_whose_key_is_not_known_yet(house: House) -> None:
    stranger = house.emulator.mint({"sub": "U2x", "exp": 9999999999, "iss": "x"}, headers={"kid": "nobody"})
    house.put_forward(11)
    await house.get("/", headers=bearer(stranger))
    house.emulator.rotate_keys(keep_old=False)
    cookies = house.cookies("ada@example.com")

    refused = await house.get("/", headers=cookie_header(cookies))
    page = await house.get("/.auth/login", headers=cookie_header(cookies))
    house.put_forward(11)
    after = await house.get("/", headers=cookie_header(cookies))

    assert reason_of(refused) == "token_unknown_key"
    assert not {"DS", "DSR"} & set_cookies(page).keys()
    assert after.status == 200


async def test_a_profile_is_asked_for_once_and_kept(built: OpenHouse) -> None:
    async with built(profile=True) as house:
        cookies = cookie_header(house.cookies("bob@example.com"))
        house.emulator.fault("me", delay_s=0.05, times=1)
        replies = await asyncio.gather(*(house.get("/", headers=cookies) for _ in range(20)))
        await house.get("/", headers=cookies)

        assert [reply.status for reply in replies] == [200] * 20
        assert house.upstream.last.value("x-auth-email") == "bob@example.com"
        assert house.upstream.last.value("x-auth-name") == "Bob"
        assert house.emulator.count("me") == 1


async def test_no_request_waits_long_for_a_profile(built: OpenHouse) -> None:
    async with built(profile=True) as house:
        house.emulator.fault("me", delay_s=3.0, times=None)

        async with asyncio.timeout(1.5):
            reply = await house.get("/", headers=cookie_header(house.cookies("bob@example.com")))

        assert reply.status == 200
        assert house.upstream.last.values("x-auth-email") == []


async def test_sign_out_everywhere_refuses_the_subjects_older_sessions_and_lets_it_sign_in_again(house: House) -> None:
    here, elsewhere = house.cookies("bob@example.com"), house.cookies("bob@example.com")
    await house.get("/", headers=cookie_header(elsewhere))

    signed_out = await house.send("POST", "/.auth/logout-all", headers=cookie_header(here))
    refused = await house.get("/", headers=cookie_header(elsewhere))
    form = {"login_id": "bob@example.com", "password": "bob-demo-password"}
    again = await house.send("POST", "/.auth/login", json=form)
    admitted = await house.get("/", headers=cookie_header(set_cookies(again)))

    assert signed_out.status == 204
    assert reason_of(refused) == "session_revoked"
    assert (again.status, admitted.status) == (200, 200)


async def test_sign_out_without_descope_still_ends_the_session_here_and_says_so(house: House) -> None:
    cookies = house.cookies("bob@example.com")
    house.emulator.fault("logout", status=500, times=None)

    reply = await house.send("POST", "/.auth/logout", headers=cookie_header(cookies))
    after = await house.get("/", headers=cookie_header(cookies))

    assert reason_of(reply) == "identity_provider_unavailable"
    assert set_cookies(reply)["DSR"] == ""
    assert after.status == 401


# --- what is said of waits --------------------------------------------------------------------------------------------


async def test_whoever_waits_as_retry_after_says_gets_through_a_limit(built: OpenHouse) -> None:
    routes = """
limits: {slow: {rate: 2/m, burst: 2, per: client}}
routes: [{id: limited, match: {path: "/**"}, auth: public, limit: [slow], upstream: legacy}]
"""
    async with built(routes=routes) as house:
        first = [await house.get("/") for _ in range(3)]
        wait_s = int(first[-1].headers["Retry-After"])
        house.clock.offset_s += wait_s
        after = await house.get("/")

        assert [reply.status for reply in first] == [200, 200, 429]
        assert reason_of(first[-1]) == "rate_limited"
        assert after.status == 200
        assert first[0].headers["RateLimit-Policy"] == '"slow";q=2;w=60'
        assert first[0].headers["RateLimit"].startswith('"slow";r=1;t=')
        assert wait_s == math.ceil(wait_s) <= 30
