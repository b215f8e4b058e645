"""What all processes of a gateway have counted, seen and decided, put together by the keeper for operators."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from gateway.decisions import Decided, merged
from gateway.decisions import read as read_decisions
from gateway.sight import Sight
from gateway.telemetry import Metrics
from gateway.workers import sight as sights
from gateway.workers.totals import KEEPER, Totals, dumped


class Overview:
    """totals: the metrics of all. Workers go by names that no other process ever has."""

    def __init__(self, metrics: Metrics, after: Sequence[Any] | None) -> None:
        """metrics: the keeper's own. after: what the keeper before this one had counted, None for the first."""
        self.totals = Totals(metrics.together)
        self._metrics = metrics
        self._sights: dict[str, Sight] = {}
        self._decided: dict[str, list[Decided]] = {}
        self._sight_of_gone = Sight({}, {}, ())
        self._decided_by_gone: list[Decided] = []
        if after is not None:
            self.totals.adopt(after)

    def take(self, name: str, known: Mapping[str, Any]) -> None:
        """What a worker knows now, as `known_to` spelled it."""
        self.totals.take(name, known["metrics"])
        self._sights[name] = sights.read(known["sight"])
        self._decided[name] = read_decisions(known["decisions"])

    def take_own(self) -> list[Any]:
        """What the keeper itself has counted; returns all that the next keeper must begin with."""
        self.totals.take(KEEPER, dumped(self._metrics.registry))
        return self.totals.carried()

    def gone(self, name: str) -> None:
        """A worker has ended: what it counted and decided stays."""
        self.totals.gone(name)
        self._decided_by_gone = merged([self._decided_by_gone, self._decided.pop(name, [])])
        seen = self._sights.pop(name, None)
        if seen is not None:
            self._sight_of_gone = sights.added([self._sight_of_gone, sights.left_by(seen)])

    def keep_only(self, names: AbstractSet[str]) -> None:
        """All workers but these have ended."""
        for name in self.totals.workers() - names:
            self.gone(name)

    def sight(self) -> Sight:
        return sights.added([self._sight_of_gone, *self._sights.values()])

    def decided(self) -> list[Decided]:
        """The newest first."""
        lists: Iterable[list[Decided]] = (self._decided_by_gone, *self._decided.values())
        return merged(lists)
