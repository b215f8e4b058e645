"""What every long-running command shares: addresses that can be listened on, and an orderly end.

Only the standard library is imported at the top; the command line must be quick to say what it can do.
"""

import asyncio
import contextlib
import errno
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.core.errors import ConfigError
from gateway.settings import Listen

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.routefile import Config

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
_INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on uvloop's event loop to its end."""
    import uvloop

    _raise_descriptor_limit()
    # What was imported stays: the collector need not look at it again and again. Requests make few cycles, so it may
    # also come less often; with its usual thresholds it took a tenth of the time of a busy gateway.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    return uvloop.run(work)


def import_to_serve() -> None:
    """Import what serving needs, without what libraries load beside it to write in colours.

    That is a twentieth of an idle process, and nobody who serves writes in colours. httpx and structlog do without.
    """
    away = [name for name in ("rich", "pygments") if name not in sys.modules]
    for name in away:
        sys.modules[name] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import_module("gateway.app")
    finally:
        for name in away:
            del sys.modules[name]


def _raise_descriptor_limit() -> None:
    """Every client and every upstream connection is a descriptor; take as many as the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Signals:
    """SIGINT and SIGTERM ask for an orderly end; a second SIGINT ends the process where it stands.

    Made inside the running loop, before anything is started, so that no signal falls between.
    """

    def __init__(self, *, interrupts: bool = True) -> None:
        """interrupts: whether SIGINT counts; a terminal sends it to processes, too, that another one looks after."""
        self._told = asyncio.Event()
        self._interrupts = 0
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._told.set)
        if interrupts:
            loop.add_signal_handler(signal.SIGINT, self._interrupted)

    def tell(self) -> None:
        """As SIGTERM does."""
        self._told.set()

    @staticmethod
    def on_hangup(told: Callable[[], None]) -> None:
        """Have SIGHUP call this, which would end the process otherwise."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, told)

    async def told(self) -> None:
        """Wait until the process was told to end."""
        await self._told.wait()

    def _interrupted(self) -> None:
        self._interrupts += 1
        if self._interrupts > 1:
            sys.stdout.flush()
            # Not sys.exit: whatever is being waited for would be waited for all the same.
            os._exit(_INTERRUPTED)
        self._told.set()


def check_free(listen: Listen, option: str) -> None:
    """Raise ConfigError where `listen` cannot be listened on; `option` is how to name another address."""
    try:
        found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise ConfigError((f"this machine has no address {listen.host}; give another with {option}",)) from None
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            # As the listeners do: connections of an earlier run that linger are no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as err:
                raise ConfigError((unusable(listen, option, err),)) from None


def unusable(listen: Listen, option: str, err: OSError) -> str:
    """Why an address could not be listened on, and what to do."""
    match err.errno:
        case errno.EADDRINUSE:
            return f"port {listen.port} on {listen.host} is taken; stop what uses it, or give another with {option}"
        case errno.EACCES:
            return f"this process may not listen on port {listen.port}; give one above 1023 with {option}"
        case errno.EADDRNOTAVAIL:
            return f"this machine has no address {listen.host}; give another with {option}"
        case _:
            return f"{listen} cannot be listened on: {err.strerror or err}; give another with {option}"


def loaded(path: Path, environment: Mapping[str, str]) -> "Config":
    """The route file compiled; ConfigError with every problem."""
    from gateway import routefile

    return routefile.load(path, environment)


@contextlib.asynccontextmanager
async def started(
    gateway: "Gateway", listen: Listen, admin: Listen, option: str, status: Listen | None = None
) -> AsyncIterator[None]:
    """A gateway that listens for as long as the context lasts; whoever supervises the process hears of it."""
    from gateway import bypass
    from gateway.listening import Address
    from gateway.notify import Supervisor

    supervisor = Supervisor(os.environ, os.getpid())
    try:
        public, _ = await gateway.start(Address(*listen), Address(*admin), Address(*status) if status else None)
    except OSError as err:
        await gateway.stop()
        raise ConfigError((unusable(listen, option, err),)) from None
    gateway.tasks.start(supervisor.keep_told(lambda: gateway.is_ready), "tell the supervisor")
    gateway.tasks.start(bypass.warn(gateway.config.upstreams, {public.port}), "look for ways past the gateway")
    try:
        yield
    finally:
        supervisor.stopping()
        await gateway.stop()
