"""A memory of what was worked out before: bounded by number, bytes and time, and cheap to ask.

Two generations. What is asked for again moves into the younger one; when that is full or has lasted a while, the older
one is forgotten whole. What is kept may hold secrets, so that it stays no longer than it is of use, or until the next
question.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Sightings:
    """Which keys came before, told by marks alone: quick to ask, and nothing of the keys is kept.

    most: how many are marked before all of them are forgotten. Shortly before, one in eight that never came is taken
    for one that did.
    """

    def __init__(self, most: int = 8 * 1024) -> None:
        self._most = self._left = most
        self._marks = bytearray(8 * most)

    def again(self, key: Hashable) -> bool:
        """Whether `key` came before; from now on it did."""
        slot = hash(key) % len(self._marks)
        if self._marks[slot]:
            return True
        if not self._left:
            self._marks = bytearray(8 * self._most)
            self._left = self._most
        self._marks[slot] = 1
        self._left -= 1
        return False


class Memory(Generic[K, V]):
    """most, most_bytes: of one generation; the caller says how large a value is. lasting_s: its age at the most."""

    def __init__(self, most: int = 4096, most_bytes: int = 4 * 1024 * 1024, lasting_s: float = 60.0) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._lasting_s = lasting_s
        self._young: dict[K, tuple[V, int]] = {}
        self._old: dict[K, tuple[V, int]] = {}
        self._bytes = 0
        self._ends_s = 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K, now_s: float) -> V | None:
        """What was kept for `key`. now_s: any clock that does not go back, the same for all calls."""
        if now_s >= self._ends_s:
            self._turn(now_s)
        known = self._young.get(key)
        if known is None:
            known = self._old.pop(key, None)
            if known is None:
                return None
            self._put(key, known)
        return known[0]

    def keep(self, key: K, value: V, size: int, now_s: float) -> None:
        """Keep `value` for `key`, which was not there. size: in bytes, all told."""
        if len(self._young) >= self._most or self._bytes + size > self._most_bytes:
            self._turn(now_s)
        if size <= self._most_bytes:
            self._put(key, (value, size))

    def forget(self) -> None:
        """Let go of everything."""
        self._old, self._young, self._bytes = {}, {}, 0

    def _put(self, key: K, known: tuple[V, int]) -> None:
        self._young[key] = known
        self._bytes += known[1]

    def _turn(self, now_s: float) -> None:
        # After two lifetimes without a question nothing of the younger generation is worth keeping either.
        self._old = self._young if now_s < self._ends_s + self._lasting_s else {}
        self._young = {}
        self._bytes = 0
        self._ends_s = now_s + self._lasting_s
