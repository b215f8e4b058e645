"""The status page: what an operator wants to see at a glance, on a loopback listener of its own.

Rendered here, without a script; it loads nothing but its style sheet. Pages of other sites reach it neither by a name
that leads to this machine (the Host is checked) nor in a frame.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import islice
from pathlib import Path

import jinja2
from aiohttp import web

from gateway import __version__
from gateway.core.limits import NS_PER_S
from gateway.core.model import Limit
from gateway.decisions import Decided
from gateway.sight import Sight

EVERY_S = 5
_SHOWN = 25
_FOLDER = Path(__file__).parent / "doors" / "templates"
_EXTRA = """
body.wide > * { width: min(60rem, 100% - 1.5rem); }
body.wide main { margin-top: 1.5rem; }
.cards { margin: .75rem 0; padding: 0; list-style: none; overflow-wrap: anywhere; }
.cards > li { padding: .4rem 0; border-bottom: 1px solid var(--faint); }
.wrong { color: var(--wrong); font-weight: 700; }
td { font-variant-numeric: tabular-nums; }
ul.problem { padding-left: 2rem; }
thead th { overflow-wrap: normal; }
tbody th { min-width: 4.75rem; }
@media (max-width: 30rem) { body.wide main { padding: .5rem 1rem 1rem; } table { font-size: .8rem; } }
"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Watched:
    """What the page tells of, all of it plain.

    decisions: the newest first. keys_age_s: infinite before the first answer; keys_serve: whether that is young enough.
    resting: operations at Descope, the seconds left, and why. workers: the state of each, none for a gateway of one
    process.
    """

    sight: Sight
    decisions: Iterable[Decided]
    keys_age_s: float
    keys_serve: bool
    resting: Sequence[tuple[str, float, str]]
    now_s: float
    mono_s: float
    base_url: str
    routes: Sequence[str]
    limits: Sequence[Limit]
    state: str
    workers: Sequence[str] = ()


async def _nothing_first() -> None:
    """One process knows all that there is to know."""


class StatusPage:
    def __init__(self, watched: Callable[[], Watched], first: Callable[[], Awaitable[None]] = _nothing_first) -> None:
        """watched: asked anew for each page, once `first` is through: there others may be asked what they see."""
        self._watched = watched
        self._first = first
        self._began_s = watched().mono_s
        pages = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
        )
        self._template = pages.get_template("status.html")
        self._style = (_FOLDER / "style.css").read_text("utf-8") + _EXTRA

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request of the status listener."""
        if not _is_own(request.headers.getall("Host", [])):
            return _plain(403, "ask for this page by a loopback address, such as 127.0.0.1, or as localhost\n")
        if request.method not in ("GET", "HEAD"):
            return _plain(405, "GET and HEAD only\n", {"Allow": "GET, HEAD"})
        match request.raw_path:
            case "/":
                return await self._page(EVERY_S)
            case "/still":
                return await self._page(0)
            case "/style.css":
                return web.Response(text=self._style, content_type="text/css", headers=_HEADERS)
            case _:
                return _plain(404, "not found\n")

    async def _page(self, every_s: int) -> web.Response:
        """The page as things stand; it comes anew after `every_s`, or never where that is 0."""
        await self._first()
        again = {"Refresh": str(every_s)} if every_s else {}
        body = self._template.render(self._values(), every_s=every_s)
        return web.Response(text=body, content_type="text/html", headers=_HEADERS | again)

    def _values(self) -> dict[str, object]:
        watched = self._watched()
        now_s = watched.now_s
        resting = [
            {"operation": operation, "why": why, "seconds": int(left_s) + 1, "until": _time(now_s + left_s)}
            for operation, left_s, why in watched.resting
        ]
        return {
            "version": __version__,
            "state": watched.state,
            "workers": _workers(watched.workers),
            "up": timedelta(seconds=int(watched.mono_s - self._began_s)),
            "now": _time(now_s),
            "descope": {"base_url": watched.base_url, "signing_keys": _keys(watched), "resting": resting},
            "upstreams": watched.sight.upstreams,
            "routes": list(_routes(watched)),
            "limits": list(_limits(watched)),
            "decisions": list(islice(watched.decisions, _SHOWN)),
        }


def _workers(states: Sequence[str]) -> str:
    """How many of them are how, where there are several."""
    counts = ", ".join(f"{count} {state}" for state, count in sorted(Counter(states).items()))
    return f"{len(states)} workers: {counts}" if len(states) > 1 else ""


def _routes(watched: Watched) -> Iterator[dict[str, object]]:
    counts = watched.sight.counts
    for route in dict.fromkeys((*watched.routes, *counts)):
        found = counts.get(route, {})
        yield {"id": route} | {outcome: found.get(outcome, 0) for outcome in ("admitted", "refused", "failed")}


def _limits(watched: Watched) -> Iterator[dict[str, object]]:
    for limit in watched.limits:
        a_minute = 60 * NS_PER_S / limit.rate.every_ns
        yield {
            "name": limit.name,
            "allowed": f"{a_minute:g} a minute, {limit.rate.burst} at once, for each {limit.per.value}",
            "over": watched.sight.over.get(limit.name, 0),
        }


def _is_own(hosts: Sequence[str]) -> bool:
    """Whether the one Host is a loopback address, or localhost: no name that somebody else can have lead here."""
    if len(hosts) != 1:
        return False
    name = hosts[0].lower()
    name = name.partition("]")[0].removeprefix("[") if name.startswith("[") else name.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _plain(status: int, text: str, more: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=text, headers={**_HEADERS, **(more or {})})


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S UTC")


def _keys(watched: Watched) -> str:
    if not watched.keys_age_s < float("inf"):
        return "none yet: nobody with a session gets through"
    age = timedelta(seconds=int(watched.keys_age_s))
    return f"confirmed {age} ago" + ("" if watched.keys_serve else ", which is too long: they serve no more")
