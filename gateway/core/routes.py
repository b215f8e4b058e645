"""Compiles routes and finds the one for a request: the host first, then the path, and the method last.

For each host there is one tree of path segments. A tree is walked from the left, at every place the most particular
way first (literal, `{name}`, `*`, `**`), and walked back only where a way does not lead to the end of the path. The
pattern found is the only one: its routes alone decide about the method, so a request that they do not take never slips
through to a wider pattern with milder demands. A walk enters each node of a tree at most once, however a path is
spelt, and looks segments up in dictionaries, so the number of routes hardly matters.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.core.model import Match, MethodMismatch, Route, Target
from gateway.core.patterns import Piece, Rank, canonical_host, pattern_pieces

_NOTHING_CAUGHT: Mapping[str, str] = MappingProxyType({})


# --- the tree -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A route at the end of its pattern. names: at which segment which capture stands."""

    route: Route
    names: tuple[tuple[int, str], ...]
    match: Match


class _Place:
    """The end of one pattern: the routes that have it, by method."""

    __slots__ = ("by_method", "every", "mismatch", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.by_method: dict[str, _Leaf] = {}
        self.every: _Leaf | None = None
        self.mismatch = MethodMismatch(())

    def add(self, route: Route, pieces: tuple[Piece, ...]) -> tuple[Route, str] | None:
        """Take a route in; returns the route that already takes one of its methods, and those methods."""
        names = tuple((at, piece.text) for at, piece in enumerate(pieces) if piece.rank is Rank.CAPTURE)
        leaf = _Leaf(route, names, Match(route, _NOTHING_CAUGHT))
        if self.every is not None:
            return self.every.route, "every method" if route.methods is None else _spelt(methods_of(route))
        if route.methods is None:
            if self.by_method:
                other = self.by_method[min(self.by_method)].route
                return other, _spelt(methods_of(other))
            self.every = leaf
            return None
        both = methods_of(route) & self.by_method.keys()
        if both:
            return self.by_method[min(both)].route, _spelt(both)
        self.by_method.update(dict.fromkeys(methods_of(route), leaf))
        self.mismatch = MethodMismatch(tuple(sorted(self.by_method)))
        return None


class _Node:
    """A place between two segments. end: a pattern ends here; rest: a `**` begins here."""

    __slots__ = ("capture", "end", "literals", "rest", "star")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.capture: _Node | None = None
        self.star: _Node | None = None
        self.rest: _Place | None = None
        self.end: _Place | None = None

    def place(self, pieces: tuple[Piece, ...], pattern: str) -> _Place:
        """The place where a pattern ends, made where there is none yet."""
        node = self
        for piece in pieces:
            match piece.rank:
                case Rank.LITERAL:
                    node = node.literals.setdefault(piece.text, _Node())
                case Rank.CAPTURE:
                    node.capture = node = node.capture or _Node()
                case Rank.STAR:
                    node.star = node = node.star or _Node()
                case Rank.REST:
                    node.rest = node.rest or _Place(pattern)
                    return node.rest
        node.end = node.end or _Place(pattern)
        return node.end


def _find(node: _Node, segments: tuple[str, ...], at: int) -> _Place | None:
    if at == len(segments):
        return node.end or node.rest
    segment = segments[at]
    child = node.literals.get(segment)
    if child is not None:
        found = _find(child, segments, at + 1)
        if found is not None:
            return found
    if segment:
        for wider in (node.capture, node.star):
            if wider is not None:
                found = _find(wider, segments, at + 1)
                if found is not None:
                    return found
    return node.rest


# --- the table ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Every route of a route file, ready to be matched. Made by `compile_or_flaws`; never changed, only replaced."""

    routes: tuple[Route, ...]
    _exact: Mapping[str, _Node] = field(repr=False, compare=False)
    _suffixes: Mapping[str, _Node] = field(repr=False, compare=False)
    _any: _Node = field(repr=False, compare=False)
    _suffix_labels: int = field(repr=False, compare=False)

    def match(self, host: str, method: str, target: Target) -> Match | MethodMismatch | None:
        """The route for a request. host: in lower case, without port and trailing dot; "" where there is none."""
        place = self._place(host, target.segments)
        if place is None:
            return None
        leaf = place.by_method.get(method, place.every)
        if leaf is None:
            return place.mismatch
        if not leaf.names:
            return leaf.match
        segments = target.segments
        return Match(leaf.route, {name: segments[at] for at, name in leaf.names})

    def candidates(self, host: str, target: Target) -> tuple[tuple[Route, str], ...]:
        """For people: the routes that this host or path has to do with, the chosen first, each with a sentence why."""
        place = self._place(host, target.segments)
        chosen = {leaf.route.id for leaf in _leaves(place)} if place is not None else set()
        winner = next((route for route in self.routes if route.id in chosen), None)
        told: list[tuple[int, Route, str]] = []
        for route in self.routes:
            if route.id in chosen and winner is not None:
                told.append((0, route, _why_chosen(route)))
            else:
                found = _why_not(route, host, target, winner)
                if found is not None:
                    told.append((found[0], route, found[1]))
        return tuple((route, sentence) for _, route, sentence in sorted(told, key=lambda one: one[0]))

    def _place(self, host: str, segments: tuple[str, ...]) -> _Place | None:
        if self._exact or self._suffixes:
            for tree in self._trees(host):
                place = _find(tree, segments, 0)
                if place is not None:
                    return place
        return _find(self._any, segments, 0)

    def _trees(self, host: str) -> Iterator[_Node]:
        """The trees of the patterns with a host that this one fits, the most particular first."""
        tree = self._exact.get(host)
        if tree is not None:
            yield tree
        if not self._suffixes:
            return
        # No more labels than the longest suffix has: a host of ten thousand labels costs no more than a short one.
        head, *labels = host.rsplit(".", self._suffix_labels)
        while head and labels:
            tree = self._suffixes.get(".".join(labels))
            if tree is not None:
                yield tree
            labels = labels[1:]


def methods_of(route: Route) -> frozenset[str]:
    """The methods that a route names, HEAD with GET; empty for a route that takes all."""
    named = route.methods or frozenset()
    return named | {"HEAD"} if "GET" in named else named


def _spelt(methods: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(methods))


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a route cannot stand in a table. index: its place in the sequence; key: "id", "host" or "path"."""

    index: int
    key: str
    sentence: str


def compile_or_flaws(routes: Sequence[Route]) -> RouteTable | tuple[Flaw, ...]:
    """A table of these routes, or every problem that they have, with the route and the part of it that it lies in."""
    flaws: list[Flaw] = []
    exact: dict[str, _Node] = {}
    suffixes: dict[str, _Node] = {}
    anywhere = _Node()
    ids: set[str] = set()
    for index, route in enumerate(routes):
        if route.id in ids:
            flaws.append(Flaw(index, "id", f"two routes have the id {route.id!r}; give each an id of its own"))
        ids.add(route.id)
        try:
            host = canonical_host(route.host)
        except ValueError as err:
            flaws.append(Flaw(index, "host", f"route {route.id!r}: {err}"))
            continue
        try:
            pieces = pattern_pieces(route.path)
        except ValueError as err:
            flaws.append(Flaw(index, "path", f"route {route.id!r}: {err}"))
            continue
        if not host:
            tree = anywhere
        elif host.startswith("*."):
            tree = suffixes.setdefault(host[2:], _Node())
        else:
            tree = exact.setdefault(host, _Node())
        place = tree.place(pieces, route.path)
        tie = place.add(route, pieces)
        if tie is not None:
            flaws.append(Flaw(index, "path", _tie(route, place.pattern, *tie)))
    if flaws:
        return tuple(flaws)
    labels = max((suffix.count(".") + 1 for suffix in suffixes), default=0)
    return RouteTable(tuple(routes), exact, suffixes, anywhere, labels)


def _tie(route: Route, pattern: str, other: Route, methods: str) -> str:
    same = (
        f"the pattern {route.path}" if pattern == route.path else f"{route.path} and {pattern}, which are one pattern,"
    )
    where = f" on {canonical_host(route.host)}" if route.host else ""
    return (
        f"routes {other.id!r} and {route.id!r} both have {same}{where} and both take {methods}; "
        "give them different methods, or make one of them one route"
    )


# --- explanations ---------------------------------------------------------------------------------------------------


def _leaves(place: _Place) -> list[_Leaf]:
    return [place.every] if place.every is not None else list(place.by_method.values())


def _why_chosen(route: Route) -> str:
    host = f"host {route.host} and " if route.host else ""
    takes = "every method" if route.methods is None else _spelt(methods_of(route))
    return f"chosen: {host}path {route.path}, nothing more particular matches; it takes {takes}"


def _why_not(route: Route, host: str, target: Target, winner: Route | None) -> tuple[int, str] | None:
    """How near a route that was not chosen came, and why it was not; None for one that is too far away to tell of."""
    pieces = pattern_pieces(route.path)
    wanted = canonical_host(route.host)
    is_host = (
        not wanted or host == wanted or (wanted.startswith("*.") and host.endswith(wanted[1:]) and host != wanted[1:])
    )
    shared, missed = _walked(pieces, target.segments)
    if not is_host:
        return (2, f"its path matches, but it is for host {wanted}") if not missed else None
    if missed or winner is None:
        return (3, f"not matched: {missed}") if shared else None
    if canonical_host(winner.host) != wanted:
        return 1, f"it matches, but {winner.host or 'no host'}, of route {winner.id!r}, is the more particular host"
    for at, (mine, theirs) in enumerate(zip(pieces, pattern_pieces(winner.path), strict=False), 1):
        if mine.rank != theirs.rank:
            return (
                1,
                f"it matches, but at segment {at} route {winner.id!r} has {theirs.shown}, here stands {mine.shown}",
            )
    return 1, f"it matches, but route {winner.id!r} ends with the path, where this one goes on with **"


def _walked(pieces: tuple[Piece, ...], segments: tuple[str, ...]) -> tuple[int, str]:
    """How many segments a pattern shares with a path, and where it does not go on; "" where it matches."""
    for at, piece in enumerate(pieces):
        if piece.rank is Rank.REST:
            return at, ""
        if at == len(segments):
            return at, f"the path ends where the pattern goes on with {piece.shown}"
        if piece.rank is Rank.LITERAL and segments[at] != piece.text:
            return at, f"segment {at + 1} is {segments[at]!r}, not {piece.shown}"
        if piece.rank is not Rank.LITERAL and not segments[at]:
            return at, f"segment {at + 1} is empty, and {piece.shown} stands for one that is not"
    if len(segments) > len(pieces):
        return len(pieces), "the path goes on where the pattern ends"
    return len(pieces), ""
