"""The table of allowances in shared memory: a limit holds over all processes together.

Made before a process forks and used by all that come of it. The memory is an anonymous mapping, the monotonic clock
is the machine's, the arithmetic that of `core/limits`; here stand only where an allowance lies and who may touch it.

Where: a digest of limit and caller, with a secret made for each table, chooses a bucket of eight entries. A newcomer
takes one whose allowance is full again, for such an entry says nothing. Where all eight still owe something, nobody is
put out: newcomers of that limit share one entry in buckets of their own. With four entries for each caller of the
capacity that happens to one caller in several thousand, and to no caller that an attacker can choose.

Who: stripes of buckets, each a byte of a file that nobody reads, held by record locks. The kernel drops them when a
process ends, however it ends. They belong to a process and not to a descriptor, so each process holds its own after a
fork. Two things follow. Whoever closes any descriptor of the file drops all locks that the process holds; so there is
no other descriptor, and no name to open one by. And they keep out processes, not threads: one thread takes.

A process that dies while it writes leaves nothing wrong. The moment of an entry is one aligned word, and a key is
written before it, while the old moment still says that the allowance is full: whatever key such an entry has, it
counts as free.
"""

import mmap
import os
import secrets
import struct
import tempfile
from collections.abc import Sequence
from fcntl import LOCK_EX, LOCK_UN, lockf
from hashlib import blake2b

from gateway.core.limits import Standing, take_each
from gateway.core.model import Limit

_KEY_BYTES = 16
_WORD_BYTES = 8
_ENTRIES = 8
_ENTRY_BYTES = _KEY_BYTES + _WORD_BYTES
_BUCKET = struct.Struct("=" + f"{_KEY_BYTES}sq" * _ENTRIES)
_ENTRIES_PER_CALLER = 4
_STRIPES = 64
# Buckets where newcomers share an entry for each limit: room for more limits than any route file names.
_SHARED_BUCKETS = 64
# Locked after all others, so that processes wait for each other in one direction only.
_SHARED_STRIPE = _STRIPES


class SharedAllowances:
    """At most about `capacity` callers over all limits and processes, a hundred bytes each, all set aside at once.

    To be made before the fork. Moments are kept in 63 bits of nanoseconds, which are 292 years; the longest allowance
    that a route file may name, a million requests at one an hour, is full after 114.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._secret = secrets.token_bytes(_KEY_BYTES)
        self._buckets = -(-capacity * _ENTRIES_PER_CALLER // _ENTRIES)
        self._memory = mmap.mmap(-1, (self._buckets + _SHARED_BUCKETS) * _BUCKET.size)
        self._words = memoryview(self._memory).cast("q")
        self._file = _nameless_file()

    @property
    def size_bytes(self) -> int:
        return len(self._memory)

    @property
    def places(self) -> int:
        """How many callers may owe something at once, besides those who share entries."""
        return self._buckets * _ENTRIES

    def take_all(self, asked: Sequence[tuple[Limit, str]], now_ns: int) -> tuple[Standing, ...]:
        """Spend one request of each (limit, caller), or none of any when one of them has to wait."""
        wanted = [self._wanted(limit.name, caller) for limit, caller in asked]
        try:
            self._hold([bucket % _STRIPES for _, bucket in wanted])
            found = self._find(asked, wanted, now_ns)
            standings, dues = take_each(asked, [due for _, _, due in found], now_ns)
            for (key, place, _), due in zip(found, dues, strict=False):  # none where nothing was spent
                self._write(key, place, due)
        finally:
            # One call gives back all that are held, and the file has no other bytes.
            lockf(self._file, LOCK_UN)
        return standings

    def close(self) -> None:
        """Give the memory back, in this process."""
        self._words.release()
        self._memory.close()
        os.close(self._file)

    def _wanted(self, limit: str, caller: str) -> tuple[bytes, int]:
        """The key, and the bucket that it belongs in. A limit's name has no NUL; a subject may even be half a pair."""
        text = f"{limit}\0{caller}".encode("utf-8", "surrogatepass")
        key = blake2b(text, digest_size=_KEY_BYTES, key=self._secret).digest()
        return key, int.from_bytes(key[:_WORD_BYTES]) % self._buckets

    def _hold(self, stripes: Sequence[int]) -> None:
        """Wait until these are ours, from the lowest up: whoever waits for one holds none above it."""
        for stripe in sorted(stripes):
            lockf(self._file, LOCK_EX, 1, stripe)

    def _find(
        self, asked: Sequence[tuple[Limit, str]], wanted: Sequence[tuple[bytes, int]], now_ns: int
    ) -> list[tuple[bytes, int, int]]:
        """For each key: itself or the one it shares, its place, and when it is full again."""
        found: list[tuple[bytes, int, int]] = []
        shares = False
        for (limit, _), (key, bucket) in zip(asked, wanted, strict=True):
            place, due = self._look(key, bucket, found, now_ns)
            if place is not None:
                found.append((key, place, due))
                continue
            if not shares:
                self._hold([_SHARED_STRIPE])
                shares = True
            found.append(self._shared(limit.name, found, now_ns))
        return found

    def _shared(self, limit: str, taken: Sequence[tuple[bytes, int, int]], now_ns: int) -> tuple[bytes, int, int]:
        """Where newcomers of a limit wait together; several limits together, should even that bucket be full."""
        key, number = self._wanted(limit, "")
        bucket = self._buckets + number % _SHARED_BUCKETS
        place, due = self._look(key, bucket, taken, now_ns)
        if place is not None:
            return key, place, due
        first = bucket * _ENTRIES
        key, due = _BUCKET.unpack_from(self._memory, first * _ENTRY_BYTES)[:2]
        return key, first, due

    def _look(
        self, key: bytes, bucket: int, taken: Sequence[tuple[bytes, int, int]], now_ns: int
    ) -> tuple[int | None, int]:
        """The entry of a key and when it is full again, or one that it may have; None where all owe something.

        taken: what this request is about to write.
        """
        fields = _BUCKET.unpack_from(self._memory, bucket * _BUCKET.size)
        keys, dues = fields[::2], fields[1::2]
        first = bucket * _ENTRIES
        gone = [place - first for other, place, _ in taken if other != key] if taken else ()
        if key in keys:
            number = keys.index(key)
            if number not in gone:
                return first + number, dues[number]
        for number, due in enumerate(dues):
            if due <= now_ns and number not in gone:
                return first + number, 0
        return None, 0

    def _write(self, key: bytes, place: int, due_ns: int) -> None:
        at = place * _ENTRY_BYTES
        if self._memory[at : at + _KEY_BYTES] != key:
            # Before the moment: the other way round, whoever was here before would owe what this one took.
            self._memory[at : at + _KEY_BYTES] = key
        self._words[(at + _KEY_BYTES) // _WORD_BYTES] = due_ns


def _nameless_file() -> int:
    """A descriptor of a file that nobody else can open."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("allowances")
    descriptor, name = tempfile.mkstemp()
    os.unlink(name)  # noqa: PTH108 - there is no path to keep
    return descriptor
