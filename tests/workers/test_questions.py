"""What the keeper answers, asked as a worker asks: credentials are verified there like anybody's."""

import pytest

from gateway.changes import Change
from gateway.core.model import Reason
from gateway.core.tokens import digest_of
from gateway.exchanges import Exchanges
from gateway.workers.copies import Copies
from gateway.workers.questions import Questions
from tests.conftest import House

ADA, BOB = "ada@example.com", "bob@example.com"


async def nobody_waits() -> None:
    """There are no workers here."""


@pytest.fixture
async def questions(house: House) -> Questions:
    assert house.gateway.holding is not None
    return Questions(house.gateway.holding, nobody_waits)


def copies_of(house: House) -> Copies:
    holding = house.gateway.holding
    assert holding is not None
    return Copies(house.gateway.config.tokens, holding.state, lambda: None)


async def test_a_renewal_is_asked_for_with_a_genuine_refresh_token_alone(house: House, questions: Questions) -> None:
    cookies = house.cookies(ADA)
    forged = cookies["DSR"][:-8] + "AAAAAAAA"

    outcomes = [await questions.answer("renew", {"raw": raw, "margin_s": 0.0}) for raw in (forged, cookies["DS"], "x")]

    assert outcomes == [Reason.TOKEN_BAD_SIGNATURE, Reason.TOKEN_WRONG_KIND, Reason.TOKEN_MALFORMED]
    assert house.emulator.count("refresh") == 0


async def test_t15_no_renewal_of_what_was_signed_out_whoever_asks(house: House, questions: Questions) -> None:
    raw = house.cookies(ADA)["DSR"]
    await questions.answer("revoke", {"digest": digest_of(raw).hex(), "expires_at_s": 4_000_000_000})

    assert await questions.answer("renew", {"raw": raw, "margin_s": 0.0}) is Reason.SESSION_REVOKED
    assert await questions.answer("switch_tenant", {"raw": raw, "tenant": "acme"}) is Reason.SESSION_REVOKED
    assert house.emulator.count("refresh") == house.emulator.count("tenant_select") == 0


async def test_no_renewal_of_what_has_run_out(house: House, questions: Questions) -> None:
    raw = house.cookies(ADA)["DSR"]
    house.put_forward(40 * 86_400)

    assert await questions.answer("renew", {"raw": raw, "margin_s": 0.0}) is Reason.TOKEN_EXPIRED
    assert house.emulator.count("refresh") == 0


async def test_nothing_but_our_own_readers_reads_an_answer(house: House, questions: Questions) -> None:
    asked: dict[str, object] = {
        "operation": "password_policy",
        "path": "/v1/auth/password/policy",
        "read": "os:getcwd",
        "body": None,
        "params": {},
        "credential": None,
        "headers": {},
        "refusals": [],
        "site": "",
        "most_bytes": 1,
        "about": "",
    }
    with pytest.raises(ValueError, match="no reader"):
        await questions.answer("asked", asked)


@pytest.mark.parametrize("pair", ["forged", "of two people", "swapped"])
async def test_a_renewal_that_does_not_verify_is_not_taken_up(house: House, pair: str) -> None:
    copies, ada, bob = copies_of(house), house.cookies(ADA), house.cookies(BOB)
    told = {
        "forged": [ada["DS"][:-8] + "AAAAAAAA", ada["DSR"], {}],
        "of two people": [ada["DS"], bob["DSR"], {}],
        "swapped": [ada["DSR"], ada["DS"], {}],
    }[pair]
    change: Change = ["renewed", "00" * 32, told, house.clock.now_s(), house.clock.mono_s() + 60]
    copies.hear(change)
    before = list(copies.known.renewals.changes())
    copies.hear(["renewed", "00" * 32, [ada["DS"], ada["DSR"], {}], house.clock.now_s(), house.clock.mono_s() + 60])

    assert before == []
    assert len(list(copies.known.renewals.changes())) == 1


async def test_an_older_renewal_never_takes_the_place_of_a_newer_one(house: House) -> None:
    copies, one, two = copies_of(house), house.cookies(ADA), house.cookies(ADA)
    now_s, until_s = house.clock.now_s(), house.clock.mono_s() + 60
    copies.hear(["renewed", "00" * 32, [two["DS"], two["DSR"], {}], now_s, until_s])
    copies.hear(["renewed", "00" * 32, [one["DS"], one["DSR"], {}], now_s - 1, until_s])
    newest = copies.known.renewals.successor(bytes(32))

    assert newest is not None
    assert newest.pair.refresh == two["DSR"]


async def test_what_is_told_twice_is_told_to_others_once(house: House) -> None:
    heard: list[Change] = []
    gateway = house.gateway
    assert gateway.holding is not None
    state = gateway.holding.state
    exchanges = Exchanges(
        gateway.config.access_keys, state.revocations, state.chains, gateway.tasks, house.clock, tell=heard.append
    )
    exchanges.learn_refusal(bytes(32), 1e12)
    exchanges.learn_refusal(bytes(32), 1e12)

    assert heard == [["key_refused", "00" * 32, 1e12]]
