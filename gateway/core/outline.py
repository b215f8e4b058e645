"""Headers that differ in their bearer token alone, so that a new token does not mean that all of it is read anew.

A client that was given another token sends it among the same headers as the last one. A token is made of characters
that mean nothing to whoever reads headers: what was found out about one such block holds for every other that is the
same, byte for byte, around its token. What depends on the token itself is never kept here, and neither is the token.
"""

from gateway.core.facts import HeaderBlock
from gateway.core.model import HeadLimits, Kept

_NAME = b"authorization"
_SCHEME = b"Bearer "
# A whole line's beginning, so that what is cut out is that header's value and no part of another's.
_MARKS = (b"\r\nAuthorization: Bearer ", b"\r\nauthorization: Bearer ")
_RETURN = 0x0D
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def around_token(data: bytes, start: int) -> tuple[bytes, bytes] | None:
    """The header lines of a request without their bearer token, and the token; None where none is in its usual place.

    start: where its first line ends. The same lines around the token mean the same place for it. A token is one by
    its shape alone, as `tokens.is_jwt` says.
    """
    mark = _MARKS[0]
    begin = data.find(mark, start)
    if begin < 0:
        mark = _MARKS[1]
        begin = data.find(mark, start)
        if begin < 0:
            return None
    begin += len(mark)
    end = data.find(_RETURN, begin)
    token = data[begin:end]
    # Nothing but two dots is left when the letters are gone, and they stand neither together nor at an end.
    if token.translate(None, _LETTERS) != b".." or b".." in token or token[0] == 0x2E or token[-1] == 0x2E:
        return None
    return data[start:begin] + data[end:], token


class Outline:
    """A block of headers with a gap for its bearer token. Made by `outline_of`."""

    __slots__ = ("_after", "_before", "_kept", "_longest", "_named", "_said", "_spelt")

    def __init__(self, block: HeaderBlock, place: int, longest: int) -> None:
        """place: of the header that carries the token. longest: characters that a token may have there."""
        self._before, self._after = block.headers[:place], block.headers[place + 1 :]
        self._spelt = block.headers[place][1]
        self._named = {name: values for name, values in block.named.items() if name != _NAME}
        self._said = (block.authority, block.host, block.framed, block.framed10)
        self._longest = longest
        self._kept = Kept()

    def filled(self, token: bytes) -> HeaderBlock | None:
        """The block with another token, as `facts.read_block` would read it; None where that would refuse it.

        token: from `around_token`.
        """
        if len(token) > self._longest:
            return None
        value = _SCHEME + token
        named = self._named.copy()
        named[_NAME] = (value,)
        headers = (*self._before, (_NAME, self._spelt, value), *self._after)
        return HeaderBlock(headers, named, *self._said, Kept(self._kept, token.decode("ascii")))


def outline_of(block: HeaderBlock, token: bytes, limits: HeadLimits) -> Outline | None:
    """The outline of a block that `facts.read_block` read; None where the token is not all that it has for a bearer."""
    if block.named.get(_NAME) != (_SCHEME + token,):
        return None
    place = next(index for index, (lower, _, _) in enumerate(block.headers) if lower == _NAME)
    others = sum(len(name) + len(value) + 4 for _, name, value in block.headers) - len(token)
    line = len(_NAME) + len(_SCHEME) + 4
    return Outline(block, place, min(limits.total_bytes - others, limits.line_bytes - line))
