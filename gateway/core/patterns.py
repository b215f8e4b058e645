"""Patterns of hosts and paths: taken apart, in their only spelling, or refused with a sentence that says why."""

import re
from enum import IntEnum
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import quote

from gateway.core.model import Target
from gateway.core.target import canonical

# Deeper than any real path, and shallow enough for a recursive walk.
_MAX_PIECES = 64
_MAX_HOST_CHARS = 253
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# Underscores are no letters of a host name, but services in private networks have them.
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


class Rank(IntEnum):
    """How particular a piece of a pattern is; the lower wins."""

    LITERAL = 0
    CAPTURE = 1
    STAR = 2
    REST = 3


class Piece(NamedTuple):
    """One segment of a pattern. text: the decoded literal, the name of a capture, else ""."""

    rank: Rank
    text: str = ""

    @property
    def shown(self) -> str:
        match self.rank:
            case Rank.LITERAL:
                return repr(self.text)
            case Rank.CAPTURE:
                return f"{{{self.text}}}"
            case Rank.STAR:
                return "*"
            case Rank.REST:
                return "**"


def pattern_pieces(path: str) -> tuple[Piece, ...]:
    """A path pattern taken apart; ValueError with a sentence where it is none, or could never match."""
    if not path.startswith("/"):
        raise ValueError("a path pattern begins with a slash")
    if not path.isprintable() or any(c in path for c in " ?#\\"):
        raise ValueError("a path pattern has no blanks, controls, backslashes, `?` or `#`")
    texts = path[1:].split("/")
    if len(texts) > _MAX_PIECES:
        raise ValueError(f"a path pattern has at most {_MAX_PIECES} segments")
    pieces = []
    for place, text in enumerate(texts):
        is_last = place == len(texts) - 1
        if not text and not is_last:
            raise ValueError("`//` never matches; write one slash")
        if text == "**" and not is_last:
            raise ValueError(
                "`**` stands for the rest of a path, so it can only be the last segment; `*` is one segment"
            )
        pieces.append(_piece(text))
    names = [piece.text for piece in pieces if piece.rank is Rank.CAPTURE]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the name {{{twice}}} stands in it twice; give each segment a name of its own")
    return tuple(pieces)


def _piece(text: str) -> Piece:
    if text == "**":
        return Piece(Rank.REST)
    if text == "*":
        return Piece(Rank.STAR)
    if text.startswith("{") and text.endswith("}") and _NAME.fullmatch(text[1:-1]):
        return Piece(Rank.CAPTURE, text[1:-1])
    if any(c in text for c in "{}*"):
        raise ValueError(
            f"{text!r} is neither a plain segment nor `*`, `**` or {{name}} (letters, digits, `_`); they stand for a "
            "whole segment, and there are no regular expressions"
        )
    return Piece(Rank.LITERAL, _decoded(text) if text else "")


def _decoded(text: str) -> str:
    """The segment that is compared with a target's, which is decoded too."""
    target = canonical(b"/" + quote(text, safe=_ASCII).encode("ascii"))
    if isinstance(target, Target):
        return target.segments[0]
    raise ValueError(
        f"{text!r} is refused in every request, so it would never match; dot segments, `;`, broken escapes and escaped "
        "slashes are"
    )


def canonical_host(pattern: str) -> str:
    """A host pattern in its only spelling: "name", "*.name", or "" for any; ValueError with a sentence for others."""
    if not pattern:
        return ""
    name = pattern.lower().removesuffix(".")
    if name.startswith("[") and name.endswith("]"):
        try:
            return f"[{IPv6Address(name[1:-1])}]"
        except ValueError:
            raise ValueError(f"{pattern!r} is no IPv6 address") from None
    if not name.isascii():
        raise ValueError(f"{pattern!r} is not ASCII; write the form that browsers send, which begins with xn--")
    if "/" in name or ":" in name:
        raise ValueError(f"{pattern!r}: a host is a name without scheme, port and path, such as app.example.com")
    labels = name.removeprefix("*.").split(".")
    if "*" in name.removeprefix("*."):
        raise ValueError(f"{pattern!r}: the star stands alone and first, as in *.example.com")
    if len(name) > _MAX_HOST_CHARS or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{pattern!r} is no host name, such as app.example.com or *.example.com")
    return name
