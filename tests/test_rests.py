"""Operations at rest: nobody asks, one probes, and a full house is told so."""

import asyncio

import pytest

from gateway import rests
from gateway.core.errors import IdentityProviderBusy, IdentityProviderError
from gateway.rests import Rests
from tests.conftest import Hands


class Descope:
    """Answers what it is told, and counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.fault: Exception | None = None
        self.held: asyncio.Event | None = None

    async def __call__(self) -> str:
        self.asked += 1
        if self.held is not None:
            await self.held.wait()
        if self.fault is not None:
            raise self.fault
        return "answer"


def resting(places: int = 16) -> tuple[Rests, Hands, Descope, list[tuple[str, float]]]:
    clock, seen = Hands(), list[tuple[str, float]]()
    return Rests(clock, lambda operation, seconds: seen.append((operation, seconds)), places), clock, Descope(), seen


async def rested() -> tuple[Rests, Descope, asyncio.Event]:
    """An operation whose rest has just ended; what Descope is asked next is answered once the event is set."""
    subject, clock, descope, _ = resting()
    descope.fault = IdentityProviderBusy("busy", 5.0)
    with pytest.raises(IdentityProviderBusy):
        await subject.ask("refresh", descope)
    clock.offset_s += 6
    descope.fault, descope.held = None, asyncio.Event()
    return subject, descope, descope.held


async def test_while_an_operation_rests_nobody_asks_and_everybody_hears_what_remains() -> None:
    subject, clock, descope, _ = resting()
    descope.fault = IdentityProviderBusy("busy", 7.0)
    with pytest.raises(IdentityProviderBusy):
        await subject.ask("refresh", descope)
    clock.offset_s += 3

    with pytest.raises(IdentityProviderBusy) as raised:
        await subject.ask("refresh", descope)

    assert 3 < (raised.value.retry_after_s or 0) <= 4
    assert descope.asked == 1


async def test_one_operation_at_rest_leaves_the_others_alone() -> None:
    subject, _, descope, _ = resting()
    descope.fault = IdentityProviderBusy("busy", 7.0)
    with pytest.raises(IdentityProviderBusy):
        await subject.ask("refresh", descope)
    descope.fault = None

    assert await subject.ask("exchange", descope) == "answer"


async def test_back_off_doubles_while_descope_stays_broken_and_ends_with_the_first_answer() -> None:
    subject, clock, descope, seen = resting()
    descope.fault = IdentityProviderError("broken")
    waits = []
    for _ in range(8):
        with pytest.raises(IdentityProviderError):
            await subject.ask("keys", descope)
        waits.append(round(subject.remaining_s("keys")))
        clock.offset_s += waits[-1] + 1
    descope.fault = None
    await subject.ask("keys", descope)

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert subject.remaining_s("keys") == 0
    assert seen[-1] == ("keys", 0.0)


async def test_calls_that_fail_together_count_as_one_failure() -> None:
    subject, _, descope, _ = resting()
    descope.fault, descope.held = IdentityProviderError("broken"), asyncio.Event()
    calls = [asyncio.ensure_future(subject.ask("keys", descope)) for _ in range(10)]
    await asyncio.sleep(0)
    descope.held.set()
    await asyncio.gather(*calls, return_exceptions=True)

    assert round(subject.remaining_s("keys")) == 1


async def test_a_call_from_before_the_rest_that_comes_back_well_does_not_end_it() -> None:
    subject, _, descope, _ = resting()
    descope.held = asyncio.Event()
    slow = asyncio.ensure_future(subject.ask("refresh", descope))
    await asyncio.sleep(0)
    busy = Descope()
    busy.fault = IdentityProviderBusy("busy", 7.0)
    with pytest.raises(IdentityProviderBusy):
        await subject.ask("refresh", busy)
    descope.held.set()

    assert await slow == "answer"
    assert subject.remaining_s("refresh") > 6


async def test_after_a_rest_one_asker_probes_and_the_others_go_on_with_what_it_learns() -> None:
    subject, descope, held = await rested()
    calls = [asyncio.ensure_future(subject.ask("refresh", descope)) for _ in range(8)]
    for _ in range(5):
        await asyncio.sleep(0)
    during = descope.asked
    held.set()

    assert await asyncio.gather(*calls) == ["answer"] * 8
    assert during == 2  # the one that was put to rest, and the probe


async def test_a_probe_that_is_cancelled_leaves_the_next_one_its_turn() -> None:
    subject, descope, held = await rested()
    first, second = (asyncio.ensure_future(subject.ask("refresh", descope)) for _ in range(2))
    for _ in range(3):
        await asyncio.sleep(0)
    first.cancel()
    held.set()

    assert await second == "answer"


async def test_a_share_that_is_full_does_not_starve_another_and_says_so_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rests, "_QUEUE_S", 0.05)
    subject, _, descope, _ = resting(places=2)
    descope.held = asyncio.Event()
    full = [asyncio.ensure_future(subject.ask("exchange", descope, "unseen")) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(IdentityProviderError):
        await subject.ask("exchange", descope, "unseen")
    worked = asyncio.ensure_future(subject.ask("exchange", descope, "worked"))
    await asyncio.sleep(0)
    descope.held.set()

    assert await worked == "answer"
    assert await asyncio.gather(*full) == ["answer"] * 2
    assert subject.remaining_s("exchange") == 0
