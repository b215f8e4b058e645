"""Renewal, exchange and sign-out in their corners: what a clock, a flood or a lie of somebody's brings about."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway import exchanges, renewals
from gateway.chains import Chains
from gateway.clientside import ClientSide
from gateway.connection import Connection
from gateway.core.errors import IdentityProviderError, UpstreamBadReply
from gateway.core.headers import Lines
from gateway.core.model import (
    AccessKeyRules,
    CookieRules,
    ExchangeOptions,
    Grants,
    Identity,
    Kind,
    Reason,
    RefreshRules,
    RefreshToken,
)
from gateway.exchanges import Exchanged, Exchanges, TooMany, key_digest
from gateway.heads import reply_head, request_head
from gateway.holds import Holds
from gateway.idp_call import SessionPair
from gateway.renewals import Renewals, Renewed
from gateway.rests import Rests
from gateway.revocations import Revocations
from gateway.tasks import Tasks
from tests.conftest import LOOPBACK, House, OpenHouse, Seen, cookie_header, reason_of, set_cookies
from tests.wire.raw import opened, read_reply

EXPIRY_S = 700  # the seed's sessions live ten minutes
ADA, BOB = "U2ada", "U2bob"
PLAIN = ExchangeOptions()


class Still:
    """A clock that stands until it is put forward."""

    def __init__(self) -> None:
        self.at_s = 1_000_000.0

    def now_s(self) -> float:
        return self.at_s

    def mono_s(self) -> float:
        return self.at_s


@pytest.fixture
def clock() -> Still:
    return Still()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    running = Tasks()
    yield running
    await running.close()


@pytest.fixture
def revocations(clock: Still) -> Revocations:
    return Revocations(clock, Chains())


def identity(subject: str, clock: Still, *, lives_s: int = 600, name: str = "") -> Identity:
    now_s = int(clock.now_s())
    return Identity(
        kind=Kind.SESSION,
        subject=subject,
        issued_at_s=now_s,
        not_before_s=now_s,
        expires_at_s=now_s + lives_s,
        project=Grants(),
        tenants=None,
        selected_tenant=None,
        claims={},
        digest=f"session {subject} {name}".encode(),
    )


def refresh_token(subject: str, clock: Still, name: str) -> RefreshToken:
    now_s = int(clock.now_s())
    return RefreshToken(subject, now_s, now_s, now_s + 86_400, f"refresh {subject} {name}".encode())


def renewed(subject: str, clock: Still, name: str, *, session_of: str = "", lives_s: int = 600) -> Renewed:
    """A renewal that brings the refresh token `name`."""
    session = identity(session_of or subject, clock, lives_s=lives_s, name=name)
    return Renewed(SessionPair(f"s-{name}", f"r-{name}"), session, refresh_token(subject, clock, name), clock.now_s())


class Descope:
    """Answers one thing after the other, each once it is let; the last of them for ever."""

    def __init__(self, *answers: Any, is_let: bool = True) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        self.let = asyncio.Event()
        if is_let:
            self.let.set()

    async def __call__(self, question: Any = None) -> Any:
        self.asked.append(question)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        await self.let.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0.001)


async def ended(task: "asyncio.Future[Any]") -> Any:
    """What a task came to; a task that was cancelled with somebody else fails the test."""
    async with asyncio.timeout(5):
        await asyncio.wait((task,))
    assert not task.cancelled()
    return task.result()


# --- renewals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def chain(clock: Still, tasks: Tasks, revocations: Revocations) -> Renewals:
    return Renewals(
        RefreshRules(),
        CookieRules(),
        revocations=revocations,
        chains=Chains(),
        tasks=tasks,
        clock=clock,
        on_reuse=lambda _: None,
    )


async def test_t25_who_stops_waiting_for_a_renewal_stops_nobody_else(chain: Renewals, clock: Still) -> None:
    token, descope = refresh_token(ADA, clock, "0"), Descope(renewed(ADA, clock, "1"), is_let=False)
    first = asyncio.ensure_future(chain.renew("r-0", token, descope))
    await until(lambda: bool(descope.asked))
    second = asyncio.ensure_future(chain.renew("r-0", token, descope))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.sleep(0)
    descope.let.set()

    assert isinstance(await ended(second), Renewed)
    assert descope.asked == ["r-0"]


async def test_a_refresh_token_that_was_signed_out_is_renewed_for_nobody(
    chain: Renewals, clock: Still, revocations: Revocations
) -> None:
    token, descope = refresh_token(ADA, clock, "0"), Descope(renewed(ADA, clock, "1"))
    revocations.revoke(token.digest, token.expires_at_s)

    assert await chain.renew("r-0", token, descope) is Reason.SESSION_REVOKED
    assert await chain.replace("r-0", token, descope) is Reason.SESSION_REVOKED
    assert descope.asked == []


async def test_a_renewal_that_names_another_subject_is_a_fault_and_not_remembered(
    chain: Renewals, clock: Still
) -> None:
    token = refresh_token(ADA, clock, "0")
    descope = Descope(renewed(BOB, clock, "1"), renewed(ADA, clock, "2"))

    with pytest.raises(IdentityProviderError, match="another subject"):
        await chain.renew("r-0", token, descope)
    later = await chain.renew("r-0", token, descope)

    assert isinstance(later, Renewed)
    assert later.identity.subject == ADA


async def test_a_delivered_renewal_serves_late_askers_for_the_grace_time(chain: Renewals, clock: Still) -> None:
    token, descope = refresh_token(ADA, clock, "0"), Descope(renewed(ADA, clock, "1"))
    await chain.renew("r-0", token, descope)
    receipt = chain.receipt(token)
    cookies = await receipt.settled()
    receipt.written()

    clock.at_s += 29
    late = await chain.renew("r-0", token, descope)
    clock.at_s += 2
    too_late = await chain.renew("r-0", token, descope)

    assert any(line.startswith(b"DS=s-1;") for line in cookies)
    assert isinstance(late, Renewed)
    assert too_late is Reason.REFRESH_REFUSED
    assert descope.asked == ["r-0"]


async def test_the_newest_refresh_token_is_known_once_a_running_renewal_has_ended(
    chain: Renewals, clock: Still
) -> None:
    token, descope = refresh_token(ADA, clock, "0"), Descope(renewed(ADA, clock, "1"), is_let=False)
    renewing = asyncio.ensure_future(chain.renew("r-0", token, descope))
    await until(lambda: bool(descope.asked))
    asking = asyncio.ensure_future(chain.newest("r-0", token))
    await asyncio.sleep(0)

    descope.let.set()

    assert (await ended(asking))[0] == "r-1"
    assert isinstance(await ended(renewing), Renewed)


@pytest.mark.parametrize("is_newest", [True, False], ids=["the newest token", "the token that was sent"])
async def test_no_reply_brings_the_cookies_of_a_session_that_was_signed_out(
    chain: Renewals, clock: Still, revocations: Revocations, is_newest: bool
) -> None:
    token, newest = refresh_token(ADA, clock, "0"), renewed(ADA, clock, "1")
    await chain.renew("r-0", token, Descope(newest))
    receipt = chain.receipt(token)

    over = newest.refresh if is_newest else token
    revocations.revoke(over.digest, over.expires_at_s)

    assert await receipt.settled() == ()


async def test_t25_all_replies_of_one_renewal_bring_the_same_cookies(chain: Renewals, clock: Still) -> None:
    token = refresh_token(ADA, clock, "0")
    await chain.renew("r-0", token, Descope(renewed(ADA, clock, "1")))

    first = await chain.receipt(token).settled()
    clock.at_s += 2
    later = await chain.receipt(token).settled()

    assert first == later != ()


async def test_another_tenant_is_selected_with_the_newest_refresh_token(chain: Renewals, clock: Still) -> None:
    token, descope = refresh_token(ADA, clock, "0"), Descope(renewed(ADA, clock, "1"), renewed(ADA, clock, "2"))
    await chain.renew("r-0", token, descope)

    await chain.replace("r-0", token, descope)

    assert descope.asked == ["r-0", "r-1"]


async def test_t18_no_more_renewals_are_remembered_than_there_are_places(
    chain: Renewals, clock: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewals, "_MOST", 50)

    for number in range(200):
        descope = Descope(renewed(ADA, clock, f"{number} later"))
        await chain.renew("r", refresh_token(ADA, clock, str(number)), descope)

    assert len(chain._links) <= 51
    assert len(chain._spent) <= 51


# --- exchanges --------------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(clock: Still, tasks: Tasks, revocations: Revocations) -> Exchanges:
    return Exchanges(AccessKeyRules(), revocations, Chains(), tasks, clock)


def exchanged(clock: Still, lives_s: int = 3600) -> Exchanged:
    return Exchanged("token", identity("K2worker", clock, lives_s=lives_s))


AWAY = IdentityProviderError("away")


async def test_t14_a_refused_key_is_refused_from_memory_for_ten_seconds(keys: Exchanges, clock: Still) -> None:
    descope = Descope(Reason.ACCESS_KEY_REFUSED)

    outcomes = [await keys.exchange("wrong", PLAIN, "192.0.2.1", descope) for _ in range(3)]
    asked_at_once = len(descope.asked)
    clock.at_s += 11
    outcomes.append(await keys.exchange("wrong", PLAIN, "192.0.2.1", descope))

    assert outcomes == [Reason.ACCESS_KEY_REFUSED] * 4
    assert (asked_at_once, len(descope.asked)) == (1, 2)


async def test_who_stops_waiting_for_an_exchange_stops_nobody_else(keys: Exchanges, clock: Still) -> None:
    descope = Descope(exchanged(clock), is_let=False)
    first = asyncio.ensure_future(keys.exchange("key", PLAIN, "192.0.2.1", descope))
    await until(lambda: bool(descope.asked))
    second = asyncio.ensure_future(keys.exchange("key", PLAIN, "192.0.2.1", descope))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.sleep(0)
    descope.let.set()

    assert isinstance(await ended(second), Exchanged)
    assert len(descope.asked) == 1


async def test_t15_an_exchanged_session_never_serves_past_its_end(keys: Exchanges, clock: Still) -> None:
    descope = Descope(exchanged(clock, lives_s=120), AWAY)
    await keys.exchange("key", PLAIN, "192.0.2.1", descope)

    clock.at_s += 100
    served = await keys.exchange("key", PLAIN, "192.0.2.1", descope)
    clock.at_s += 21
    with pytest.raises(IdentityProviderError):
        await keys.exchange("key", PLAIN, "192.0.2.1", descope)

    assert isinstance(served, Exchanged)


async def test_t15_an_exchanged_session_that_was_signed_out_serves_nobody(
    keys: Exchanges, clock: Still, revocations: Revocations
) -> None:
    answer = exchanged(clock)
    descope = Descope(answer, Reason.ACCESS_KEY_REFUSED)
    await keys.exchange("key", PLAIN, "192.0.2.1", descope)

    revocations.revoke(answer.identity.digest, answer.identity.expires_at_s)

    assert await keys.exchange("key", PLAIN, "192.0.2.1", descope) is Reason.ACCESS_KEY_REFUSED


async def test_t18_made_up_keys_of_many_clients_share_one_allowance(keys: Exchanges) -> None:
    descope = Descope(Reason.ACCESS_KEY_REFUSED)

    outcomes = [await keys.exchange(f"made-up {n}", PLAIN, f"192.0.2.{n}", descope) for n in range(100)]

    assert 0 < len(descope.asked) <= 60
    assert sum(isinstance(outcome, TooMany) for outcome in outcomes) == 100 - len(descope.asked)


async def test_t18_made_up_keys_use_up_no_allowance_but_their_clients(keys: Exchanges, clock: Still) -> None:
    worked, refusing = Descope(exchanged(clock)), Descope(Reason.ACCESS_KEY_REFUSED)
    await keys.exchange("key", PLAIN, "192.0.2.1", worked)
    clock.at_s += 61

    for number in range(100):
        await keys.exchange(f"made-up {number}", PLAIN, "192.0.2.1", refusing)
    again = await keys.exchange("key", PLAIN, "192.0.2.1", worked)

    assert 0 < len(refusing.asked) <= 10
    assert isinstance(again, Exchanged)
    assert len(worked.asked) == 2


async def test_t14_a_refusal_ends_what_was_remembered_at_once(keys: Exchanges, clock: Still) -> None:
    descope = Descope(exchanged(clock), Reason.ACCESS_KEY_REFUSED, AWAY)
    await keys.exchange("key", PLAIN, "192.0.2.1", descope)
    clock.at_s += 61
    refused = await keys.exchange("key", PLAIN, "192.0.2.1", descope)

    clock.at_s += 11
    with pytest.raises(IdentityProviderError):
        await keys.exchange("key", PLAIN, "192.0.2.1", descope)

    assert refused is Reason.ACCESS_KEY_REFUSED


def test_t13_keys_and_options_that_spell_the_same_text_are_different() -> None:
    alike = [
        ("ab", ExchangeOptions("", "")),
        ("a", ExchangeOptions("b", "")),
        ("a", ExchangeOptions("", "b")),
        ("", ExchangeOptions("ab", "")),
        ("", ExchangeOptions("a", "b")),
        ("", ExchangeOptions("", "ab")),
        ("a", ExchangeOptions("", "c")),
        ("a", ExchangeOptions("c", "")),
        ("a1:b", ExchangeOptions("", "")),
        ("a", ExchangeOptions("1:b", "")),
    ]

    assert len({key_digest(key, options) for key, options in alike}) == len(alike)


async def test_t18_a_flood_of_made_up_keys_pushes_out_none_that_worked(
    keys: Exchanges, clock: Still, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "_MOST", 20)
    await keys.exchange("key", PLAIN, "192.0.2.1", Descope(exchanged(clock)))
    refusing = Descope(Reason.ACCESS_KEY_REFUSED)

    for number in range(100):
        clock.at_s += 3
        await keys.exchange(f"made-up {number}", PLAIN, f"192.0.2.{number}", refusing)

    assert len(refusing.asked) == 100
    assert len(keys._known) == 20
    assert key_digest("key", PLAIN) in keys._known


# --- rests ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def rests(clock: Still) -> Rests:
    return Rests(clock, lambda *_: None, places=2)


async def test_a_good_answer_ends_the_back_off(rests: Rests, clock: Still) -> None:
    for _ in range(4):
        with pytest.raises(IdentityProviderError):
            await rests.ask("refresh", Descope(AWAY))
        clock.at_s += rests.remaining_s("refresh")

    answer = await rests.ask("refresh", Descope("well"))
    with pytest.raises(IdentityProviderError):
        await rests.ask("refresh", Descope(AWAY))

    assert answer == "well"
    assert rests.remaining_s("refresh") == 1


async def test_a_flood_in_one_share_starves_no_other(rests: Rests) -> None:
    slow = Descope("slow", is_let=False)
    flood = [asyncio.ensure_future(rests.ask("exchange", slow, "unseen")) for _ in range(10)]
    await until(lambda: len(slow.asked) == 2)

    async with asyncio.timeout(1):
        answer = await rests.ask("exchange", Descope("well"), "worked")
    slow.let.set()

    assert answer == "well"
    assert await asyncio.gather(*flood) == ["slow"] * 10


# --- holds and revocations --------------------------------------------------------------------------------------------


def test_a_hold_that_has_ended_holds_nobody(clock: Still) -> None:
    held = Holds(clock)
    held.note("r", ADA, 429, 7.0)

    clock.at_s += 8

    assert [held.remaining_s("r", ADA) for _ in range(3)] == [0, 0, 0]


def test_two_503s_hold_nobody(clock: Still) -> None:
    held = Holds(clock)

    for _ in range(2):
        held.note("r", ADA, 503, 5.0)

    assert held.remaining_s("r", BOB) == 0


def test_a_token_issued_after_a_sign_out_everywhere_counts(clock: Still, revocations: Revocations) -> None:
    before = identity(ADA, clock, name="before")
    revocations.revoke_subject(ADA)
    same_second = identity(ADA, clock, name="same second")
    signed_in = identity(ADA, clock, name="signed in again")
    revocations.exempt(signed_in)
    clock.at_s += 1
    after = identity(ADA, clock, name="after")

    covered = [revocations.covers(token) for token in (before, same_second, signed_in, after, identity(BOB, clock))]

    assert covered == [True, True, False, False, False]


# --- signing keys -----------------------------------------------------------------------------------------------------


async def test_t13_an_answer_without_a_usable_key_leaves_the_old_ones(house: House) -> None:
    cookies = cookie_header(house.cookies("ada@example.com"))
    stranger = house.emulator.mint({"sub": "U2x", "exp": 9_999_999_999, "iss": "x"}, headers={"kid": "unheard"})
    house.emulator.fault("keys", status=200, body={"keys": []}, times=None)
    before = house.emulator.count("keys")

    house.put_forward(11)
    refused = await house.get("/", headers={"Authorization": f"Bearer {stranger}"})

    assert house.emulator.count("keys") == before + 1
    assert refused.status in (401, 503)
    assert (await house.get("/", headers=cookies)).status == 200


async def test_who_stops_waiting_for_the_keys_stops_nobody_else(house: House) -> None:
    keyring = house.gateway.keyring
    keyring._keys = None
    before = house.emulator.count("keys")
    house.emulator.fault("keys", delay_s=0.1, times=1)
    first = asyncio.ensure_future(keyring.ready())
    await until(lambda: house.emulator.count("keys") > before)
    second = asyncio.ensure_future(keyring.ready())
    await asyncio.sleep(0)

    first.cancel()

    assert (await ended(second)).keys
    assert house.emulator.count("keys") == before + 1


async def test_t15_a_withdrawn_key_stops_after_ten_minutes(house: House) -> None:
    house.emulator.configure(session_ttl_s=3600)
    old = {"Authorization": f"Bearer {house.cookies('ada@example.com')['DS']}"}
    assert (await house.get("/", headers=old)).status == 200
    generation = house.gateway.keyring.keys.generation

    house.emulator.rotate_keys(keep_old=False)
    house.put_forward(601)
    await house.get("/", headers=old)
    await until(lambda: house.gateway.keyring.keys.generation > generation)

    assert reason_of(await house.get("/", headers=old)) == "token_unknown_key"


# --- limits and cross-site, at the gate -------------------------------------------------------------------------------

LIMITED = """
limits: {person: {rate: 2/h, burst: 2, per: subject}}
routes:
  - id: strict
    match: {path: "/strict"}
    require: {roles: {any: [admin]}}
    limit: [person]
    upstream: legacy
  - {id: open, match: {path: "/open"}, limit: [person], upstream: legacy}
"""


async def test_a_limit_per_subject_counts_only_the_admitted(built: OpenHouse) -> None:
    async with built(routes=LIMITED) as house:
        ada, bob = (cookie_header(house.cookies(f"{name}@example.com")) for name in ("ada", "bob"))

        refused = [(await house.get("/strict", headers=bob)).status for _ in range(3)]
        admitted = [(await house.get("/open", headers=bob)).status for _ in range(3)]
        other = await house.get("/strict", headers=ada)

        assert refused == [403] * 3
        assert admitted == [200, 200, 429]
        assert other.status == 200


async def test_a_429_after_a_renewal_keeps_the_renewed_session(built: OpenHouse) -> None:
    async with built(routes=LIMITED) as house:
        house.emulator.configure(refresh_rotation="on")
        cookies = house.cookies("bob@example.com")
        for _ in range(2):
            assert (await house.get("/open", headers=cookie_header(cookies))).status == 200
        house.put_forward(EXPIRY_S)

        limited = await house.get("/open", headers=cookie_header(cookies))

        assert reason_of(limited) == "rate_limited"
        assert set_cookies(limited)["DSR"] not in ("", cookies["DSR"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param("Cookie: own=1\r\nOrigin: http://evil.example", b"403", id="cookies, foreign origin"),
        pytest.param("Cookie: own=1", b"403", id="cookies, no origin"),
        pytest.param("Cookie: own=1\r\nOrigin: http://app.example.com", b"200", id="cookies, own origin"),
        pytest.param("X-Own: 1", b"200", id="no cookies, no origin"),
    ],
)
async def test_t24_an_upgrade_on_a_public_route_comes_from_our_own_origin(
    house: House, headers: str, status: bytes
) -> None:
    reply = await house.raw(
        b"GET /public/ws HTTP/1.1\r\nHost: app.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + headers.encode() + b"\r\n\r\n"
    )

    assert reply.split(b" ")[1] == status
    assert bool(house.upstream.seen) is (status == b"200")


# --- sign-in ----------------------------------------------------------------------------------------------------------

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
ELSEWHERE = ["//evil.example", "/\\evil.example", "https://evil.example/"]


@pytest.mark.parametrize("place", ELSEWHERE)
async def test_t09_whoever_is_signed_in_is_sent_to_no_other_site(house: House, place: str) -> None:
    headers = NAVIGATION | cookie_header(house.cookies("bob@example.com"))

    reply = await house.get(f"/.auth/login?rd={place}", headers=headers)

    assert (reply.status, reply.headers["Location"]) == (303, "/")


@pytest.mark.parametrize("place", ELSEWHERE)
async def test_t09_another_tenant_returns_to_no_other_site(house: House, place: str) -> None:
    headers = NAVIGATION | cookie_header(house.cookies("cleo@example.com"))

    reply = await house.send("POST", "/.auth/tenant", data={"tenant": "acme", "rd": place}, headers=headers)

    assert (reply.status, reply.headers["Location"]) == (303, "/")


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", ""], ids=["text", "parts", "none"])
async def test_t23_a_form_that_does_not_say_it_is_one_is_none(house: House, kind: str) -> None:
    body = b"login_id=bob@example.com&password=bob-demo-password"

    reply = await house.send("POST", "/.auth/login", data=body, headers={"Content-Type": kind})

    assert reason_of(reply) == "bad_request"
    assert house.emulator.count("signin") == 0


# --- whose session ----------------------------------------------------------------------------------------------------


async def test_t12_a_forged_bearer_is_not_made_good_by_a_cookie_beside_it(house: House) -> None:
    cookies = house.cookies("ada@example.com")
    forged = {"Authorization": f"Bearer {cookies['DS'][:-8]}AAAAAAAA"}

    reply = await house.get("/", headers=forged | cookie_header({"DSR": cookies["DSR"]}))

    assert reason_of(reply) == "token_bad_signature"
    assert house.emulator.count("refresh") == 0


async def test_t11_a_session_is_not_renewed_ahead_into_somebody_else(house: House) -> None:
    ada, bob = house.cookies("ada@example.com"), house.cookies("bob@example.com")
    house.put_forward(600 - 20)

    reply = await house.get("/", headers=cookie_header({"DS": ada["DS"], "DSR": bob["DSR"]}))

    assert reply.status == 200
    assert set_cookies(reply) == {}
    assert house.emulator.count("refresh") == 0


async def test_a_refresh_token_that_has_run_out_is_not_sent_to_descope(house: House) -> None:
    house.emulator.configure(session_ttl_s=30, refresh_ttl_s=60)
    cookies = house.cookies("bob@example.com")
    house.put_forward(100)

    both = await house.get("/", headers=cookie_header(cookies))
    alone = await house.get("/", headers=cookie_header({"DSR": cookies["DSR"]}))

    assert reason_of(both) == reason_of(alone) == "token_expired"
    assert house.emulator.count("refresh") == 0


async def test_t12_a_forged_refresh_token_is_not_sent_to_descope(house: House) -> None:
    cookies = house.cookies("bob@example.com")

    reply = await house.get("/", headers=cookie_header({"DSR": f"{cookies['DSR'][:-8]}AAAAAAAA"}))
    session = await house.get("/", headers=cookie_header({"DSR": cookies["DS"]}))

    assert reason_of(reply) == "token_bad_signature"
    assert reason_of(session) == "token_wrong_kind"
    assert house.emulator.count("refresh") == 0


async def test_t11_of_several_sessions_of_one_person_the_newest_counts(house: House) -> None:
    older = house.cookies("bob@example.com")["DS"]
    house.put_forward(60)
    newer = house.cookies("bob@example.com")["DS"]

    told = []
    for header in (newer, older, f"{older}; DS={newer}", f"{newer}; DS={older}"):
        reply = await house.get("/.auth/me", headers={"Cookie": f"DS={header}"})
        told.append(json.loads(reply.body)["expires_at"])

    assert told[0] > told[1]
    assert told[2:] == [told[0], told[0]]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda ada, bob: (f"{bob['DS'][:-8]}AAAAAAAA", bob["DSR"]), id="a forged session"),
        pytest.param(lambda ada, bob: (bob["DS"], f"{bob['DSR'][:-8]}AAAAAAAA"), id="a forged refresh token"),
        pytest.param(lambda ada, bob: (bob["DSR"], bob["DSR"]), id="a refresh token as session"),
        pytest.param(lambda ada, bob: (bob["DS"], ada["DSR"]), id="a refresh token of somebody else"),
        pytest.param(lambda ada, bob: (ada["DS"], ada["DSR"]), id="a session of somebody else"),
    ],
)
async def test_descopes_own_answer_is_verified_like_anybodys(
    house: House, answer: Callable[[dict[str, str], dict[str, str]], tuple[str, str]]
) -> None:
    expired = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)
    session, refresh = answer(house.cookies("ada@example.com"), house.cookies("bob@example.com"))
    house.emulator.fault("refresh", status=200, body={"sessionJwt": session, "refreshJwt": refresh}, times=1)

    reply = await house.get("/", headers=cookie_header(expired))

    assert reason_of(reply) == "identity_provider_unavailable"
    assert "Set-Cookie" not in reply.headers
    assert house.upstream.seen == []


async def test_t15_sign_out_ends_what_the_session_was_renewed_to(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("bob@example.com")
    house.put_forward(EXPIRY_S)
    fresh = set_cookies(await house.get("/", headers=cookie_header(cookies)))

    await house.send("POST", "/.auth/logout", headers=cookie_header(cookies))

    by_session = await house.get("/", headers={"Authorization": f"Bearer {fresh['DS']}"})
    by_refresh = await house.get("/", headers=cookie_header({"DSR": fresh["DSR"]}))
    assert reason_of(by_session) == reason_of(by_refresh) == "session_revoked"


async def test_t14_a_key_that_comes_back_as_somebodys_session_is_still_a_key(house: House) -> None:
    session = house.cookies("bob@example.com")["DS"]
    house.emulator.fault("exchange", status=200, body={"sessionJwt": session}, times=None)
    key = {"X-API-Key": "somebodys-key"}

    reply = await house.get("/either/x", headers=key)
    elsewhere = await house.get("/jobs/x", headers=key)

    assert reply.status == 200
    assert house.upstream.last.value("x-auth-method") == "access_key"
    assert reason_of(elsewhere) == "role_missing"  # and not `wrong_credential_kind`


# --- connections to upstreams -----------------------------------------------------------------------------------------


async def test_t17_bytes_between_two_replies_cost_the_connection(house: House) -> None:
    poisoned = asyncio.Event()

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        if len(house.upstream.seen) == 1:
            await asyncio.sleep(0.05)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
            await writer.drain()
            poisoned.set()
        return True

    house.upstream.reply = answer
    first = await house.get("/public/x")
    await poisoned.wait()
    await until(lambda: house.upstream.closed == 1)
    second = await house.get("/public/x")

    assert (first.body, second.body) == (b"ok", b"ok")
    assert house.upstream.connections == 2


async def test_a_connection_that_the_upstream_means_to_close_serves_nobody_else(house: House) -> None:
    house.upstream.reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"

    bodies = [(await house.get("/public/x")).body for _ in range(2)]

    assert bodies == [b"ok", b"ok"]
    assert house.upstream.connections == 2


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"".join(b"X-%d: 1\r\n" % n for n in range(1001)), id="many lines"),
        pytest.param(b"".join(b"X-%d: %b\r\n" % (n, b"a" * 6000) for n in range(100)), id="much in all"),
    ],
)
async def test_t18_a_replys_head_is_bounded(house: House, lines: bytes) -> None:
    house.upstream.reply = b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 2\r\n\r\nok"

    reply = await house.get("/public/x")

    assert (reply.status, reason_of(reply)) == (502, "upstream_bad_reply")


@pytest.mark.parametrize("body", [b"", b"x" * 100_000], ids=["no body", "a body"])
@pytest.mark.parametrize(
    ("head_bytes", "status"),
    [pytest.param(256 * 1024 - 100, 200, id="as large as may be"), pytest.param(256 * 1024 + 100, 502, id="larger")],
)
async def test_t18_a_replys_head_may_have_256_kib_whatever_comes_behind_it(
    house: House, head_bytes: int, status: int, body: bytes
) -> None:
    lines = b"".join(b"X-%d: %b\r\n" % (n, b"a" * 6000) for n in range(40))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(body) + lines
    filled = b"Y: %b\r\n\r\n" % (b"a" * (head_bytes - len(head) - 7))
    house.upstream.reply = head + filled + body

    async with opened(house.url.port) as (reader, writer):
        writer.write(b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n")
        reply, _ = await read_reply(reader, b"GET")

    assert reply.status == status
    assert status != 200 or reply.body == body


@asynccontextmanager
async def exchange_with(reply: bytes, *, head_only: bool = False) -> AsyncIterator[Connection]:
    """A connection whose upstream has answered a request with `reply` and hung up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(answer, LOOPBACK, 0)
    try:
        _, connection = await loop.create_connection(lambda: Connection(loop), *server.sockets[0].getsockname())
        connection.begin(head_only=head_only, upgrade=False)
        connection.write(b"GET / HTTP/1.1\r\n\r\n")
        yield connection
        connection.abort()
    finally:
        server.close()


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("behind", "is_spoilt"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"HTTP/1.1 204 No\r\n\r\n", True, id="a reply without a body"),
        pytest.param(ANSWER, True, id="a reply"),
        pytest.param(b"HTTP/1.1 200", True, id="the beginning of a reply"),
        pytest.param(b"nonsense", True, id="no HTTP"),
    ],
)
async def test_t17_a_connection_is_spoilt_by_whatever_comes_behind_a_reply(behind: bytes, is_spoilt: bool) -> None:
    async with exchange_with(ANSWER + behind) as connection:
        await connection.head(5)
        body = await connection.body(5)
        is_open, is_clean = connection.is_open, connection.end()

    assert body == b"ok"
    assert is_clean is (is_open and not is_spoilt)


@pytest.mark.parametrize(
    "half",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", id="chunks"),
    ],
)
async def test_f13_half_a_body_is_told_as_half(half: bytes) -> None:
    async with exchange_with(half) as connection:
        await connection.head(5)
        assert await connection.body(5) == b"half"
        with pytest.raises(UpstreamBadReply):
            await connection.body(5)


async def test_f12_nonsense_is_known_at_once(house: House) -> None:
    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"nonsense\r\n\r\n")
        await reader.read()
        return False

    house.upstream.reply = answer
    async with asyncio.timeout(5):
        reply = await house.get("/public/x")

    assert reason_of(reply) == "upstream_bad_reply"


@pytest.mark.parametrize("status", [204, 304])
async def test_f12_a_reply_without_a_body_gets_no_length(house: House, status: int) -> None:
    house.upstream.reply = b"HTTP/1.1 %d X\r\n\r\n" % status

    reply = await house.get("/public/x")

    assert reply.status == status
    assert not {"Content-Length", "Transfer-Encoding"} & set(reply.headers)


async def test_t18_a_body_that_is_announced_too_large_reaches_no_upstream(house: House) -> None:
    reply = await house.raw(b"POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n")

    assert reply.startswith(b"HTTP/1.1 413 ")
    assert house.upstream.connections == 0


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
async def test_t17_an_upgrade_with_a_body_is_refused(house: House, framing: bytes) -> None:
    reply = await house.raw(
        b"GET /public/ws HTTP/1.1\r\nHost: app.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + framing + b"\r\n\r\n"
    )

    assert reply.startswith(b"HTTP/1.1 400 ")
    assert house.upstream.seen == []


@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"2.0", b"9.9"])
async def test_f7_a_reply_of_another_version_is_502(house: House, version: bytes) -> None:
    house.upstream.reply = b"HTTP/" + version + b" 200 OK\r\nContent-Length: 2\r\n\r\nok"

    reply = await house.get("/public/x")

    assert (reply.status, reason_of(reply)) == (502, "upstream_bad_reply")


@pytest.mark.parametrize("line", [b"X: a\r\nY: b", b"X: a\nb", b"X: a\rb", b"X: a\0b"], ids=repr)
async def test_t08_no_head_with_a_line_break_inside_is_written(line: bytes) -> None:
    connection = Connection(asyncio.get_running_loop())
    connection.status, connection.reason = 200, b"OK"
    client = cast(ClientSide, SimpleNamespace(has_body=False))

    with pytest.raises(ValueError, match="line break"):
        Lines.of([b"Host: h", line])
    with pytest.raises(ValueError, match="line break"):
        request_head("GET", "/" + line.decode(), Lines.of([b"Host: h"]), client, is_upgrade=False)
    with pytest.raises(UpstreamBadReply, match="line break"):
        reply_head(connection, [line])

    assert reply_head(connection, [b"X: a"]) == b"HTTP/1.1 200 OK\r\nX: a\r\n\r\n"
