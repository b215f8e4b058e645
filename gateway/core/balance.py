"""Which target of a service gets the next request, which ones are out, and how many requests may be repeated.

The target with the fewest requests under way is chosen, in turn among equals. A target goes out when its active checks
fail, or after failures in a row (ejection), and comes back by itself. When all are out, all of them serve again: then
nothing is known that makes one better than another, a request is as good a question as any check, and the load of the
whole service on the one that seems least bad would bring that one down too. The first to answer is in again.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

from gateway.core.model import EjectRules, RetryRules, ServiceTarget

LONGEST_OUT_S = 300.0
RETRY_WINDOW_S = 10.0


class Member:
    """One target and how it stands.

    busy: requests under way. open: connections, those being made included. failures: in a row. serves: whether it is
    among `Balance.usable`; following: whose turn it is there after it.
    """

    __slots__ = ("back_s", "busy", "failures", "following", "healthy", "open", "out_s", "serves", "target", "until_s")

    def __init__(self, target: ServiceTarget) -> None:
        self.target = target
        self.busy = 0
        self.open = 0
        self.failures = 0
        self.healthy = True
        self.serves = True
        self.following = 0
        self.until_s: float | None = None
        self.out_s = 0.0
        self.back_s = 0.0

    @property
    def is_in(self) -> bool:
        return self.healthy and self.until_s is None


M = TypeVar("M", bound=Member)


class Balance(Generic[M]):
    """The targets of one service. usable: those that serve now. turn: the place there of the next, among equals."""

    def __init__(self, members: Sequence[M], eject: EjectRules) -> None:
        self.members = tuple(members)
        self.usable: list[M] = list(members)
        self.turn = 0
        self._eject = eject
        self._sort()

    # --- choice -----------------------------------------------------------------------------------------------------

    def least_pending(self) -> M:
        """The usable target with the fewest requests under way, in turn among equals."""
        usable = self.usable
        count = len(usable)
        if count == 1:
            return usable[0]
        turn = self.turn
        best = usable[turn]
        if best.busy:
            for offset in range(1 - count, 0):  # those behind it, and round to those before it
                member = usable[turn + offset]
                if member.busy < best.busy:
                    best = member
        return best

    def with_room(self, most: int, *, but: M | None = None) -> M | None:
        """The same among those that may have another connection, of at most `most`; `but` is left out."""
        count = len(self.usable)
        best = None
        for offset in range(count):
            member = self.usable[(self.turn + offset) % count]
            if member is not but and member.open < most and (best is None or member.busy < best.busy):
                best = member
        return best

    def occupy(self, member: M) -> None:
        """A request takes a place for a new connection."""
        member.busy += 1
        member.open += 1
        self.turn = member.following

    # --- out and in -------------------------------------------------------------------------------------------------

    def failed(self, member: M, now_s: float) -> bool:
        """A request failed for the target's sake; True when it goes out because of it."""
        member.failures += 1
        after = self._eject.after
        if not after or member.failures < after or member.until_s is not None or len(self.members) == 1:
            return False
        # Soon out again: out for twice as long. Having served for as long as it was out, it begins anew.
        begins_anew = not member.out_s or now_s - member.back_s > member.out_s
        longest_s = max(LONGEST_OUT_S, self._eject.for_s)
        member.out_s = self._eject.for_s if begins_anew else min(member.out_s * 2, longest_s)
        member.until_s = now_s + member.out_s
        self._sort()
        return True

    def succeeded(self, member: M, now_s: float) -> bool:
        """The target answered a request; True when it is in again because of it."""
        member.failures = 0
        if member.until_s is None or any(other.is_in for other in self.members):
            return False  # what it took before it went out may still end well
        self._return(member, now_s)
        return member.is_in

    def returned(self, now_s: float) -> list[M]:
        """Bring back those whose time out is over, and name them."""
        back = [member for member in self.members if member.until_s is not None and member.until_s <= now_s]
        for member in back:
            self._return(member, now_s)
        return back

    def next_return_s(self) -> float | None:
        """When the next of those that went out for failures comes back; None where none is out."""
        return min((member.until_s for member in self.members if member.until_s is not None), default=None)

    def checked(self, member: M, *, healthy: bool) -> None:
        """What the active checks make of the target from now on."""
        member.healthy = healthy
        self._sort()

    def _return(self, member: M, now_s: float) -> None:
        member.until_s = None
        member.back_s = now_s
        member.failures = 0
        self._sort()

    def _sort(self) -> None:
        self.usable = [member for member in self.members if member.is_in] or list(self.members)
        for member in self.members:
            member.serves = member in self.usable
        for index, member in enumerate(self.usable):
            member.following = (index + 1) % len(self.usable)
        self.turn = 0


class RetryBudget:
    """How many requests may be repeated, so that repeats never double the load of a service that is dying.

    Ten seconds are looked back on; of those before the present ten, the part that still counts is taken for even.
    """

    __slots__ = ("_before", "_began_s", "_requests", "_rules", "_spent", "_spent_before")

    def __init__(self, rules: RetryRules, now_s: float) -> None:
        self._rules = rules
        self._began_s = now_s
        self._requests = 0.0  # of all ever, as the present ten seconds began
        self._before = 0.0  # requests in the ten seconds before them
        self._spent = 0
        self._spent_before = 0

    def spend(self, requests: int, now_s: float) -> bool:
        """Whether one more may be repeated. requests: how many there have been ever, repeats left out."""
        since_s = now_s - self._began_s
        if since_s >= RETRY_WINDOW_S:
            each_s = (requests - self._requests) / since_s
            is_next = since_s < 2 * RETRY_WINDOW_S
            since_s = since_s - RETRY_WINDOW_S if is_next else 0.0  # where nobody asked for long, they begin now
            self._began_s = now_s - since_s
            self._before, self._requests = each_s * RETRY_WINDOW_S, requests - each_s * since_s
            self._spent_before, self._spent = self._spent if is_next else 0, 0
        still = 1.0 - since_s / RETRY_WINDOW_S
        recent = requests - self._requests + self._before * still
        spent = self._spent + self._spent_before * still
        if spent + 1 > max(recent * self._rules.share, self._rules.floor):
            return False
        self._spent += 1
        return True
