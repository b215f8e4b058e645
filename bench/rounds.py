"""How one figure is taken, and in which order: the rounds, the runs within them, and what a run must not show."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from bench import measure
from bench.errors import BenchError
from bench.load import CONNECTIONS, Outcome, run_wrk, together
from bench.peer import Peer
from bench.results import Results, Sample, percentile
from bench.stage import FILES, Instance, Stage
from bench.streams import Moved, Wire, move, talk

WEBSOCKETS = 100
_WARM_S = 2
_LONG_S = 60
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """rounds and seconds: of each figure. fresh: never-seen tokens a round. idle: how many idle connections."""

    rounds: int
    seconds: int
    fresh: int
    idle: int
    peers: tuple[Peer, ...]

    @property
    def all_fresh(self) -> int:
        """Never-seen tokens of all rounds; (b) has twice the usual ones."""
        return 2 * self.rounds * self.fresh


@dataclass(frozen=True, slots=True)
class Turn:
    """One figure to take in every round: `run` measures it on a running peer."""

    row: str
    instance: Instance
    run: Callable[[int], Sample]


@dataclass(frozen=True, slots=True)
class Run:
    """What everything that measures works with."""

    stage: Stage
    options: Options
    results: Results
    say: Callable[[str], None]

    @property
    def token(self) -> str:
        """A good one, for loads that need one alone."""
        return self.stage.tokens.known[0]


class Rounds:
    """Takes figures on running peers, into the results of `run`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._stage = run.stage

    def take(self, turns: Sequence[Turn], *, twice: bool = False) -> None:
        """Every round begins with another turn than the one before, so that nobody gains by his place."""
        for number in range(self._run.options.rounds * (1 + twice)):
            first = number % len(turns)
            for turn in (*turns[first:], *turns[:first]):
                with naming(turn.instance.peer):
                    self._stage.verify(turn.instance)
                    sample = turn.run(number)
                self._run.results.figures[turn.row][turn.instance.peer.id].append(sample)
                self._run.say(f"  round {number + 1}: {turn.row:14} {turn.instance.peer.id:13} {sample.cpu_us:9.1f} us")

    def small(self, row: str, instance: Instance, requests: Path, *, port: int = 0, refused: bool = False) -> Turn:
        where = port or instance.place.port
        seconds = self._run.options.seconds

        def run(_: int) -> Sample:
            return self._measured(instance, lambda: run_wrk(self._stage.tools.wrk, where, requests, seconds), refused)

        return Turn(row, instance, run)

    def sharing(self, row: str, instances: Sequence[Instance], requests: Path, cores: tuple[int, ...]) -> Turn:
        """As `small`, with all that takes part on these cores, and as many times the load as there are cores.

        Several instances share the load, every thread of it asking each of them, and are measured as one.
        """
        wrk, seconds, threads = self._stage.tools.wrk, self._run.options.seconds, len(cores)
        connections = threads * CONNECTIONS // len(instances)
        first, *_ = instances
        all_of_them = replace(first, processes=tuple(process for one in instances for process in one.processes))

        def ask(one: Instance) -> Outcome:
            return run_wrk(wrk, one.place.port, requests, seconds, threads=threads, connections=connections)

        def ask_all() -> Outcome:
            with ThreadPoolExecutor(len(instances)) as at_once:
                return together(tuple(at_once.map(ask, instances)))

        def run(_: int) -> Sample:
            with self._stage.sharing(all_of_them, set(cores)):
                return self._measured(all_of_them, ask_all, False)

        return Turn(row, all_of_them, run)

    def once(self, instance: Instance, files: Sequence[Path]) -> Callable[[int], Sample]:
        """Every request of the round's file once."""
        wrk, port, most = self._stage.tools.wrk, instance.place.port, self._run.options.fresh
        return lambda number: self._measured(
            instance, lambda: run_wrk(wrk, port, files[number], _LONG_S, most=most), False
        )

    def _measured(self, instance: Instance, run: Callable[[], Outcome], refused: bool) -> Sample:
        pids = instance.pids()
        measure.forget_peak(pids)
        before_s = measure.cpu_s(pids)
        outcome = run()
        taken_s = measure.cpu_s(pids) - before_s
        require(outcome, refused)
        if instance.pids() != pids:
            raise BenchError("its processes are not the same as before")
        peak = measure.memory_bytes(pids, "VmHWM")
        return Sample(taken_s / outcome.requests * 1e6, outcome.rate, outcome.p50_ms, outcome.p99_ms, peak)

    def moving(self, instance: Instance, way: str, name: str) -> Callable[[int], Sample]:
        """The unit is a MiB, so that sizes compare."""

        def run(_: int) -> Sample:
            pids = instance.pids()
            measure.forget_peak(pids)
            before_s = measure.cpu_s(pids)
            moved = self.transfer(instance, way, name, self._run.options.seconds)
            units = moved.count * FILES[name] / _MIB
            return _sample(measure.cpu_s(pids) - before_s, moved, units, pids)

        return run

    def transfer(self, instance: Instance, way: str, name: str, seconds: float) -> Moved:
        """Bodies one after the other on one connection; one alone for no seconds."""
        wire = Wire(instance.place.port, self._run.token)
        try:
            if way == "down":
                return move(lambda: wire.download(f"/files/{name}", FILES[name]), seconds or 1e-9)
            return move(lambda: wire.upload(f"/files/{name}", FILES[name]), seconds or 1e-9)
        except OSError as err:
            raise BenchError(f"{name} MiB {way} failed: {err}") from err
        finally:
            wire.close()

    def talking(self, instance: Instance, size: int) -> Callable[[int], Sample]:
        def run(_: int) -> Sample:
            pids = instance.pids()
            measure.forget_peak(pids)
            port, seconds = instance.place.port, self._run.options.seconds
            echoes = talk(
                port,
                self._run.token,
                size=size,
                connections=WEBSOCKETS,
                seconds=seconds,
                meter=lambda: measure.cpu_s(pids),
            )
            moved, taken_s = uvloop.run(echoes)
            return _sample(taken_s, moved, moved.count, pids)

        return run

    def warm(self, instances: Iterable[Instance], requests: Path) -> None:
        for instance in instances:
            self.warm_door(instance, instance.place.port, requests)

    def warm_door(self, instance: Instance, port: int, requests: Path) -> None:
        with naming(instance.peer):
            require(
                run_wrk(self._stage.tools.wrk, port, requests, min(_WARM_S, self._run.options.seconds)),
                refused=False,
            )


class naming:  # noqa: N801 - reads as the word it stands for
    """Whatever goes wrong inside is told with the peer's name."""

    def __init__(self, who: Peer) -> None:
        self._who = who

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, BenchError | TimeoutError | OSError) and self._who.title not in str(err):
            raise BenchError(f"{self._who.title}: {str(err) or 'it does not answer any more'}") from err


def require(outcome: Outcome, refused: bool) -> None:
    """Raises BenchError unless every reply was what the workload expects: all admitted, or all refused."""
    if outcome.errors:
        raise BenchError(f"{outcome.errors} connections broke or timed out under load")
    if outcome.requests == 0:
        raise BenchError("not one request was answered")
    expected = outcome.requests if refused else 0
    if outcome.not_2xx != expected:
        admitted = outcome.requests - outcome.not_2xx
        raise BenchError(f"of {outcome.requests} requests {outcome.not_2xx} were refused and {admitted} admitted, "
                         f"where {expected} should have been refused")  # fmt: skip


def _sample(cpu_s: float, moved: Moved, units: float, pids: Sequence[int]) -> Sample:
    if units <= 0:
        raise BenchError("nothing was finished in time")
    in_order = sorted(moved.latencies_s)
    p50_ms, p99_ms = (percentile(in_order, share) * 1_000 for share in (0.5, 0.99))
    return Sample(cpu_s / units * 1e6, units / moved.seconds, p50_ms, p99_ms, measure.memory_bytes(pids, "VmHWM"))
