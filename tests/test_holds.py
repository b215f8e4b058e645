"""An upstream's `Retry-After`: passed through, or honoured for those who asked for that."""

from gateway.holds import Holds
from tests.conftest import Hands, OpenHouse, cookie_header, reason_of


def holds() -> tuple[Holds, Hands]:
    clock = Hands()
    return Holds(clock), clock


async def test_retry_after_passes_through_where_nothing_else_is_said(built: OpenHouse) -> None:
    async with built() as house:
        house.upstream.reply = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"

        replies = [await house.get("/public/x") for _ in range(2)]

        assert [(reply.status, reply.headers["Retry-After"]) for reply in replies] == [(429, "7")] * 2
        assert len(house.upstream.seen) == 2


async def test_a_held_429_is_answered_here_for_that_caller_until_its_time_is_over(built: OpenHouse) -> None:
    async with built(hold=True) as house:
        ada, bob = (cookie_header(house.cookies(f"{name}@example.com")) for name in ("ada", "bob"))
        house.upstream.reply = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
        first = await house.get("/x", headers=ada)
        held = await house.get("/x", headers=ada)
        other = await house.get("/x", headers=bob)
        house.upstream.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        house.clock.offset_s += int(held.headers["Retry-After"])
        after = await house.get("/x", headers=ada)

        assert (first.status, other.status, after.status) == (429, 429, 200)
        assert reason_of(held) == "upstream_busy"
        assert len(house.upstream.seen) == 3


def test_one_request_a_second_probes_while_a_hold_lasts() -> None:
    held, clock = holds()
    held.note("r", "ada", 429, 7.0)

    before = held.remaining_s("r", "ada")
    clock.offset_s += 1.1
    probe, next_to_it = held.remaining_s("r", "ada"), held.remaining_s("r", "ada")

    assert 6 < before <= 7
    assert probe == 0
    assert next_to_it > 0


def test_an_answer_other_than_the_same_ends_the_hold() -> None:
    held, _ = holds()
    held.note("r", "ada", 429, 7.0)
    held.note("r", "ada", 200, None)

    assert held.remaining_s("r", "ada") == 0


def test_a_503_holds_the_route_for_everybody_after_three_within_ten_seconds() -> None:
    held, clock = holds()
    for seconds in (0, 11, 1):
        clock.offset_s += seconds
        held.note("r", "ada", 503, 5.0)
    spread = held.remaining_s("r", "bob")
    held.note("r", "ada", 503, 5.0)

    assert spread == 0
    assert held.remaining_s("r", "bob") > 0
    assert held.remaining_s("other", "bob") == 0


def test_no_hold_lasts_longer_than_thirty_seconds() -> None:
    held, _ = holds()
    held.note("r", "ada", 429, 300.0)

    assert held.remaining_s("r", "ada") <= 30
