"""Starts and ends processes on their cores: the candidates on one, everything else on the other."""

import contextlib
import http.client
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench import measure, peer
from bench.errors import BenchError
from bench.peer import GATEWAY, LOOPBACK, Peer, Place, Program
from bench.setup import Tools
from bench.tokens import ACCESS_KEY, KNOWN, Tokens, subject

_START_S = 60.0
_OPEN_FILES = 65_536
_OTHER_FILES = 500
_SHARED_MEMORY = Path("/dev/shm")
_MIB = 1024 * 1024
FILES = {"1": _MIB, "64": 64 * _MIB, "1024": 1024 * _MIB}


@dataclass(frozen=True, slots=True)
class Instance:
    """A peer that runs. port: for bearers; cookie_port: for cookies."""

    peer: Peer
    place: Place
    processes: tuple[subprocess.Popen[bytes], ...]
    started_s: float
    ready_s: float

    @property
    def cookie_port(self) -> int:
        return self.place.cookie_port if self.peer.cookie_door else self.place.port

    def pids(self) -> tuple[int, ...]:
        for process in self.processes:
            if process.poll() is not None:
                raise BenchError(f"{self.peer.title} has ended by itself{_last_words(self.place)}")
        return measure.family(process.pid for process in self.processes)


@dataclass
class Stage:
    """The upstreams, the temporary folder, and whoever is on. Used as a context: at its end everything is stopped."""

    tools: Tools
    tokens: Tokens
    cores: tuple[int, int]
    folder: Path = field(init=False)
    upstream: int = field(init=False)
    sink: int = field(init=False)
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _upstreams: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _ports: set[int] = field(default_factory=set)
    _count: int = 0

    def __enter__(self) -> Self:
        # In memory where possible: logs and files shall cost no disk's time.
        root = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-bench-", dir=root))
        self.folder.chmod(0o755)  # nginx's worker is somebody else
        try:
            self._start_upstreams()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for process in reversed(self._running):
            _stop(process)
        self._running.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start_upstreams(self) -> None:
        files = self.folder / "files"
        files.mkdir(mode=0o755)
        for name, size in FILES.items():
            with (files / name).open("wb") as file:
                file.truncate(size)
        for path in (self.tokens.jwks, self.tokens.pem):
            shutil.copy(path, self.folder / path.name)
        self.upstream, self.sink = self._free_port(), self._free_port()
        place = self._place(log=False, upstream=0, routes=0, port=self.upstream)
        programs = (peer.upstream(place, files, self.tokens.access_key_session), peer.sink(self.sink))
        self._upstreams = [self._run(program, place, {self.cores[1]}) for program in programs]
        for port in (self.upstream, self.sink):
            self._until(lambda port=port: ask(port, "/seen")[0] == 200, "the bench's own upstream", place)  # type: ignore[misc]

    def start(
        self,
        who: Peer,
        *,
        log: bool = False,
        upstream: int | None = None,
        routes: int = 0,
        workers: int = 1,
    ) -> Instance:
        """A peer on its core, ready and verified: a good token arrives as its subject, a bad one not at all.

        workers: of the gateway.
        """
        place = self._place(log=log, upstream=upstream or self.upstream, routes=routes, workers=workers)
        programs = who.programs(place)
        started_s = time.perf_counter()
        processes = tuple(self._run(program, place, {self.cores[0]}) for program in programs)
        self._until(lambda: self._is_ready(who, place), who.title, place)
        instance = Instance(who, place, processes, started_s, time.perf_counter())
        self.verify(instance)
        return instance

    def stop(self, instance: Instance) -> None:
        for process in instance.processes:
            _stop(process)
            self._running.remove(process)
        instance.place.log_file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def on(self, who: Peer, **how: Any) -> Iterator[Instance]:
        """As `start`, for as long as the context lasts."""
        instance = self.start(who, **how)
        try:
            yield instance
        finally:
            self.stop(instance)

    @contextlib.contextmanager
    def sharing(self, instance: Instance, cores: set[int]) -> Iterator[None]:
        """A peer, whatever is its load, and the upstream on the same cores, for as long as the context lasts."""
        measured = instance.pids()
        others = (os.getpid(), *measure.family(process.pid for process in self._upstreams))
        _put((*measured, *others), cores)
        try:
            yield
        finally:
            _put(others, {self.cores[1]})
            _put(measured, {self.cores[0]})

    def verify(self, instance: Instance) -> None:
        """Raises BenchError, naming the peer, unless it lets in, tells the upstream who, and refuses as it should."""
        who, tokens, port = instance.peer, self.tokens, instance.place.port
        bearer = {"Authorization": f"Bearer {tokens.known[-1]}"}
        expected = subject(KNOWN - 1) if who.checks else ""
        good = [(port, bearer, expected)]
        if who.checks and not who.bearer_only:
            good.append((instance.cookie_port, {"Cookie": f"DS={tokens.known[-1]}"}, expected))
        for at, headers, caller in good:
            status, body = ask(at, "/seen", headers)
            if (status, body.strip()) != (200, caller):
                kind = next(iter(headers)).lower()
                raise BenchError(
                    f"{who.title} answers a good token ({kind}) with {status}, and the upstream sees {body!r}"
                )
        if not who.checks:
            return
        bad = {"no token": None, "a forged": tokens.forged[-1], "one with an unknown kid": tokens.unknown_kid[-1]}
        if not who.bearer_only:
            bad["an expired"] = tokens.expired[-1]
        for what, token in bad.items():
            status, _ = ask(port, "/seen", {"Authorization": f"Bearer {token}"} if token else {})
            if status not in {401, 403}:
                raise BenchError(f"{who.title} answers {what} token with {status} instead of refusing it")

    def _is_ready(self, who: Peer, place: Place) -> bool:
        if who.id == GATEWAY:
            return ask(place.admin_port, "/readyz")[0] == 200
        return ask(place.port, "/seen", {"Authorization": f"Bearer {self.tokens.known[0]}"})[0] == 200

    def _until(self, is_true: Callable[[], bool], who: str, place: Place) -> None:
        end_s = time.perf_counter() + _START_S
        while not is_true():
            if any(process.poll() is not None for process in self._running):
                raise BenchError(f"{who} has ended instead of starting{_last_words(place)}")
            if time.perf_counter() > end_s:
                raise BenchError(f"{who} was not ready within {_START_S:.0f} s{_last_words(place)}")
            time.sleep(0.002)

    def _place(self, *, log: bool, upstream: int, routes: int, port: int | None = None, workers: int = 1) -> Place:
        self._count += 1
        return Place(
            id=f"p{self._count}",
            folder=self.folder,
            tools=self.tools,
            jwks=self.folder / self.tokens.jwks.name,
            pem=self.folder / self.tokens.pem.name,
            port=port or self._free_port(),
            cookie_port=self._free_port(),
            inner_port=self._free_port(),
            admin_port=self._free_port(),
            upstream=upstream,
            descope=self.upstream,
            log=log,
            routes=routes,
            workers=workers,
        )

    def _run(self, program: Program, place: Place, cores: set[int]) -> subprocess.Popen[bytes]:
        output = place.log_file if place.log else Path(os.devnull)
        with output.open("ab") as out, (self.folder / f"{place.id}.err").open("ab") as err:
            try:
                process = subprocess.Popen(
                    program.argv,
                    env={**os.environ, **program.environment},
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    # A group to be stopped, and no session of its own: the system deals out time by sessions first, and
                    # two workers in one session would have to share what one worker in a session of its own has.
                    process_group=0,
                    preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509 - there are no threads here
                )
            except OSError as failed:
                raise BenchError(f"{program.argv[0]} cannot be started: {failed.strerror}") from failed
        self._running.append(process)
        return process

    def _free_port(self) -> int:
        while True:
            with socket.socket() as listening:
                listening.bind((LOOPBACK, 0))
                port: int = listening.getsockname()[1]
            if port not in self._ports:
                self._ports.add(port)
                return port


def ask(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """One GET on a connection of its own: status and body; (0, "") where nobody answers."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("GET", path, headers=headers or {})
        reply = connection.getresponse()
        return reply.status, reply.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def access_key_is_taken(instance: Instance) -> bool:
    return ask(instance.place.port, "/keys/x", {"Authorization": f"Bearer {ACCESS_KEY}"})[0] == 200


def two_cores() -> tuple[int, int]:
    """The candidates' core and the load's. Raises BenchError where there is one alone."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("one processor core is not enough: the load needs one of its own. Run on a machine with two")
    return cores[0], cores[1]


def raise_open_files(wanted: int) -> None:
    """Every process of the run may open as many files as it takes; BenchError where that is not allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (_OPEN_FILES, hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
            break
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed < wanted + _OTHER_FILES:
        needed, possible = wanted + _OTHER_FILES, allowed - _OTHER_FILES
        raise BenchError(
            f"{wanted} idle connections need {needed} open files, {allowed} are allowed: raise `ulimit -n`, or "
            f"measure fewer with --idle {possible}"
        )


def _put(pids: Iterable[int], cores: set[int]) -> None:
    """All threads of the processes on these cores, and whatever they start."""
    for pid in pids:
        # Who has ended meanwhile is told of by `Instance.pids`.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and all it started; every one leads a process group of its own."""
    for sign, wait_s in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_words(place: Place) -> str:
    try:
        text = (place.folder / f"{place.id}.err").read_text("utf-8", "replace").strip()
    except OSError:
        text = ""
    return f":\n{text[-1_500:]}" if text else ""
