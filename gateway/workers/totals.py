"""Metrics of several processes as those of one gateway.

Prometheus takes a counter that goes down for one that began anew, and counts all of it again; so nothing that was told
once may ever be missed. What a process counted stays when it ends. Within a process the highest count holds, whatever
comes late or twice. Sums of seconds are cut to grains that add up without rounding, or their total would depend on the
order in which it is added, and go down by a hair when a process ends.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import add
from typing import Any

from prometheus_client import Metric
from prometheus_client.registry import Collector

from gateway.families import Family, Together, family_of

KEEPER = "keeper"
_GONE = ""
_GRAINS = 2**20  # of a second or whatever is counted: a microsecond, exact up to 2**33

Dump = list[Any]
_Families = dict[str, Family]
_How = Callable[[float, float], float]


def dumped(registry: Collector) -> Dump:
    """All families as plain lists: name, kind, help, labels, columns, and rows of labels with their values behind."""
    return [_plain(family_of(metric)) for metric in registry.collect()]


class Totals(Collector):
    """The metrics of one gateway, put together from the latest dumps of its processes.

    together: the rule for each gauge (`Metrics.together`); one without a rule is left out.
    """

    def __init__(self, together: Mapping[str, Together]) -> None:
        self._together = together
        self._known: dict[str, _Families] = {}
        self._gone: _Families = {}

    def take(self, key: str, dump: Dump) -> None:
        """What a process knows now. key: KEEPER, or a worker, by a name that no other process ever has."""
        families = _read(dump)
        _put_all(families, _counting(self._known.get(key, {})), max)
        self._known[key] = families

    def gone(self, key: str) -> None:
        """A process has ended: what it counted stays, how things stood there counts no more."""
        _put_all(self._gone, _counting(self._known.pop(key, {})), add)

    def workers(self) -> set[str]:
        """Of whom there are counts that may still grow."""
        return set(self._known) - {KEEPER}

    def carried(self) -> list[Any]:
        """All that was counted, for the keeper that comes after this one.

        Where it is kept before the metrics are told to anybody, nothing that was told can be lost.
        """
        gone: _Families = {}
        for families in (self._gone, self._known.get(KEEPER, {})):
            _put_all(gone, _counting(families), add)
        workers = {key: _counting(families) for key, families in self._known.items() if key != KEEPER}
        return [[key, list(map(_plain, families.values()))] for key, families in ({_GONE: gone} | workers).items()]

    def adopt(self, carried: Iterable[Any]) -> None:
        """Go on where the keeper before ended; once, before anything else is told.

        Workers that are still there count under their keys; those that are not were counted to the end.
        """
        for key, dump in carried:
            if key == _GONE:
                _put_all(self._gone, _read(dump), add)
            else:
                _put_all(self._known.setdefault(key, {}), _read(dump), max)

    def collect(self) -> Iterator[Metric]:
        totals: _Families = {}
        # The keeper first: it knows every family, in the order in which one process tells them.
        for key in sorted(self._known, key=lambda key: key != KEEPER):
            for family in self._known[key].values():
                how = self._how(family, key)
                if how is not None:
                    _put(totals, family, how)
        _put_all(totals, self._gone, add)
        yield from totals.values()

    def _how(self, family: Family, key: str) -> _How | None:
        """How the values of one process join those of the others; None where they do not."""
        if family.type != "gauge":
            return add
        match self._together.get(family.name):
            case Together.SUM:
                return add
            case Together.LEAST:
                return min if key != KEEPER else None
            case Together.KEEPER:
                return max if key == KEEPER else None
            case None:
                return None


def _counting(families: _Families) -> _Families:
    return {name: family for name, family in families.items() if family.type != "gauge"}


def _put_all(into: _Families, families: _Families, how: _How) -> None:
    for family in families.values():
        _put(into, family, how)


def _put(into: _Families, family: Family, how: _How) -> None:
    """Join the rows of a family to those of the same name and labels."""
    found = into.get(family.name)
    if found is None or not found.rows:
        into[family.name] = _with_rows(family)
        return
    rows = found.rows
    begins = [number for number, (suffix, _) in enumerate(family.columns) if suffix == "_created"]
    for labels, values in family.rows.items():
        mine = rows.get(labels)
        if mine is None:
            rows[labels] = values
            continue
        joined = list(map(how, mine, values))
        for number in begins:
            joined[number] = min(mine[number], values[number])
        rows[labels] = joined


def _with_rows(family: Family) -> Family:
    """The same family with a table of its own."""
    rows = dict(family.rows)
    return Family(
        family.name, family.documentation, family.type, labels=family.labels, columns=family.columns, rows=rows
    )


def _plain(family: Family) -> list[Any]:
    rows = [[*labels, *values] for labels, values in family.rows.items()]
    return [family.name, family.type, family.documentation, family.labels, family.columns, rows]


def _read(dump: Dump) -> _Families:
    found: _Families = {}
    for name, kind, help_text, labels, columns, rows in dump:
        width = len(labels)
        read = {tuple(row[:width]): row[width:] for row in rows}
        if kind != "gauge":
            read = {row: [v if type(v) is int else round(v * _GRAINS) / _GRAINS for v in read[row]] for row in read}
        ends = [(suffix, end) for suffix, end in columns]
        found[name] = Family(name, help_text, kind, labels=labels, columns=ends, rows=read)
    return found
