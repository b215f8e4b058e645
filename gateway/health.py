"""Active checks: every target is asked in turn whether it is well, over connections of its own.

A check takes no place from requests and carries nothing of anybody: no credential, no identity, no cookie.
"""

import asyncio
from collections.abc import Sequence

from gateway.connection import Connection
from gateway.core.errors import UpstreamError
from gateway.core.model import HealthRules, ServiceTarget
from gateway.places import Place
from gateway.pool import Pool
from gateway.tasks import Tasks


class Checks:
    """The checks of one upstream's targets."""

    def __init__(self, pool: Pool, rules: HealthRules) -> None:
        self._pool = pool
        self._rules = rules
        upstream = pool.upstream
        self._request = (
            f"GET {upstream.base_path}{rules.path} HTTP/1.1\r\n"
            f"Host: {upstream.authority}\r\nUser-Agent: gateway-check\r\nConnection: close\r\n\r\n"
        ).encode("ascii")

    def start(self, tasks: Tasks) -> Sequence[asyncio.Task[None]]:
        """Ask every target now, and every `interval` from then on, until the tasks are cancelled."""
        places = self._pool.places.balance.members
        return [tasks.spawn(self._keep_asking(place), "check the health of a target") for place in places]

    async def _keep_asking(self, place: Place) -> None:
        rules, differing = self._rules, 0
        while True:
            ailment = await self.ask(place.target)
            differing = differing + 1 if place.healthy == bool(ailment) else 0
            if differing >= (rules.unhealthy_after if place.healthy else rules.healthy_after):
                differing = 0
                self._pool.places.checked(place, healthy=not ailment, why=ailment)
            await asyncio.sleep(rules.interval_s)

    async def ask(self, target: ServiceTarget) -> str:
        """What is wrong with a target; "" where nothing is."""
        rules, loop = self._rules, asyncio.get_running_loop()
        due_s = loop.time() + rules.timeout_s
        try:
            connection = await self._pool.dial.connect(target, rules.timeout_s, lambda: Connection(loop))
        except UpstreamError as err:
            return str(err)
        try:
            connection.begin(head_only=False, upgrade=False)
            connection.write(self._request)
            await connection.head(max(due_s - loop.time(), 0.0))
        except UpstreamError as err:
            return f"its check failed: {err}"
        finally:
            connection.abort()
        if rules.lowest <= connection.status <= rules.highest:
            return ""
        return f"its check was answered {connection.status}"
