"""Where to go after sign-in: a place on this site, whatever the address of the page was made to say."""

from collections.abc import Sequence
from urllib.parse import quote

from gateway.core.model import Target
from gateway.core.target import canonical


def safe_return(wanted: str, public_urls: Sequence[str]) -> str:
    """The path (and query) to return to, written out again from what was parsed; "/" for anything doubtful.

    A browser drops tabs and line ends, reads a backslash as a slash and skips leading blanks (WHATWG URL standard), so
    "has no host part" is not asked of any parser here: the text must be a canonical target, which has none of these.
    """
    for url in public_urls:
        if wanted == url or wanted.startswith((url + "/", url + "?")):
            wanted = wanted[len(url) :] or "/"
            break
    if not wanted.startswith("/") or wanted.startswith("//"):
        return "/"
    path, mark, query = wanted.partition("?")
    # Non-ASCII arrives decoded from the form; in a path it would be refused, in a Location it must not stand.
    spelt = quote(path, safe="/%:@!$&'()*+,;=-._~|[]\\") + mark + quote(query, safe="/?%:@!$&'()*+,;=-._~|[]{}^`\"\\")
    target = canonical(spelt.encode("ascii"))
    return target.text if isinstance(target, Target) else "/"
