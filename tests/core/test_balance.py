"""Targets of a service: who gets the next request, who is out, and how many requests may be repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.balance import LONGEST_OUT_S, Balance, Member, RetryBudget
from gateway.core.model import EjectRules, RetryRules, ServiceTarget

_EJECT = EjectRules(after=2, for_s=10.0)


def balance(count: int, eject: EjectRules = _EJECT) -> Balance[Member]:
    return Balance([Member(ServiceTarget("10.0.0.1", 9000 + number)) for number in range(count)], eject)


def fail(targets: Balance[Member], member: Member, times: int, now_s: float = 0.0) -> list[bool]:
    return [targets.failed(member, now_s) for _ in range(times)]


# --- choice -----------------------------------------------------------------------------------------------------------


def test_the_target_with_the_fewest_requests_under_way_is_next() -> None:
    targets = balance(3)
    for member, busy in zip(targets.members, (2, 0, 1), strict=True):
        member.busy = busy

    assert targets.least_pending() is targets.members[1]
    targets.members[1].busy = 3
    assert targets.least_pending() is targets.members[2]


def test_equals_take_turns() -> None:
    targets = balance(3)
    taken = []
    for _ in range(6):
        member = targets.least_pending()
        targets.occupy(member)
        member.busy -= 1
        taken.append(targets.members.index(member))

    assert taken == [0, 1, 2, 0, 1, 2]


def test_asking_who_is_next_uses_up_nobodys_turn() -> None:
    targets = balance(2)

    assert len({id(targets.least_pending()) for _ in range(4)} | {id(targets.with_room(1)) for _ in range(4)}) == 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 20))
def test_whoever_is_chosen_nobody_has_less_to_do(busy: list[int], turns: int) -> None:
    targets = balance(len(busy))
    for _ in range(turns):
        targets.turn = targets.least_pending().following
    for member, count in zip(targets.members, busy, strict=True):
        member.busy = count

    assert targets.least_pending().busy == min(busy)


def test_a_full_target_gets_no_further_connection() -> None:
    targets = balance(2)
    targets.members[0].open, targets.members[1].open = 2, 1
    targets.members[1].busy = 9

    assert targets.with_room(2) is targets.members[1]
    assert targets.with_room(2, but=targets.members[1]) is None
    assert targets.with_room(1) is None


# --- out and in -------------------------------------------------------------------------------------------------------


def test_failures_in_a_row_take_a_target_out_for_its_time() -> None:
    targets = balance(2)
    first, second = targets.members

    assert fail(targets, first, 2) == [False, True]
    assert targets.usable == [second]
    assert targets.returned(9.9) == []
    assert targets.next_return_s() == 10.0
    assert targets.returned(10.0) == [first]
    assert targets.usable == [first, second]


def test_a_success_between_failures_begins_the_count_anew() -> None:
    targets = balance(2)
    first = targets.members[0]

    for _ in range(5):
        fail(targets, first, 1)
        targets.succeeded(first, 0.0)

    assert first.is_in


def test_who_fails_again_soon_stays_out_twice_as_long_and_never_longer_than_the_bound() -> None:
    targets = balance(2)
    first, now_s, spans = targets.members[0], 0.0, []
    for _ in range(8):
        fail(targets, first, 2, now_s)
        spans.append(first.out_s)
        now_s += first.out_s
        targets.returned(now_s)

    assert spans == [10, 20, 40, 80, 160, 300, 300, 300]
    assert LONGEST_OUT_S == 300


def test_who_has_served_for_as_long_as_it_was_out_begins_anew() -> None:
    targets = balance(2)
    first = targets.members[0]
    fail(targets, first, 2, 0.0)
    targets.returned(10.0)
    fail(targets, first, 2, 10.0)
    targets.returned(30.0)
    fail(targets, first, 2, 51.0)

    assert first.out_s == 10


def test_the_only_target_is_never_taken_out() -> None:
    targets = balance(1)

    assert fail(targets, targets.members[0], 10) == [False] * 10
    assert targets.usable == list(targets.members)


def test_after_nought_nothing_is_taken_out() -> None:
    targets = balance(2, EjectRules(after=0))

    assert fail(targets, targets.members[0], 100) == [False] * 100


def test_when_all_are_out_all_serve() -> None:
    targets = balance(3)
    for member in targets.members:
        fail(targets, member, 2)

    assert targets.usable == list(targets.members)
    assert [member.serves for member in targets.members] == [True] * 3
    assert [member.is_in for member in targets.members] == [False] * 3


def test_when_all_are_out_the_first_to_answer_is_in_again() -> None:
    targets = balance(2)
    for member in targets.members:
        fail(targets, member, 2)

    assert targets.succeeded(targets.members[1], 1.0)
    assert targets.usable == [targets.members[1]]


def test_a_late_answer_of_what_is_out_brings_it_not_back_while_another_serves() -> None:
    targets = balance(2)
    fail(targets, targets.members[0], 2)

    assert not targets.succeeded(targets.members[0], 1.0)
    assert targets.usable == [targets.members[1]]


def test_checks_and_ejection_both_have_to_let_a_target_in() -> None:
    targets = balance(2)
    first, second = targets.members
    fail(targets, first, 2)
    targets.checked(first, healthy=False)
    targets.returned(10.0)

    assert targets.usable == [second]
    targets.checked(first, healthy=True)
    assert targets.usable == [first, second]


# --- repeats ----------------------------------------------------------------------------------------------------------


def spent(budget: RetryBudget, wanted: int, requests: int, now_s: float) -> int:
    return sum(budget.spend(requests, now_s) for _ in range(wanted))


def test_a_few_requests_may_always_be_repeated() -> None:
    assert spent(RetryBudget(RetryRules(0.2, 10), 0.0), 50, 1, 0.0) == 10


def test_of_many_requests_a_share_may_be_repeated() -> None:
    assert spent(RetryBudget(RetryRules(0.2, 10), 0.0), 1000, 500, 5.0) == 100


def test_with_neither_share_nor_floor_nothing_is_repeated() -> None:
    assert spent(RetryBudget(RetryRules(0.0, 0), 0.0), 10, 1000, 0.0) == 0


def test_what_was_long_ago_gives_no_budget_beyond_ten_seconds_of_it() -> None:
    budget = RetryBudget(RetryRules(0.2, 0), 0.0)

    assert spent(budget, 100_000, 36_000, 3600.0) == 20  # ten a second, of which ten seconds count


def test_what_was_spent_comes_back_with_time() -> None:
    budget = RetryBudget(RetryRules(0.2, 10), 0.0)
    spent(budget, 50, 0, 0.0)

    assert spent(budget, 50, 0, 9.0) == 0
    assert spent(budget, 50, 0, 15.0) == 5
    assert spent(budget, 50, 0, 60.0) == 10


@pytest.mark.parametrize("each_s", [1, 7, 100])
def test_at_a_steady_pace_repeats_stay_within_their_share(each_s: int) -> None:
    budget = RetryBudget(RetryRules(0.2, 0), 0.0)
    requests = repeats = 0
    for tenths in range(1, 1200):
        requests = each_s * tenths // 10
        repeats += spent(budget, 100, requests, tenths / 10)

    assert requests // 10 <= repeats <= 0.21 * requests + 2
