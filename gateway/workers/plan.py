"""What the parent decides before it forks, and every process of the gateway goes by."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from socket import (
    AF_INET6,
    AF_UNIX,
    AI_PASSIVE,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SOCK_STREAM,
    SOL_SOCKET,
    getaddrinfo,
    socket,
)
from tempfile import mkdtemp

from gateway.core.errors import ConfigError
from gateway.process import unusable
from gateway.routefile import Config, parse
from gateway.settings import Listen, Settings
from gateway.workers.allowances import SharedAllowances

_BACKLOG = 1024
_SIGN_IN_CALLERS = 20_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How the parent replaces who has died.

    settled_s: who lived so long had begun well. first_s, longest_s: the pause before the next one after the second
    death in a row, twice as long each time. tries: after so many deaths in a row, of the keeper or of each worker, the
    parent gives up. over_grace_s: how long after `shutdown.grace` who has not ended is killed. sign_of_life_s: how
    often each process has to show that it lives; several times missed, it is killed.
    """

    settled_s: float = 10.0
    first_s: float = 0.5
    longest_s: float = 15.0
    tries: int = 6
    over_grace_s: float = 10.0
    sign_of_life_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """route_file, text: the route file's path and what it said at start. config: the same, compiled.

    sockets: for each worker those that it accepts from. admin, status: those of the keeper; None for no status page.
    All stay open in the parent, so that whoever connects while a process is replaced waits instead of being refused.
    meeting: the Unix socket on which workers find the keeper.
    """

    settings: Settings
    route_file: Path
    text: str
    config: Config
    environment: Mapping[str, str]
    listen: Listen
    sockets: Sequence[Sequence[socket]]
    admin: Sequence[socket]
    status: Sequence[socket] | None
    meeting: "Meeting"
    allowances: SharedAllowances
    sign_in_allowances: SharedAllowances
    pace: Pace

    @property
    def workers(self) -> int:
        return len(self.sockets)

    def not_of(self, number: int) -> Iterator[Sequence[socket]]:
        """What the worker of this number does not listen on; nor does the keeper, whose number is -1."""
        yield from (sockets for other, sockets in enumerate(self.sockets) if other != number)
        if number >= 0:
            yield self.admin
            yield self.status or ()

    def saying(self, text: str) -> "Plan":
        """The same plan with what the route file says by now."""
        if text == self.text:
            return self
        return replace(self, text=text, config=parse(text, str(self.route_file), self.environment))


class Meeting:
    """A Unix socket in a folder that only this user may enter; raises ConfigError where there can be none."""

    def __init__(self) -> None:
        try:
            self._folder = Path(mkdtemp(prefix="gateway-"))
        except OSError as err:
            why = err.strerror or type(err).__name__
            raise ConfigError(
                (f"workers need a folder to meet in, and none can be made ({why}); set TMPDIR, or serve with one",)
            ) from None
        self.path = str(self._folder / "keeper")
        self.socket = self._bound()

    def _bound(self) -> socket:
        bound = socket(AF_UNIX, SOCK_STREAM)
        try:
            bound.bind(self.path)
        except OSError as err:
            bound.close()
            with suppress(OSError):
                rmtree(self._folder)
            raise ConfigError(
                (f"workers cannot meet at {self.path} ({err.strerror or err}); set TMPDIR to another folder",)
            ) from None
        bound.listen(_BACKLOG)
        return bound

    def mend(self) -> None:
        """Have the socket in its place again where somebody has cleaned up; raises OSError where that cannot be."""
        if Path(self.path).exists():
            return
        with suppress(FileNotFoundError):
            self._folder.rmdir()
        self._folder.mkdir(0o700)
        before, self.socket = self.socket, self._bound()
        before.close()

    def close(self) -> None:
        """Nobody meets there any more."""
        self.socket.close()
        with suppress(OSError):
            rmtree(self._folder)


def made(
    settings: Settings, route_file: Path, text: str, environment: Mapping[str, str], *, pace: Pace | None = None
) -> Plan:
    """Compile the route file, and take up everything that is shared; raises ConfigError with every problem."""
    config = parse(text, str(route_file), environment)
    listen, sockets = _bound(settings.listen, settings.workers, "--listen")
    _, admin = _bound(settings.admin, 1, "--admin")
    status = _bound(settings.status, 1, "--status")[1][0] if settings.status is not None else None
    return Plan(
        settings=settings,
        route_file=route_file,
        text=text,
        config=config,
        environment=environment,
        listen=listen,
        sockets=sockets,
        admin=admin[0],
        status=status,
        meeting=Meeting(),
        allowances=SharedAllowances(),
        sign_in_allowances=SharedAllowances(_SIGN_IN_CALLERS),
        pace=pace or Pace(),
    )


def _bound(listen: Listen, processes: int, option: str) -> tuple[Listen, list[list[socket]]]:
    """Sockets for each process at every address that `listen` means, and where that is once a port is chosen."""
    try:
        found = getaddrinfo(listen.host, listen.port, type=SOCK_STREAM, flags=AI_PASSIVE)
        port = listen.port
        sockets: list[list[socket]] = [[] for _ in range(processes)]
        for family, kind, protocol, _, address in dict.fromkeys(found):
            for own in sockets:
                one = socket(family, kind, protocol)
                one.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
                if processes > 1:
                    one.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
                if family == AF_INET6:
                    one.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
                one.bind((address[0], port, *address[2:]))
                port = one.getsockname()[1]
                one.listen(_BACKLOG)
                own.append(one)
    except OSError as err:
        raise ConfigError((unusable(listen, option, err),)) from None
    return Listen(listen.host, port), sockets
