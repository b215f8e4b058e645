"""The admin listener: what operators and their programs ask, answered by exact path; nothing is ever forwarded."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from gateway.clock import Clock
from gateway.decisions import Decided, told, with_id
from gateway.holding import Holding
from gateway.routefile import Config
from gateway.sight import Sight
from gateway.status import Watched


class Seen(Protocol):
    """A gateway as operators see it."""

    @property
    def is_ready(self) -> bool:
        """Whether all of it serves."""

    def standing(self) -> str:
        """Whether it does, and why not, in a few words."""

    @property
    def version(self) -> str:
        """Of the route file that serves."""

    async def exposition(self) -> bytes:
        """All metrics as Prometheus reads them."""

    async def decided(self) -> Sequence[Decided]:
        """What was decided on requests that were not admitted, the newest first."""

    async def look(self) -> None:
        """Ask others what they see, before `watched` is called."""

    def watched(self) -> Watched:
        """What the status page shows."""


class Admin:
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        seen = self._seen
        match request.raw_path:
            case "/healthz":
                return web.Response(text="alive\n")
            case "/readyz":
                text = f"{seen.standing()}\nroute file {seen.version}\n"
                return web.Response(text=text, status=200 if seen.is_ready else 503)
            case "/metrics":
                return web.Response(body=await seen.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})
            case "/decisions":
                return web.json_response(told(await seen.decided()))
            case path if path.startswith("/decisions/"):
                return web.json_response(told(with_id(path.removeprefix("/decisions/"), await seen.decided())))
            case _:
                return web.Response(status=404, text="not found\n")


async def rendered(metrics: Collector) -> bytes:
    """The text that Prometheus reads, of the values as they are now.

    With thousands of routes writing takes seconds, in which requests go on.
    """
    return await asyncio.to_thread(generate_latest, _Still(tuple(metrics.collect())))


class _Still(CollectorRegistry):
    """Values as they were at one moment."""

    def __init__(self, families: Sequence[Metric]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def watched_of(
    config: Config,
    holding: Holding,
    clock: Clock,
    sight: Sight,
    *,
    decisions: Iterable[Decided],
    standing: str,
    workers: Sequence[str] = (),
) -> Watched:
    """What the status page shows. workers: the standing of each, where there are several."""
    return Watched(
        sight=sight,
        decisions=decisions,
        keys_age_s=holding.keyring.age_s,
        keys_serve=holding.keyring.is_ready,
        resting=holding.rests.resting(),
        now_s=clock.now_s(),
        mono_s=clock.mono_s(),
        base_url=holding.idp.base_url,
        routes=tuple(route.id for route in config.table.routes),
        limits=config.limits,
        state=f"{standing}, route file {config.version}",
        workers=workers,
    )
