"""The workloads (a) to (j). Rounds are interleaved: every peer has its turn before anyone has a second one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import measure
from bench.errors import BenchError
from bench.load import Asked, Outcome, run_wrk, write_requests
from bench.peer import GATEWAY, PEERS_BY_ID, PLAIN, Peer
from bench.results import Results, Sample, percentile
from bench.stage import FILES, Instance, Stage, access_key_is_taken
from bench.streams import Moved, Wire, lie_idle, move, talk
from bench.tokens import ACCESS_KEY, KNOWN

SMALL = "/api/items?x=1"
WEBSOCKETS = 100
MESSAGES = (64, 64 * 1024)
ROUTES = (10, 10_000)
STARTS = 5
_WARM_S = 1
_LONG_S = 60
_MIB = 1024 * 1024
_REFUSED = ("none", "expired", "forged", "unknown-kid")


@dataclass(frozen=True, slots=True)
class Options:
    """rounds and seconds: of each figure. fresh: never-seen tokens a round. idle: how many idle connections."""

    rounds: int
    seconds: int
    fresh: int
    idle: int
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """One figure to take in every round: `run` measures it on a running peer."""

    row: str
    instance: Instance
    run: Callable[[int], Sample]


class Workloads:
    """Measures into `results`. Raises BenchError, naming the peer, as soon as one does not answer as it must."""

    def __init__(self, stage: Stage, options: Options, results: Results, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._options = options
        self._results = results
        self._say = say
        self._token = stage.tokens.known[0]
        self._gateway = PEERS_BY_ID[GATEWAY]
        self._known = self._bearers("known", stage.tokens.known)

    # --- (a) to (d), (h), (i): small requests ---

    def a(self) -> None:
        """Small GETs with tokens seen before: bearers without and with a request log, cookies."""
        cookies = self._file("cookies", (Asked(SMALL, ("Cookie", f"DS={token}")) for token in self._stage.tokens.known))
        quiet = self._peers()
        with ExitStack() as on:
            instances = [on.enter_context(self._stage.on(who)) for who in quiet]
            logging = [on.enter_context(self._stage.on(who, log=True)) for who in quiet]
            self._warm([*instances, *logging])
            bearer = [self._small("a-bearer", one, self._known) for one in instances]
            logged = [self._small("a-bearer-log", one, self._known) for one in logging]
            # Side by side with its own quiet twin, so that the cost of the log is seen.
            self._rounds([turn for pair in zip(bearer, logged, strict=True) for turn in pair])
            of_cookies = [one for one in instances if not one.peer.bearer_only]
            self._rounds([self._small("a-cookie", one, cookies, port=one.cookie_port) for one in of_cookies])

    def b(self) -> None:
        """Every token new: each round has its own, and shows them to each peer once."""
        fresh, count = self._stage.tokens.fresh, self._options.fresh
        files = [
            self._bearers(f"fresh{number}", fresh[number * count : (number + 1) * count])
            for number in range(self._options.rounds)
        ]
        with ExitStack() as on:
            instances = [on.enter_context(self._stage.on(who)) for who in self._peers(checking=True)]
            self._warm(instances)
            self._rounds([Turn("b", one, self._once(one, files)) for one in instances])

    def c(self) -> None:
        """Refused: no token, expired, forged, unknown `kid`; 2,000 different ones of each, in turn."""
        tokens = self._stage.tokens
        kinds = (("expired", tokens.expired), ("forged", tokens.forged), ("unknown-kid", tokens.unknown_kid))
        files = {"none": self._file("none", [Asked(SMALL)])} | {kind: self._bearers(kind, them) for kind, them in kinds}
        with ExitStack() as on:
            instances = [on.enter_context(self._stage.on(who)) for who in self._peers(checking=True)]
            self._warm(instances)
            turns = [self._small(f"c-{kind}", one, files[kind], refused=True) for kind in _REFUSED for one in instances]
            self._rounds([*turns, *self._again("c", instances)])

    def d(self) -> None:
        """An access key that is remembered."""
        asked = self._file("key", [Asked("/keys/items?x=1", ("Authorization", f"Bearer {ACCESS_KEY}"))])
        with self._stage.on(self._gateway) as instance:
            if not access_key_is_taken(instance):
                raise BenchError("the gateway refuses the access key")
            self._warm([instance])
            self._rounds([self._small("d", instance, asked), *self._again("d", [instance])])

    def h(self) -> None:
        """Ten routes against ten thousand under one prefix, with captures and hosts; the same requests to both."""
        few, many = ROUTES
        tokens = self._stage.tokens.known
        same = self._file("routes-same", (_of_route(number % few, token) for number, token in enumerate(tokens)))
        everywhere = (_of_route(number, tokens[number % KNOWN]) for number in range(many))
        spread = self._file("routes-spread", everywhere)
        with self._stage.on(self._gateway, routes=few) as small, self._stage.on(self._gateway, routes=many) as large:
            for one in (small, large):
                self._warm_with(one, same)
            turns = [
                self._small(f"h-{few}", small, same),
                self._small(f"h-{many}", large, same),
                self._small("h-spread", large, spread),
            ]
            # A few per cent are at stake here: twice the rounds.
            self._rounds(turns, twice=True)

    def i(self) -> None:
        """A route with a limit for each subject, too high to refuse anybody."""
        limited = self._bearers("limited", self._stage.tokens.known, "/limited/items?x=1")
        with self._stage.on(self._gateway) as instance:
            self._warm([instance])
            self._rounds([self._small("i", instance, limited), *self._again("i", [instance])])

    # --- (e), (f), (g), (j): streams, connections, starting ---

    def e(self) -> None:
        """1 MiB and 64 MiB, down and up, with and against nginx; then a gigabyte each way through the gateway alone."""
        peers = [PEERS_BY_ID[PLAIN], self._gateway]
        with ExitStack() as on:
            down = [on.enter_context(self._stage.on(who)) for who in peers]
            up = [on.enter_context(self._stage.on(who, upstream=self._stage.sink)) for who in peers]
            self._warm([*down, *up])
            turns: list[Turn] = []
            for name in ("1", "64"):
                turns += [Turn(f"e-down-{name}", one, self._moving(one, "down", name)) for one in down]
                turns += [Turn(f"e-up-{name}", one, self._moving(one, "up", name)) for one in up]
            self._rounds(turns)
        for way, upstream in (("down", None), ("up", self._stage.sink)):
            with self._stage.on(self._gateway, upstream=upstream) as instance:
                self._warm([instance])
                pids = instance.pids()
                before = measure.memory_bytes(pids, "VmRSS")
                measure.forget_peak(pids)
                self._transfer(instance, way, "1024", 0)
                grown = measure.memory_bytes(pids, "VmHWM") - before
                self._results.numbers[f"growth-{way}"][GATEWAY].append(grown)

    def f(self) -> None:
        """WebSocket echo over 100 connections, small and large messages."""
        able = [who for who in self._peers() if who.websocket and not who.bearer_only and who.id != "envoy-cache"]
        with ExitStack() as on:
            instances = [on.enter_context(self._stage.on(who, upstream=self._stage.sink)) for who in able]
            self._warm(instances)
            self._rounds([Turn(f"f-{size}", one, self._talking(one, size)) for size in MESSAGES for one in instances])

    def g(self) -> None:
        """Idle keep-alive connections: how much memory each takes."""
        count = self._options.idle
        for who in self._peers(variants=False):
            self._say(f"  {count} idle connections, {who.id}")
            with self._stage.on(who) as instance, _naming(who):
                self._warm([instance])
                port, meter = instance.place.port, _resident(instance.pids())
                grown = uvloop.run(lie_idle(port, self._token, count, meter))
                self._results.numbers["idle"][who.id].append(grown / count)

    def j(self) -> None:
        """From starting the process to being ready, and what a ready gateway has in memory."""
        for _ in range(STARTS):
            for who in self._peers(variants=False):
                with self._stage.on(who) as instance:
                    self._results.numbers["start"][who.id].append(instance.ready_s - instance.started_s)
                    resident = measure.memory_bytes(instance.pids(), "VmRSS")
                    self._results.numbers["resident"][who.id].append(resident)

    # --- how a figure is taken ---

    def _rounds(self, turns: Sequence[Turn], *, twice: bool = False) -> None:
        for number in range(self._options.rounds * (1 + twice)):
            for turn in turns:
                with _naming(turn.instance.peer):
                    self._stage.verify(turn.instance)
                    sample = turn.run(number)
                self._results.figures[turn.row][turn.instance.peer.id].append(sample)
                self._say(f"  round {number + 1}: {turn.row:14} {turn.instance.peer.id:13} {sample.cpu_us:9.1f} us")

    def _small(self, row: str, instance: Instance, requests: Path, *, port: int = 0, refused: bool = False) -> Turn:
        where = port or instance.place.port
        seconds = self._options.seconds

        def run(_: int) -> Sample:
            return self._measured(instance, lambda: run_wrk(self._stage.tools.wrk, where, requests, seconds), refused)

        return Turn(row, instance, run)

    def _once(self, instance: Instance, files: Sequence[Path]) -> Callable[[int], Sample]:
        """Every request of the round's file once; wrk itself asks the script for one more than it sends."""
        wrk, port, most = self._stage.tools.wrk, instance.place.port, self._options.fresh
        return lambda number: self._measured(instance, lambda: run_wrk(wrk, port, files[number], _LONG_S, most), False)

    def _measured(self, instance: Instance, run: Callable[[], Outcome], refused: bool) -> Sample:
        pids = instance.pids()
        measure.forget_peak(pids)
        before_s = measure.cpu_s(pids)
        outcome = run()
        taken_s = measure.cpu_s(pids) - before_s
        _require(outcome, refused)
        if instance.pids() != pids:
            raise BenchError("its processes are not the same as before")
        peak = measure.memory_bytes(pids, "VmHWM")
        return Sample(taken_s / outcome.requests * 1e6, outcome.rate, outcome.p50_ms, outcome.p99_ms, peak)

    def _moving(self, instance: Instance, way: str, name: str) -> Callable[[int], Sample]:
        """The unit is a MiB, so that sizes compare."""

        def run(_: int) -> Sample:
            pids = instance.pids()
            measure.forget_peak(pids)
            before_s = measure.cpu_s(pids)
            moved = self._transfer(instance, way, name, self._options.seconds)
            units = moved.count * FILES[name] / _MIB
            return _sample(measure.cpu_s(pids) - before_s, moved, units, pids)

        return run

    def _transfer(self, instance: Instance, way: str, name: str, seconds: float) -> Moved:
        """Bodies one after the other on one connection; one alone for no seconds."""
        wire = Wire(instance.place.port, self._token)
        try:
            if way == "down":
                return move(lambda: wire.download(f"/files/{name}", FILES[name]), seconds or 1e-9)
            return move(lambda: wire.upload(f"/files/{name}", FILES[name]), seconds or 1e-9)
        except OSError as err:
            raise BenchError(f"{name} MiB {way} failed: {err}") from err
        finally:
            wire.close()

    def _talking(self, instance: Instance, size: int) -> Callable[[int], Sample]:
        def run(_: int) -> Sample:
            pids = instance.pids()
            measure.forget_peak(pids)
            port, seconds = instance.place.port, self._options.seconds
            echoes = talk(
                port,
                self._token,
                size=size,
                connections=WEBSOCKETS,
                seconds=seconds,
                meter=lambda: measure.cpu_s(pids),
            )
            moved, taken_s = uvloop.run(echoes)
            return _sample(taken_s, moved, moved.count, pids)

        return run

    def _again(self, workload: str, instances: Iterable[Instance]) -> list[Turn]:
        """The gateway's (a) within the rounds of another workload: what that one is compared with."""
        ours = [one for one in instances if one.peer.id == GATEWAY]
        return [self._small(f"{workload}-as-a", one, self._known) for one in ours]

    def _warm(self, instances: Iterable[Instance]) -> None:
        for instance in instances:
            self._warm_with(instance, self._known)

    def _warm_with(self, instance: Instance, requests: Path) -> None:
        with _naming(instance.peer):
            _require(run_wrk(self._stage.tools.wrk, instance.place.port, requests, _WARM_S), refused=False)

    def _peers(self, *, checking: bool = False, variants: bool = True) -> list[Peer]:
        """Who takes part. checking: those alone that look at tokens, one of each configuration but not its variant."""
        chosen = self._options.peers
        if checking:
            return [who for who in chosen if who.checks and not who.bearer_only]
        return [who for who in chosen if variants or not (who.bearer_only or who.id == "envoy-cache")]

    def _bearers(self, name: str, tokens: Iterable[str], path: str = SMALL) -> Path:
        return self._file(name, (Asked(path, ("Authorization", f"Bearer {token}")) for token in tokens))

    def _file(self, name: str, requests: Iterable[Asked]) -> Path:
        return write_requests(self._stage.folder / f"{name}.requests", requests)


class _naming:  # noqa: N801 - reads as the word it stands for
    """Whatever goes wrong inside is told with the peer's name."""

    def __init__(self, who: Peer) -> None:
        self._who = who

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, BenchError | TimeoutError | OSError) and self._who.title not in str(err):
            raise BenchError(f"{self._who.title}: {str(err) or 'it does not answer any more'}") from err


def _require(outcome: Outcome, refused: bool) -> None:
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


def _resident(pids: Sequence[int]) -> Callable[[], float]:
    return lambda: measure.memory_bytes(pids, "VmRSS")


def _of_route(number: int, token: str) -> Asked:
    host = f"h{number % 100}.example.com" if number % 2 else ""
    return Asked(f"/api/t{number % 7}/r{number}/i{number % 13}/x", ("Authorization", f"Bearer {token}"), host)


def names() -> Iterator[str]:
    yield from "abcdefghij"
