"""Reads YAML as plain values, each with the line and column it stands at, and with every problem found.

Narrower than YAML on purpose. Keys are texts and stand once; tags are refused; plain `yes`, `on` and `012` are texts,
only `true` and `false` are truth values (as in YAML 1.2); a key without a value is a problem, because a `require:`
whose lines were commented out must not become no requirement. Only the parser's events are used, so nothing here builds
objects or calls itself deeper than a fixed depth, and what aliases may multiply to is counted.

`${NAME}` is replaced in values only and after the parser is done, so what a variable holds is never read as YAML.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 24
_MAX_COPIES = 20_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Loc = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\})?")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][-+]?[0-9]{1,2})?")


class Mark(NamedTuple):
    """A place in the text, both counted from 1."""

    line: int
    column: int


class Problem(NamedTuple):
    mark: Mark
    sentence: str


@dataclass(slots=True)
class Document:
    """What a text says. spoiled: places whose value could not be read; they hold None, and the problem is told."""

    value: Any = None
    problems: list[Problem] = field(default_factory=list)
    spoiled: set[Loc] = field(default_factory=set)
    marks: dict[Loc, Mark] = field(default_factory=dict)
    key_marks: dict[Loc, Mark] = field(default_factory=dict)
    written: dict[Loc, str] = field(default_factory=dict)

    def mark(self, loc: Loc, *, key: bool = False) -> Mark:
        """Where a value (or its key) stands; where the nearest enclosing value does, if there is none."""
        if key and loc in self.key_marks:
            return self.key_marks[loc]
        while loc and loc not in self.marks:
            loc = loc[:-1]
        return self.marks.get(loc, Mark(1, 1))

    def shown(self, loc: Loc) -> str:
        """A value as the file writes it, before variables were put in: they may hold what no message should tell."""
        text = self.written.get(loc, "")
        return ascii(text if len(text) <= 60 else text[:57] + "...") if text else "this"


@dataclass(slots=True)
class _Scalar:
    mark: Mark
    text: str
    is_plain: bool


@dataclass(slots=True)
class _Sequence:
    mark: Mark
    items: list["_Node"] = field(default_factory=list)


@dataclass(slots=True)
class _Mapping:
    mark: Mark
    items: dict[str, tuple[Mark, "_Node"]] = field(default_factory=dict)


_Node = _Scalar | _Sequence | _Mapping


def read(text: str, environment: Mapping[str, str]) -> Document:
    """The one document in `text`. A text that is no YAML gives one problem and no value."""
    document = Document()
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        document.problems.append(Problem(Mark(1, 1), "the text has lone surrogates; save it as UTF-8"))
        return document
    if size > MAX_BYTES:
        document.problems.append(Problem(Mark(1, 1), f"the file has {size} bytes; at most {MAX_BYTES} are read"))
        return document
    try:
        root = _Composer(text, document).root()
    except yaml.YAMLError as err:
        document.problems.append(_syntax(err, text))
        return document
    except _Stop as stop:
        document.problems.append(stop.problem)
        return document
    if root is not None:
        try:
            document.value = _Unfolder(document, environment).value(root, ())
        except _Stop as stop:
            document.problems.append(stop.problem)
    return document


class _Stop(Exception):
    def __init__(self, mark: Mark, sentence: str) -> None:
        super().__init__(sentence)
        self.problem = Problem(mark, sentence)


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)  # both of the parsers' kinds of marks, which share no type


class _Composer:
    """Events to nodes. An anchor is known only once its node is complete, so no node can hold itself."""

    def __init__(self, text: str, document: Document) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self._document = document
        self._anchors: dict[str, _Node] = {}

    def root(self) -> _Node | None:
        root: _Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._problem(event, "a second document begins here; a route file is one document")
                    return root
                root = self._node(next(self._events), 0)
        return root

    def _problem(self, event: yaml.Event, sentence: str) -> None:
        self._document.problems.append(Problem(_mark(event.start_mark), sentence))

    def _node(self, event: yaml.Event, depth: int) -> _Node:
        mark = _mark(event.start_mark)
        if depth > _MAX_DEPTH:
            raise _Stop(mark, f"nested more than {_MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            known = self._anchors.get(event.anchor or "")
            if known is None:
                raise _Stop(mark, f"the alias *{event.anchor} has no complete anchor before it")
            return known
        assert isinstance(event, yaml.NodeEvent)  # noqa: S101  # the parser gives nothing else here
        tag = getattr(event, "tag", None)
        if tag:
            self._problem(event, f"YAML tags are not accepted; take {tag[:60]!a} away")
        node: _Node
        if isinstance(event, yaml.ScalarEvent):
            node = _Scalar(mark, event.value, event.style is None or event.style == "")
        elif isinstance(event, yaml.SequenceStartEvent):
            node = _Sequence(mark)
            while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
                node.items.append(self._node(inner, depth + 1))
        else:
            node = self._mapping(mark, depth)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _mapping(self, mark: Mark, depth: int) -> _Mapping:
        node = _Mapping(mark)
        while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
            key = self._node(inner, depth + 1)
            value = self._node(next(self._events), depth + 1)
            place = _mark(inner.start_mark)
            if not isinstance(key, _Scalar):
                self._problem(inner, "a key is a text, not a list or a mapping")
            elif key.text in node.items:
                first = node.items[key.text][0].line
                self._problem(inner, f"the key {key.text!a} stands here twice; line {first} has it already")
            else:
                node.items[key.text] = (place, value)
        return node


class _Unfolder:
    """Nodes to values, aliases written out, with a mark for each."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self._seen: set[int] = set()
        self._copies = 0

    def value(self, node: _Node, loc: Loc) -> Any:
        if id(node) in self._seen:
            self._copies += 1
            if self._copies > _MAX_COPIES:
                raise _Stop(node.mark, "aliases multiply this too often; write it out, or use fewer of them")
        if len(loc) > _MAX_DEPTH:
            raise _Stop(node.mark, f"nested more than {_MAX_DEPTH} deep")
        self._seen.add(id(node))
        self._document.marks[loc] = node.mark
        if isinstance(node, _Sequence):
            return [self.value(item, (*loc, index)) for index, item in enumerate(node.items)]
        if isinstance(node, _Mapping):
            found = {}
            for key, (mark, item) in node.items.items():
                self._document.key_marks[(*loc, key)] = mark
                found[key] = self.value(item, (*loc, key))
            return found
        self._document.written[loc] = node.text
        if node.is_plain and node.text in _NULL:
            name = ascii(loc[-1]) if loc and isinstance(loc[-1], str) else "this item"
            # At its key: where the value should be, there is nothing to see.
            mark = self._document.key_marks.get(loc, node.mark)
            self._spoil(mark, loc, f"{name} has no value; give it one, or take it away")
            return None
        return self._scalar(node, loc)

    def _spoil(self, mark: Mark, loc: Loc, sentence: str) -> None:
        # What an alias copies is spoilt in every place, and told once.
        problem = Problem(mark, sentence)
        if problem not in self._document.problems:
            self._document.problems.append(problem)
        self._document.spoiled.add(loc)

    def _scalar(self, node: _Scalar, loc: Loc) -> object:
        text, problem = _substituted(node.text, self._environment)
        if problem:
            self._spoil(node.mark, loc, problem)
            return None
        return _resolved(text) if node.is_plain else text


def _substituted(text: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """The text with its variables put in, and what is wrong with them; "" for nothing."""
    problems: list[str] = []

    def put_in(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "${"
        name, default = found["name"], found["default"]
        if not name:
            problems.append("a variable is written ${NAME} or ${NAME:-default}, and a plain `${` as `$${`")
            return ""
        value = environment.get(name, "")
        if value or (name in environment and default is None):
            return value
        if default is None:
            problems.append(f"the environment has no {name}; set it, or write ${{{name}:-default}}")
            return ""
        return str(default[2:])

    return _VARIABLE.sub(put_in, text), "; ".join(dict.fromkeys(problems))


def _resolved(text: str) -> object:
    if text in _TRUTH:
        return _TRUTH[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _syntax(err: yaml.YAMLError, text: str) -> Problem:
    if isinstance(err, yaml.MarkedYAMLError) and err.problem_mark is not None:
        mark = _mark(err.problem_mark)
        said = " ".join(filter(None, (err.context, err.problem)))
    else:
        before = text[: max(getattr(err, "position", 0) or 0, 0)]
        mark = Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
        said = "a character that YAML does not allow"
    lines = text.splitlines()
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    hint = '; inside { } and [ ] a variable stands in quotes: "${NAME}"' if "${" in line else ""
    return Problem(mark, f"no YAML: {said}{hint}")
