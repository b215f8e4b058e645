"""Holds a YAML document to the models piece by piece, and says what is wrong with each piece at its line and column.

Every problem is to be found in one go. So what is wrong inside a piece is told, then left out, and the rest of the
piece is judged once more: whatever depends on what was left out is doubtful, and nobody complains about it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.routefile.forms import Section
from gateway.routefile.schema import schema_of
from gateway.routefile.yamlmarks import Document, Loc, Problem

M = TypeVar("M", bound=Section)

# Enough for a piece whose every part is wrong in its own way; each round leaves something out.
_ROUNDS = 8
_WANTED = {
    "string_type": "a text is wanted here; put it in quotes",
    "bool_type": "true or false is wanted here, without quotes",
    "int_type": "a whole number is wanted here, without quotes",
    "list_type": "a list is wanted here: [one, two]",
    "dict_type": "a mapping is wanted here: {key: value}",
    "model_type": "a mapping is wanted here: {key: value}",
    "model_attributes_type": "a mapping is wanted here: {key: value}",
    "too_short": "at least one is wanted here",
    "string_too_short": "an empty text is not accepted here",
}


@dataclass(frozen=True, slots=True)
class Piece(Generic[M]):
    """A part of the file that has its shape. doubtful: places in it where something was wrong and left out."""

    spec: M
    loc: Loc
    doubtful: frozenset[Loc] = frozenset()

    def is_sure_of(self, *places: str) -> bool:
        """Whether nothing was left out at these places, such as "match.path", in them or around them."""
        return not any(_touch(tuple(place.split(".")), one) for place in places for one in self.doubtful)


@dataclass(slots=True)
class Reading:
    """What was found so far in one document."""

    document: Document
    context: Mapping[str, frozenset[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def problem(self, loc: Loc, sentence: str, *, key: bool = False) -> None:
        self.problems.append(Problem(self.document.mark(loc, key=key), f"{dotted(loc)}: {sentence}"))

    def warn(self, loc: Loc, sentence: str, *, key: bool = False) -> None:
        self.warnings.append(Problem(self.document.mark(loc, key=key), f"{dotted(loc)}: {sentence}"))

    def value(self, loc: Loc) -> Any:
        value = self.document.value
        for part in loc:
            value = value[part]
        return value

    def piece(self, model: type[M], loc: Loc, stand_ins: Mapping[str, Any] | None = None) -> Piece[M] | None:
        """The part at `loc` as `model`; None where too little of it is right.

        stand_ins: values for required keys that are missing or wrong, so that the rest can be judged.
        """
        if loc in self.document.spoiled:
            return None
        raw = self.value(loc)
        if not isinstance(raw, dict):
            self.problem(loc, _WANTED["dict_type"])
            return None
        gone = {at[len(loc) :] for at in self.document.spoiled if at[: len(loc)] == loc} - {()}
        data = _without(raw, gone)
        doubtful = set(gone)
        for _ in range(_ROUNDS):
            try:
                return Piece(model.model_validate(data, context=self.context), loc, frozenset(doubtful))
            except ValidationError as err:
                errors = err.errors(include_url=False, include_input=False)
            left_out = self._tell(model, loc, errors, gone, doubtful)
            for at in left_out:
                if len(at) == 1 and stand_ins and at[0] in stand_ins:
                    data = {**data, str(at[0]): stand_ins[str(at[0])]}
                else:
                    data = _without(data, {at})
                doubtful.add(at)
            if () in left_out:
                return None
        return None

    def _tell(
        self, model: type[Section], loc: Loc, errors: list[ErrorDetails], gone: set[Loc], doubtful: set[Loc]
    ) -> list[Loc]:
        """Report each error; returns what is to be left out because of them."""
        left_out: list[Loc] = []
        # Missing keys last: one that is only misspelt is told as such, and is not missing too.
        for error in sorted(errors, key=lambda one: one["type"] == "missing"):
            at = _plain(error["loc"])
            is_missing = error["type"] == "missing"
            if not (is_missing and _is_told(at, gone)):
                sentence, meant = self._sentence(model, loc, at, error)
                is_key = error["type"] == "extra_forbidden" or error["loc"][-1:] == ("[key]",)
                where = loc + at[:-1] if is_missing else loc + at
                self.problems.append(
                    Problem(self.document.mark(where, key=is_key), f"{dotted(loc + at)}: {sentence}".removeprefix(": "))
                )
                if meant:
                    gone.add((*at[:-1], meant))
                    doubtful.add((*at[:-1], meant))
                if error["type"] == "extra_forbidden" and len(at) > 1:
                    doubtful.add(at[:-1])  # who knows what it was to change there
            gone.add(at)
            # A list is left out whole: without one of its items it would say something else.
            cut = next((i for i, part in enumerate(at) if isinstance(part, int)), len(at))
            left_out.append(at[:-1] if is_missing and len(at) > 1 else at[:cut])
        gone.update(at for at in left_out if at)
        return left_out

    def _sentence(self, model: type[Section], loc: Loc, at: Loc, error: ErrorDetails) -> tuple[str, str]:
        """What is wrong, and for an unknown key the one that was probably meant."""
        match error["type"]:
            case "missing":
                return "this key is missing; add it", ""
            case "extra_forbidden":
                known = _schema_at(model, at[:-1]).get("properties", {})
                return unknown_key(str(at[-1]), known)
            case "literal_error":
                words = [
                    word.lower() for word in re.findall(r"[a-zA-Z0-9_.-]+", error["ctx"]["expected"]) if word != "or"
                ]
                near = get_close_matches(self.document.written.get(loc + at, "").lower(), words, 1, 0.5)
                hint = f"; did you mean {near[0]}?" if near else ""
                return f"{self.document.shown(loc + at)} is none of {', '.join(words)}{hint}", ""
            case "value_error":
                return f"{error['ctx']['error']}", ""
            case other:
                return _WANTED.get(other, error["msg"]), ""


def unknown_key(key: str, known: Mapping[str, object]) -> tuple[str, str]:
    """The sentence about a key that nobody knows, and the key that was probably meant ("" for none)."""
    near = get_close_matches(key.lower(), known, 1)
    hint = f"did you mean {near[0]!a}?" if near else f"known are {', '.join(known)}"
    return f"{key[:60]!a} is no key here; {hint}", near[0] if near else ""


def dotted(loc: Loc) -> str:
    """`routes[2].match.path`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def _plain(loc: tuple[int | str, ...]) -> Loc:
    """A place in the file: without pydantic's marks for keys and for members of a union."""
    return tuple(part for part in loc if not (isinstance(part, str) and (part == "[key]" or part.startswith("<"))))


def _is_told(at: Loc, gone: set[Loc]) -> bool:
    return any(_touch(at, one) for one in gone)


def _touch(one: Loc, other: Loc) -> bool:
    """Whether one of the two places lies in the other, or they are the same."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _without(data: dict[str, Any], left_out: set[Loc]) -> dict[str, Any]:
    """A copy of `data` in which these places are gone."""
    heads: dict[str | int, set[Loc]] = {}
    for at in left_out:
        if at:
            heads.setdefault(at[0], set()).add(at[1:])
    found = {}
    for key, value in data.items():
        inner = heads.get(key)
        if inner is None:
            found[key] = value
        elif () not in inner and isinstance(value, dict):  # of a list, everything goes
            rest = _without(value, inner)
            if rest:  # what is empty only because of us would be told to be empty
                found[key] = rest
    return found


@lru_cache(maxsize=64)
def _whole_schema(model: type[Section]) -> dict[str, Any]:
    return schema_of(model)


def _schema_at(model: type[Section], loc: Loc) -> dict[str, Any]:
    """What the model's schema says of one place in it; {} for a place it does not know."""
    whole = _whole_schema(model)
    here = whole
    for part in loc:
        here = _resolved(here, whole)
        if isinstance(part, int):
            here = here.get("items", {})
        else:
            here = here.get("properties", {}).get(part) or here.get("additionalProperties") or {}
        if not isinstance(here, dict):
            return {}
    return _resolved(here, whole)


def _resolved(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    for one in schema.get("oneOf", ()):
        if "$ref" in one:
            schema = one
    name = schema.get("$ref")
    found: dict[str, Any] = whole["$defs"][name.rsplit("/", 1)[-1]] if name else schema
    return found


def told(problems: list[Problem], file: str) -> tuple[str, ...]:
    """Problems or warnings as lines for people, in the order of the file."""
    return tuple(
        f"{file}:{mark.line}:{mark.column}: {sentence.removeprefix(': ')}" for mark, sentence in sorted(set(problems))
    )
