"""The table that processes share, with real ones. Its rules for any process stand in tests/core/test_limits.py."""

import fcntl
import os
import select
import signal
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.limits import NS_PER_S, Allowances
from gateway.core.model import Limit, Per, Rate
from gateway.workers.allowances import SharedAllowances

HOUR_NS = 3600 * NS_PER_S
ONE_BUCKET = 1  # a capacity for which there is one bucket, of eight entries
ENTRIES = 8

Say = Callable[[int], None]
Work = Callable[[Say], None]


def limit(name: str = "one", *, every_ns: int = HOUR_NS, burst: int = 1) -> Limit:
    return Limit(name, Rate(every_ns, burst), Per.SUBJECT)


@pytest.fixture
def table() -> Iterator[SharedAllowances]:
    made = SharedAllowances(1000)
    yield made
    made.close()


@pytest.fixture
def bucket() -> Iterator[SharedAllowances]:
    """A table of a single bucket."""
    made = SharedAllowances(ONE_BUCKET)
    assert made.places == ENTRIES
    yield made
    made.close()


class Child:
    """A process that works, and says numbers over a pipe."""

    def __init__(self, work: Work) -> None:
        self._reads, writes = os.pipe()
        with warnings.catch_warnings():
            # Later versions of Python warn of any fork beside a thread; the one that watches the time does no harm.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            try:
                work(lambda said: _written(writes, said))
                os._exit(0)
            finally:  # never back into the tests of the process that forked
                os._exit(1)
        os.close(writes)
        self._lines = os.fdopen(self._reads, "rb", buffering=0)
        self._is_over = False

    def has_spoken(self, within_s: float) -> bool:
        return bool(select.select([self._lines], [], [], within_s)[0])

    def said(self) -> int:
        """The next number; a child that ended without one fails the test."""
        line = self._lines.readline()
        assert line, "the child ended without a word"
        return int(line)

    def kill(self) -> None:
        if not self._is_over:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._is_over = True

    def close(self) -> None:
        self.kill()
        self._lines.close()


def _written(descriptor: int, said: int) -> None:
    os.write(descriptor, b"%d\n" % said)


@contextmanager
def children(*works: Work) -> Iterator[list[Child]]:
    with ExitStack() as stack:
        started = []
        for work in works:
            started.append(Child(work))
            stack.callback(started[-1].close)
        yield started


def passed_in(table: SharedAllowances, begins_at: float, asked: Sequence[tuple[Limit, str]], times: int) -> Work:
    """Work: ask so many times from a moment on, and say how often all of it was let through."""

    def work(say: Say) -> None:
        while time.monotonic() < begins_at:
            pass
        say(sum(all(s.wait_ns == 0 for s in table.take_all(asked, 0)) for _ in range(times)))

    return work


def test_t18_processes_that_ask_at_the_same_moment_get_no_more_than_the_burst(table: SharedAllowances) -> None:
    asked = [(limit(burst=3000), "ada")]
    begins_at = time.monotonic() + 0.05

    with children(*[passed_in(table, begins_at, asked, 2000)] * 3) as three:
        passed = [child.said() for child in three]

    assert sum(passed) == 3000


def test_requests_with_several_limits_in_any_order_never_wait_for_each_other_in_a_circle(
    table: SharedAllowances,
) -> None:
    limits = [limit(f"limit {n}", burst=2500) for n in range(6)]
    there, back = [(one, "ada") for one in limits], [(one, "ada") for one in reversed(limits)]
    begins_at = time.monotonic() + 0.05

    with children(
        passed_in(table, begins_at, there, 1500),
        passed_in(table, begins_at, back, 1500),
    ) as two:
        passed = [child.said() for child in two]

    assert sum(passed) == 2500


def test_newcomers_of_several_processes_share_the_one_entry() -> None:
    table = SharedAllowances(2 * ONE_BUCKET + 1)
    assert table.places == 2 * ENTRIES
    for n in range(500):
        table.take_all([(limit("other"), f"early {n}")], 0)
    names = {table._wanted("one", name)[1]: name for name in map(str, range(100))}
    asked = [[(limit(burst=3000), names[bucket])] for bucket in (0, 1)]
    begins_at = time.monotonic() + 0.05

    with children(*(passed_in(table, begins_at, one, 2000) for one in asked)) as two:
        passed = [child.said() for child in two]

    assert sum(passed) == 3000
    table.close()


def hold_everything(table: SharedAllowances) -> Work:
    def work(say: Say) -> None:
        table._hold(range(100))
        say(1)
        time.sleep(60)

    return work


def test_a_process_that_is_killed_while_it_holds_the_table_stops_nobody(table: SharedAllowances) -> None:
    with children(hold_everything(table)) as [holder]:
        holder.said()
        with pytest.raises(BlockingIOError):
            fcntl.lockf(table._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
        with children(passed_in(table, 0, [(limit(), "ada")], 1)) as [waiting]:
            assert not waiting.has_spoken(0.05)
            holder.kill()
            passed = waiting.said()

    assert passed == 1
    assert table.take_all([(limit(), "bob")], 0)[0].wait_ns == 0


def test_a_process_holds_the_table_for_itself_and_not_for_what_it_forks(table: SharedAllowances) -> None:
    table._hold(range(100))
    with children(passed_in(table, 0, [(limit(), "ada")], 1)) as [waiting]:
        assert not waiting.has_spoken(0.05)
        fcntl.lockf(table._file, fcntl.LOCK_UN)

        assert waiting.said() == 1


def test_what_a_process_took_is_gone_for_those_that_are_forked_later(table: SharedAllowances) -> None:
    asked = [(limit(burst=3), "ada")]
    for _ in range(2):
        with children(passed_in(table, 0, asked, 1)) as [child]:
            child.said()

    with children(passed_in(table, 0, asked, 5)) as [third]:
        assert third.said() == 1


def test_processes_killed_at_work_leave_allowances_that_fill_again(bucket: SharedAllowances) -> None:
    slow, wide = limit(), limit("two", every_ns=1, burst=1)

    def work(say: Say) -> None:
        say(1)
        for now_ns in range(10**9):
            bucket.take_all([(wide, f"client {now_ns}"), (slow, f"client {now_ns % 100}")], now_ns)

    for _ in range(10):
        with children(work) as [child]:
            child.said()
            time.sleep(0.003)
    latest_ns = 10**9 + HOUR_NS
    waits = [bucket.take_all([(slow, f"client {n}")], latest_ns)[0].wait_ns for n in range(ENTRIES)]

    assert waits == [0] * ENTRIES


@contextmanager
def dying_at_the_moment(table: SharedAllowances) -> Iterator[None]:
    """No moment can be written inside: as if the process died before it could."""
    words, table._words = table._words, memoryview(bytes(table.size_bytes)).cast("q")
    try:
        with pytest.raises(TypeError, match="read-only"):
            yield
    finally:
        table._words = words


def test_a_process_that_dies_between_key_and_moment_leaves_a_free_entry(bucket: SharedAllowances) -> None:
    quick = limit(every_ns=10)
    for n in range(ENTRIES):
        bucket.take_all([(quick, f"early {n}")], 0)
    with dying_at_the_moment(bucket):
        bucket.take_all([(quick, "ada")], 10)

    waits = [bucket.take_all([(quick, f"client {n}")], 10)[0].wait_ns for n in range(ENTRIES - 1)]

    assert waits == [0] * (ENTRIES - 1)
    assert bucket.take_all([(quick, "ada")], 10)[0].wait_ns == 0


def test_the_key_is_written_before_the_moment(bucket: SharedAllowances) -> None:
    with dying_at_the_moment(bucket):
        bucket.take_all([(limit(), "ada")], 0)

    assert bucket._wanted("one", "ada")[0] in bucket._memory[:]


def test_a_full_bucket_sends_newcomers_to_the_shared_entry_and_puts_nobody_out(bucket: SharedAllowances) -> None:
    slow = limit(burst=2)
    for n in range(ENTRIES):
        bucket.take_all([(slow, f"early {n}")], 0)

    newcomers = [bucket.take_all([(slow, f"late {n}")], 0)[0].remaining for n in range(4)]
    early = [bucket.take_all([(slow, f"early {n}")], 0)[0].remaining for n in range(ENTRIES)]

    assert newcomers == [1, 0, 0, 0]
    assert early == [0] * ENTRIES


def test_a_newcomer_with_several_limits_takes_an_entry_for_each(bucket: SharedAllowances) -> None:
    limits = [limit(f"limit {n}") for n in range(ENTRIES + 2)]
    first = bucket.take_all([(one, "ada") for one in limits], 0)

    waits = [bucket.take_all([(one, "ada")], 0)[0].wait_ns for one in limits]

    assert [s.wait_ns for s in first] == [0] * len(limits)
    assert min(waits) > 0


def test_a_rested_caller_whose_entry_the_same_request_gives_away_is_still_counted(bucket: SharedAllowances) -> None:
    quick = limit("quick", every_ns=10)
    for n in range(ENTRIES):
        bucket.take_all([(quick, f"early {n}")], 0)
    slow = limit("slow")

    bucket.take_all([*[(slow, f"late {n}") for n in range(ENTRIES - 1)], (quick, "early 0")], 10)

    assert bucket.take_all([(quick, "early 0")], 10)[0].wait_ns == 10
    assert min(bucket.take_all([(slow, f"late {n}")], 10)[0].wait_ns for n in range(ENTRIES - 1)) > 0


def test_more_limits_than_have_room_to_share_still_hold(bucket: SharedAllowances) -> None:
    slow = limit()
    for n in range(ENTRIES):
        bucket.take_all([(slow, f"early {n}")], 0)

    for name in range(2000):
        bucket.take_all([(limit(f"limit {name}"), "ada")], 0)

    assert min(bucket.take_all([(limit(f"limit {name}"), "bob")], 0)[0].wait_ns for name in range(2000)) > 0


def test_a_caller_may_have_any_name(table: SharedAllowances) -> None:
    names = ["", "\0", "a\0b", "\ud800", "é", "x" * 10_000]

    waits = [table.take_all([(limit(), name)], 0)[0].wait_ns for name in (*names, *names)]

    assert waits == [0] * len(names) + [HOUR_NS] * len(names)


def test_t18_memory_does_not_grow_with_callers() -> None:
    table = SharedAllowances(1000)
    slow = limit()
    before_bytes = table.size_bytes
    for n in range(5000):
        table.take_all([(slow, f"client {n}")], n)
    tracemalloc.start()
    try:
        held_before, _ = tracemalloc.get_traced_memory()
        for n in range(5000, 15_000):
            table.take_all([(slow, f"client {n}")], n)
        held_after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held_after - held_before < 10_000
    assert table.size_bytes == before_bytes < 1000 * 120
    table.close()


def test_callers_as_many_as_the_capacity_nearly_all_have_an_entry_of_their_own() -> None:
    table = SharedAllowances(20_000)
    slow = limit()

    waits = [table.take_all([(slow, f"client {n}")], 0)[0].wait_ns for n in range(20_000)]

    # With two to a bucket on average, three of them lie beyond the eighth, by Poisson's distribution.
    assert sum(wait > 0 for wait in waits) < 40
    table.close()


LIMITS = st.lists(
    st.tuples(
        st.sampled_from([limit("a", every_ns=7, burst=3), limit("b", every_ns=50), limit("c", every_ns=13, burst=2)]),
        st.sampled_from(["ada", "bob", "cleo"]),
    ),
    min_size=1,
    max_size=4,
)


@given(asked=st.lists(st.tuples(LIMITS, st.integers(0, 30)), max_size=60))
def test_it_answers_as_the_table_of_one_process_does(asked: list[tuple[list[tuple[Limit, str]], int]]) -> None:
    shared, plain = SharedAllowances(100), Allowances()
    now_ns = 1
    for request, later_ns in asked:
        now_ns += later_ns

        assert shared.take_all(request, now_ns) == plain.take_all(request, now_ns)
    shared.close()
