"""Rates, waits and the bounded table."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.limits import NS_PER_S, Allowances, ratelimit_lines, remaining, take, whole_seconds
from gateway.core.model import Limit, Per, Rate

RATES = st.builds(Rate, every_ns=st.integers(1, 10**12), burst=st.integers(1, 1000))
NOW = st.integers(0, 10**18)


def limit(every_ns: int = NS_PER_S, burst: int = 1, name: str = "one") -> Limit:
    return Limit(name, Rate(every_ns, burst), Per.CLIENT)


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


def test_of_several_limits_a_request_spends_all_or_none() -> None:
    table = Allowances()
    wide, narrow = limit(burst=5, name="wide"), limit(burst=1, name="narrow")
    table.take_all([(wide, "ada"), (narrow, "ada")], 0)

    refused = table.take_all([(wide, "ada"), (narrow, "ada")], 0)
    after = table.take_all([(wide, "ada")], 0)

    assert [s.wait_ns for s in refused] == [0, NS_PER_S]
    assert refused[0].remaining == 4
    assert after[0].remaining == 3


def test_callers_and_limits_have_allowances_of_their_own() -> None:
    table = Allowances()

    standings = [
        table.take_all([(limit(name=name), caller)], 0)[0].wait_ns
        for name, caller in [("one", "ada"), ("one", "bob"), ("two", "ada")]
    ]

    assert standings == [0, 0, 0]
    assert table.take_all([(limit(), "ada")], 0)[0].wait_ns > 0


def test_t18_the_table_never_grows_past_its_size_and_newcomers_then_share_one_entry() -> None:
    table = Allowances(capacity=100)
    slow = limit(every_ns=3600 * NS_PER_S)

    waits = [table.take_all([(slow, f"client {n}")], 0)[0].wait_ns for n in range(1000)]

    assert len(table) <= 101
    assert waits[:100] == [0] * 100
    assert sum(wait == 0 for wait in waits[100:]) == 1


def test_allowances_that_are_full_again_make_room() -> None:
    table = Allowances(capacity=100)
    for n in range(100):
        table.take_all([(limit(), f"client {n}")], 0)

    later = table.take_all([(limit(), "newcomer")], 2 * NS_PER_S)
    another = table.take_all([(limit(), "another")], 2 * NS_PER_S)

    assert later[0].wait_ns == another[0].wait_ns == 0
    assert len(table) <= 100


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
