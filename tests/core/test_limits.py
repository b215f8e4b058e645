"""Rates, waits and the bounded tables: that of one process and that of several keep the same rules."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.limits import (
    NS_PER_S,
    Allowances,
    AllowanceTable,
    ratelimit_lines,
    remaining,
    take,
    whole_seconds,
)
from gateway.core.model import Limit, Per, Rate
from gateway.workers.allowances import SharedAllowances

Tables = Callable[[int], AllowanceTable]

RATES = st.builds(Rate, every_ns=st.integers(1, 10**12), burst=st.integers(1, 1000))
NOW = st.integers(0, 10**18)


def limit(every_ns: int = NS_PER_S, burst: int = 1, name: str = "one") -> Limit:
    return Limit(name, Rate(every_ns, burst), Per.CLIENT)


@pytest.fixture(params=["of one process", "of several"])
def tables(request: pytest.FixtureRequest) -> Iterator[Tables]:
    """Makes tables of either kind for about so many callers."""
    shared: list[SharedAllowances] = []

    def make(capacity: int) -> AllowanceTable:
        if request.param == "of one process":
            return Allowances(capacity)
        shared.append(SharedAllowances(capacity))
        return shared[-1]

    yield make
    for table in shared:
        table.close()


def places(table: AllowanceTable) -> int:
    """How many callers it tells apart; of Allowances made for a hundred, a hundred."""
    return table.places if isinstance(table, SharedAllowances) else 100


@given(rate=RATES, now_ns=NOW, spent=st.integers(0, 50))
def test_whoever_waits_as_told_gets_through_and_a_nanosecond_sooner_does_not(
    rate: Rate, now_ns: int, spent: int
) -> None:
    due_ns, wait_ns = 0, 0
    for _ in range(rate.burst + spent):
        due_ns, wait_ns = take(due_ns, now_ns, rate)
    due_ns, wait_ns = take(due_ns, now_ns, rate)

    assert wait_ns > 0
    assert take(due_ns, now_ns + wait_ns, rate)[1] == 0
    assert take(due_ns, now_ns + wait_ns - 1, rate)[1] > 0


@given(rate=RATES, now_ns=NOW)
def test_a_rested_caller_may_spend_its_whole_burst_at_once(rate: Rate, now_ns: int) -> None:
    due_ns = 0
    waits = []
    for _ in range(min(rate.burst, 60)):
        due_ns, wait_ns = take(due_ns, now_ns, rate)
        waits.append(wait_ns)

    assert set(waits) == {0}


@given(wait_ns=st.integers(1, 10**15))
def test_a_wait_in_whole_seconds_is_never_too_short_nor_a_second_too_long(wait_ns: int) -> None:
    seconds = whole_seconds(wait_ns)

    assert 0 <= seconds * NS_PER_S - wait_ns < NS_PER_S


@given(rate=RATES, now_ns=NOW, asked=st.integers(0, 40))
def test_remaining_is_how_many_would_get_through_now(rate: Rate, now_ns: int, asked: int) -> None:
    due_ns = 0
    for _ in range(asked):
        due_ns, _ = take(due_ns, now_ns, rate)
    promised = remaining(due_ns, now_ns, rate)
    passed = 0
    while passed <= promised and take(due_ns, now_ns, rate)[1] == 0:
        due_ns, _ = take(due_ns, now_ns, rate)
        passed += 1

    assert passed >= promised
    assert promised == rate.burst - min(asked, rate.burst)


def test_of_several_limits_a_request_spends_all_or_none(tables: Tables) -> None:
    table = tables(100)
    wide, narrow = limit(burst=5, name="wide"), limit(burst=1, name="narrow")
    table.take_all([(wide, "ada"), (narrow, "ada")], 0)

    refused = table.take_all([(wide, "ada"), (narrow, "ada")], 0)
    after = table.take_all([(wide, "ada")], 0)

    assert [s.wait_ns for s in refused] == [0, NS_PER_S]
    assert refused[0].remaining == 4
    assert after[0].remaining == 3


def test_whoever_asks_a_table_again_after_the_wait_gets_through_and_no_sooner(tables: Tables) -> None:
    table = tables(100)
    pair = limit(burst=2)
    [first], [second], [third] = [table.take_all([(pair, "ada")], 5) for _ in range(3)]

    assert (first.wait_ns, second.wait_ns, third.wait_ns) == (0, 0, NS_PER_S)
    assert (first.remaining, second.remaining, third.remaining) == (1, 0, 0)
    assert (first.full_in_ns, second.full_in_ns, third.full_in_ns) == (NS_PER_S, 2 * NS_PER_S, 2 * NS_PER_S)
    assert table.take_all([(pair, "ada")], 4 + NS_PER_S)[0].wait_ns == 1
    assert table.take_all([(pair, "ada")], 5 + NS_PER_S)[0].wait_ns == 0


def test_callers_and_limits_have_allowances_of_their_own(tables: Tables) -> None:
    table = tables(100)

    standings = [
        table.take_all([(limit(name=name), caller)], 0)[0].wait_ns
        for name, caller in [("one", "ada"), ("one", "bob"), ("two", "ada")]
    ]

    assert standings == [0, 0, 0]
    assert table.take_all([(limit(), "ada")], 0)[0].wait_ns > 0


def test_t18_a_table_has_room_for_so_many_and_newcomers_then_share_one_entry(tables: Tables) -> None:
    table = tables(100)
    slow = limit(every_ns=3600 * NS_PER_S)

    waits = [table.take_all([(slow, f"client {n}")], 0)[0].wait_ns for n in range(3000)]

    passed = [n for n, wait in enumerate(waits) if wait == 0]
    assert passed[:50] == list(range(50))
    assert len(passed) == places(table) + 1


def test_t18_the_table_of_one_process_never_grows_past_its_size() -> None:
    table = Allowances(capacity=100)

    for n in range(1000):
        table.take_all([(limit(every_ns=3600 * NS_PER_S), f"client {n}")], 0)

    assert len(table) <= 101


def test_nobody_who_owes_something_is_forgotten_for_a_newcomer(tables: Tables) -> None:
    table = tables(100)
    slow = limit(every_ns=3600 * NS_PER_S)
    passed = [n for n in range(3000) if table.take_all([(slow, f"client {n}")], 0)[0].wait_ns == 0]

    waits = [table.take_all([(slow, f"client {n}")], 0)[0].wait_ns for n in passed]

    assert min(waits) > 0


def test_limits_have_entries_of_their_own_for_newcomers(tables: Tables) -> None:
    table = tables(100)
    slow, quick = limit(every_ns=3600 * NS_PER_S), limit(name="two", burst=3)
    for n in range(3000):
        table.take_all([(slow, f"client {n}")], 0)

    waits = [table.take_all([(quick, f"newcomer {n}")], 0)[0].wait_ns for n in range(4)]

    assert waits == [0, 0, 0, NS_PER_S]


def test_allowances_that_are_full_again_make_room(tables: Tables) -> None:
    table = tables(100)
    for n in range(3000):
        table.take_all([(limit(), f"client {n}")], 0)

    waits = [table.take_all([(limit(), f"newcomer {n}")], 2 * NS_PER_S)[0].wait_ns for n in range(50)]

    assert waits == [0] * 50


def test_the_ratelimit_fields_are_structured_lists_with_whole_seconds() -> None:
    table = Allowances()
    person = Limit("person", Rate(NS_PER_S // 20, 40), Per.SUBJECT)
    standings = table.take_all([(person, "ada"), (limit(name="site"), "ada")], 0)

    policy, state = ratelimit_lines(standings)

    assert policy == (b"RateLimit-Policy", b'"person";q=40;w=2, "site";q=1;w=1')
    assert state == (b"RateLimit", b'"person";r=39;t=1, "site";r=0;t=1')


def test_an_allowance_that_is_half_full_again_is_not_told_as_one_more() -> None:
    rate = Rate(every_ns=10, burst=2)
    due_ns, _ = take(0, 0, rate)

    assert [remaining(due_ns, now_ns, rate) for now_ns in (0, 5, 9, 10)] == [1, 1, 1, 2]
