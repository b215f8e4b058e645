"""The parent: forks the keeper and the workers, replaces who dies, and ends them all orderly.

It serves nobody, holds no event loop and starts no thread, so that it can fork at any time and has little to die of.
Whoever is forked has everything imported already and begins within milliseconds.
"""

import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from gateway.core.errors import ConfigError
from gateway.notify import Supervisor
from gateway.process import run
from gateway.settings import usable_cores
from gateway.telemetry import log, set_up_logging
from gateway.workers.keeping import keep
from gateway.workers.plan import Plan
from gateway.workers.worker import work

if TYPE_CHECKING:
    from gateway.traces import Traces

_KEEPER_ENDS_S = 5.0
_LONGEST_WAIT_S = 1.0
_SIGNS_OF_LIFE_S = 5.0
_BAD_SETTINGS, _BUG = 78, 70  # EX_CONFIG, EX_SOFTWARE of sysexits.h
_INTERRUPTED = 130
_PIECE = 1 << 20
_PIPE_BYTES = 32 * 1024  # less than what a pipe holds
_MISSED = 4
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


@dataclass(eq=False, slots=True)
class Post:
    """The keeper's or a worker's. number: -1 for the keeper. deaths: in a row. due_s: when somebody is to take it."""

    name: str
    number: int
    pid: int = 0
    began_s: float = 0.0
    deaths: int = 0
    due_s: float = 0.0


class Parent:
    def __init__(self, plan: Plan, traces: "Callable[[], Traces | None]") -> None:
        """traces: called in each worker."""
        self._plan = plan
        self._traces = traces
        self._text = plan.text
        self._carried: list[Any] | None = None  # for the first keeper; later ones have something to wait for
        self._keeper = Post("keeper", -1)
        self._workers = [Post(f"worker {number + 1}", number) for number in range(plan.workers)]
        self._forked = 0
        self._signals: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._control: socket.socket | None = None
        self._unread = b""
        self._unsaid: list[bytes] = []
        self._told: set[str] = set()
        self._was_ready = self._is_ready = self._was_interrupted = False
        self._heard_s = 0.0
        self._code = 0
        self._stopping_s: float | None = None
        self._kill_s = self._close_s = float("inf")
        self._supervisor = Supervisor(os.environ, os.getpid())
        self._beat_s = float("inf") if self._supervisor.beat_s is None else 0.0
        # Ends with this process, however it ends: the sign for workers to end too.
        self._orphaned, self._alive = os.pipe()
        # What is wrong is often found by all at once, and told by the parent alone.
        self._found, self._complain = os.pipe()
        os.set_blocking(self._found, False)
        self._woken, self._wake = socket.socketpair()

    def run(self) -> int:
        """Until all have ended; returns the exit code."""
        self._catch_signals()
        self._supervisor.waiting()
        gc.collect()
        gc.freeze()  # so that looking for garbage copies no page that all share
        try:
            while self._keeper.pid or self._stopping_s is None or any(post.pid for post in self._workers):
                self._fork_who_is_due()
                self._wait()
                self._obey_signals()
                self._end_silent_keeper()
                self._reap()
                self._go_on_stopping()
                self._tell_keeper()
                self._tell_supervisor()
        finally:
            self._plan.meeting.close()
        return self._code

    # --- what happens -----------------------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        for end in (self._woken, self._wake):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._noted)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def _noted(self, number: int, _: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._signals.append(number)

    def _wait(self) -> None:
        """Until something has happened, or is due."""
        now_s = time.monotonic()
        due_s = [post.due_s for post in self._posts() if not post.pid] if self._stopping_s is None else []
        next_s = min([*due_s, self._kill_s, self._close_s, self._beat_s, now_s + _LONGEST_WAIT_S])
        for key, _ in self._selector.select(max(next_s - now_s, 0.0)):
            if key.fileobj is self._woken:
                with suppress(BlockingIOError):
                    self._woken.recv(_PIECE)
            else:
                self._hear_keeper()

    def _hear_keeper(self) -> bool:
        """What the keeper says; False where there is nothing."""
        if self._control is None:
            return False
        try:
            piece = self._control.recv(_PIECE)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        if not piece:
            self._forget_control()
            return False
        *lines, self._unread = (self._unread + piece).split(b"\n")
        for line in lines:
            said = json.loads(line)
            self._heard_s = time.monotonic()
            self._text = said.get("text", self._text)
            self._carried = said.get("carried", self._carried)
            self._is_ready = said.get("ready", self._is_ready)
            if "silent" in said:
                _kill(self._workers[said["silent"]], signal.SIGKILL)
            self._was_ready = self._was_ready or self._is_ready
        return True

    def _forget_control(self) -> None:
        if self._control is not None:
            self._selector.unregister(self._control)
            self._control.close()
        self._control, self._unread, self._is_ready = None, b"", False

    def _obey_signals(self) -> None:
        while self._signals:
            match self._signals.pop(0):
                case signal.SIGHUP:
                    _kill(self._keeper, signal.SIGHUP)
                case signal.SIGINT if self._was_interrupted:
                    for post in self._posts():
                        _kill(post, signal.SIGKILL)
                    self._code = _INTERRUPTED
                case number:
                    self._was_interrupted = self._was_interrupted or number == signal.SIGINT
                    self._stop()

    # --- the others -------------------------------------------------------------------------------------------------

    def _posts(self) -> list[Post]:
        return [self._keeper, *self._workers]

    def _fork_who_is_due(self) -> None:
        for post in self._posts():
            if self._stopping_s is None and not post.pid and post.due_s <= time.monotonic():
                self._fork(post)

    def _fork(self, post: Post) -> None:
        ours: socket.socket | None = None
        theirs: socket.socket | None = None
        self._forked += 1
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that comes before the new process has shed the parent's way with signals must not be lost in it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            if post is self._keeper:
                # What the keeper said last before it died: the next one must not begin with less.
                while self._hear_keeper():
                    pass
                self._forget_control()
                self._plan.meeting.mend()
                ours, theirs = socket.socketpair()
            pid = os.fork()
            if not pid:
                self._be(post, ours, theirs)
        except (OSError, ConfigError) as err:
            for one in (ours, theirs):
                if one is not None:
                    one.close()
            post.due_s = time.monotonic() + self._plan.pace.longest_s
            log.error("no process can be started; it is tried again", started=post.name, cause=str(err))
            return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        post.pid, post.began_s = pid, time.monotonic()
        if ours is not None and theirs is not None:
            theirs.close()
            ours.setblocking(False)
            self._control = ours
            self._selector.register(ours, selectors.EVENT_READ)
            self._carried = self._carried or []
            self._heard_s = time.monotonic()
        log.info("started", started=post.name, pid=pid)

    def _be(self, post: Post, ours: socket.socket | None, theirs: socket.socket | None) -> NoReturn:
        """In the new process: be the keeper or a worker, and end with it."""
        code = _BUG
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent says what follows
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._let_go(post, ours)
            plan = self._plan.saying(self._text)
            if theirs is not None:
                run(keep(plan, self._carried, theirs))
            else:
                run(work(plan, post.number, f"{post.number}-{self._forked}", self._orphaned, self._traces))
            code = 0
        except ConfigError as err:
            os.write(self._complain, "".join(f"{problem}\n" for problem in err.problems).encode()[:_PIPE_BYTES])
            code = _BAD_SETTINGS
        except SystemExit as err:
            code = err.code if isinstance(err.code, int) else _BUG
        except BaseException:  # noqa: BLE001  # whatever it is, this process ends here and not in the parent's code
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _let_go(self, post: Post, ours: socket.socket | None) -> None:
        """Close what is the parent's or another's; a pipe ends only when nobody holds its other side."""
        self._selector.close()
        for one in (self._woken, self._wake, self._control, ours):
            if one is not None:
                one.close()
        os.close(self._alive)
        for sockets in self._plan.not_of(post.number):
            for one in sockets:
                one.close()

    def _end_silent_keeper(self) -> None:
        """One that hangs answers nobody, and is not replaced as long as it lives."""
        silent_s = time.monotonic() - self._heard_s
        if self._keeper.pid and silent_s > _MISSED * self._plan.pace.sign_of_life_s:
            log.error("the keeper gives no sign of life", pid=self._keeper.pid)
            _kill(self._keeper, signal.SIGKILL)
            self._heard_s = time.monotonic()

    def _reap(self) -> None:
        for post in self._posts():
            if not post.pid:
                continue
            pid, status = os.waitpid(post.pid, os.WNOHANG)
            if pid:
                self._ended(post, os.waitstatus_to_exitcode(status))

    def _ended(self, post: Post, code: int) -> None:
        now_s, pace = time.monotonic(), self._plan.pace
        pid, post.pid = post.pid, 0
        if self._stopping_s is not None:
            return
        self._unsaid.append(b"ended keeper\n" if post is self._keeper else b"ended worker\n")
        post.deaths = 1 if now_s - post.began_s >= pace.settled_s else post.deaths + 1
        pause_s = min(pace.first_s * 2 ** (post.deaths - 2), pace.longest_s) if post.deaths > 1 else 0.0
        post.due_s = now_s + pause_s
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if code == _BAD_SETTINGS:
            self._tell_problems()
        if code == _BAD_SETTINGS and not self._was_ready:
            self._give_up(1)
        elif post is self._keeper and post.deaths >= pace.tries:
            log.critical("giving up: the keeper does not stay up", deaths=post.deaths, last=how)
            self._give_up(1)
        elif not any(self._stays_up(one, now_s) for one in self._workers):
            log.critical("giving up: no worker stays up", deaths=post.deaths, last=how)
            self._give_up(1)
        else:
            log.error("died", died=post.name, pid=pid, how=how, next_in_s=round(pause_s, 3))

    def _tell_problems(self) -> None:
        with suppress(BlockingIOError):
            problems = os.read(self._found, _PIECE).decode().splitlines()
            for problem in problems:
                if problem not in self._told:
                    self._told.add(problem)
                    print(problem, file=sys.stderr)  # noqa: T201  # as the command line says what is wrong

    def _stays_up(self, post: Post, now_s: float) -> bool:
        pace = self._plan.pace
        return post.deaths < pace.tries or (bool(post.pid) and now_s - post.began_s >= pace.settled_s)

    def _give_up(self, code: int) -> None:
        self._code = code
        self._stop()

    # --- the end ----------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Workers first; the keeper stays until none of them can need it any more."""
        if self._stopping_s is not None:
            return
        rules = self._plan.config.shutdown
        self._stopping_s = now_s = time.monotonic()
        self._close_s = now_s + rules.delay_s
        self._kill_s = now_s + rules.delay_s + rules.grace_s + self._plan.pace.over_grace_s
        self._supervisor.stopping()
        if self._control is not None:
            with suppress(OSError):
                self._control.send(b"stopping\n")
        for post in self._workers:
            _kill(post, signal.SIGTERM)

    def _go_on_stopping(self) -> None:
        if self._stopping_s is None:
            return
        now_s = time.monotonic()
        if now_s >= self._close_s:
            self._close_s = float("inf")
            for sockets in self._plan.sockets:
                for one in sockets:
                    one.close()
        if now_s >= self._kill_s:
            for post in self._posts():
                _kill(post, signal.SIGKILL)
        if self._keeper.pid and self._keeper.due_s != float("inf") and not any(one.pid for one in self._workers):
            self._keeper.due_s = float("inf")  # told once
            self._kill_s = now_s + _KEEPER_ENDS_S
            _kill(self._keeper, signal.SIGTERM)

    def _tell_keeper(self) -> None:
        """Of what has happened; a keeper that begins later hears of it then."""
        while self._unsaid and self._control is not None:
            with suppress(OSError):
                self._control.send(self._unsaid[0])
            self._unsaid.pop(0)

    def _tell_supervisor(self) -> None:
        if self._is_ready:
            self._supervisor.ready()
        now_s, every_s = time.monotonic(), self._supervisor.beat_s
        if every_s is not None and now_s >= self._beat_s:
            self._beat_s = now_s + every_s
            if now_s - self._heard_s < _SIGNS_OF_LIFE_S:
                self._supervisor.beat()


def _kill(post: Post, number: int) -> None:
    if post.pid:
        with suppress(ProcessLookupError):
            os.kill(post.pid, number)


def supervise(plan: Plan, traces: "Callable[[], Traces | None]") -> int:
    """Serve with several workers until told to end; returns the exit code."""
    set_up_logging(plan.settings.log, process="parent")
    for warning in plan.config.warnings:
        log.warning(warning)
    for upstream in plan.config.upstreams:
        if upstream.connections.most < plan.workers:
            log.warning(
                "an upstream may have fewer connections than there are workers, and each worker takes one",
                upstream=upstream.name,
                connections=upstream.connections.most,
                workers=plan.workers,
            )
    if plan.workers > usable_cores():
        log.warning("there are more workers than cores; they take turns", workers=plan.workers, cores=usable_cores())
    return Parent(plan, traces).run()
