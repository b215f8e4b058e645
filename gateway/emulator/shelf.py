"""What is waited for and not kept for ever: codes, links, sign-ins under way."""

from typing import Generic, TypeVar

T = TypeVar("T")

MOST = 10_000


class Shelf(Generic[T]):
    """Things by name until they expire, bounded in number: when it is full, the oldest goes."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._things: dict[str, tuple[T, float]] = {}

    def __len__(self) -> int:
        return len(self._things)

    def put(self, name: str, thing: T, expires_s: float, now_s: float) -> None:
        """Keep a thing under this name, in place of any other."""
        self._things.pop(name, None)
        if len(self._things) >= self._most:
            self._things = {one: kept for one, kept in self._things.items() if kept[1] > now_s}
        if len(self._things) >= self._most:
            del self._things[next(iter(self._things))]
        self._things[name] = (thing, expires_s)

    def get(self, name: str, now_s: float) -> T | None:
        """The thing of this name, if there is one that has not expired."""
        thing, expires_s = self._things.get(name, (None, 0.0))
        return thing if now_s < expires_s else None

    def take(self, name: str, now_s: float) -> T | None:
        """As `get`, and nobody gets it again."""
        found = self.get(name, now_s)
        self._things.pop(name, None)
        return found
