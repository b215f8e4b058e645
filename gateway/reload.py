"""Another route file without a restart: taken up whole, or not at all.

It is read anew when the process is told to (SIGHUP) and when the file has changed. A file that is being written is
left alone until it lies still; one with problems is told of with all of them, and the one before serves on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from gateway.core.errors import ConfigError
from gateway.files import mark
from gateway.routefile import Config, parse, text_of
from gateway.telemetry import Metrics, log

LOOK_EVERY_S = 1.0


def needs_restart(old: Config, new: Config) -> list[str]:
    """Keys that have changed and that nothing but a restart takes up."""
    pairs = {
        "descope": ((old.tokens, old.base_url), (new.tokens, new.base_url)),
        "server.cookies": (old.server.cookies, new.server.cookies),
        "server.header_limits": (old.server.head_limits, new.server.head_limits),
        "server.tls": (old.server.tls, new.server.tls),
        "refresh": (old.refresh, new.refresh),
        "access_keys": (old.access_keys, new.access_keys),
        "assertion": (
            (old.assertion.key_file, old.assertion.rotate_s),
            (new.assertion.key_file, new.assertion.rotate_s),
        ),
        "audit": (old.audit, new.audit),
        "shutdown": (old.shutdown, new.shutdown),
    }
    return [key for key, (before, after) in pairs.items() if before != after]


def refuse_restart(old: Config, new: Config) -> None:
    """Raise ConfigError where `new` cannot take the place of `old` without a restart."""
    found = needs_restart(old, new)
    if found:
        raise ConfigError(tuple(f"{key} has changed, and is read at start alone; restart for it" for key in found))


class Reloader:
    """Reads one route file again and again. take_up: raises ConfigError where what was read cannot serve now."""

    def __init__(
        self,
        path: Path,
        environment: Mapping[str, str],
        serving: Config,
        take_up: Callable[[str, Config], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        """serving: what was read from it at first. take_up: called with its text and the same compiled."""
        self._path = path
        self._environment = environment
        self._serving = serving.version
        self._take_up = take_up
        self._metrics = metrics
        self._told = asyncio.Event()
        self._seen = mark([path])

    def tell(self) -> None:
        """Read the file now, whether it seems to have changed or not; safe in a signal handler of the loop."""
        self._told.set()

    async def keep_watch(self, every_s: float = LOOK_EVERY_S) -> None:
        """Runs as long as the gateway."""
        moving = self._seen
        while True:
            try:
                async with asyncio.timeout(every_s):
                    await self._told.wait()
            except TimeoutError:
                pass
            found = mark([self._path])
            # The same at two looks: whoever writes it has finished, or has stopped for a while.
            lies_still, moving = found == moving, found
            if self._told.is_set() or (found != self._seen and lies_still):
                asked = self._told.is_set()
                self._told.clear()
                self._seen = found
                await self.reload(asked=asked)

    async def reload(self, *, asked: bool = True) -> bool:
        """Read the file, and serve by it if it is good; True when what it says serves now.

        asked: somebody wants it; then everything that it names is read anew, even if its own text is the same.
        """
        try:
            # A large file takes its time, and requests go on meanwhile.
            text, config = await asyncio.to_thread(self._read)
            if asked or config.version != self._serving:
                await self._take_up(text, config)
        except ConfigError as err:
            self._metrics.reload_success.set(0)
            log.error("route file not taken up, the old one serves on", file=str(self._path), problems=err.problems)
            return False
        self._metrics.reload_success.set(1)
        if asked or config.version != self._serving:
            self._serving = config.version
            log.info("route file taken up", file=str(self._path), version=config.version)
        return True

    def _read(self) -> tuple[str, Config]:
        text = text_of(self._path)
        return text, parse(text, str(self._path), self._environment)
