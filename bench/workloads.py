"""The workloads (a) to (k). Rounds are interleaved: every peer has its turn before anyone has a second one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import uvloop

from bench import measure
from bench.errors import BenchError
from bench.load import Asked, write_requests
from bench.peer import GATEWAY, PEERS_BY_ID, PLAIN, Peer
from bench.rounds import Rounds, Run, Turn, naming
from bench.stage import Instance, access_key_is_taken
from bench.streams import lie_idle
from bench.tokens import ACCESS_KEY, KNOWN

SMALL = "/api/items?x=1"
MESSAGES = (64, 64 * 1024)
ROUTES = (10, 10_000)
STARTS = 5
_STARTED_AGAIN = 4
# How many gateways with how many workers each, on how many cores.
_WORKERS: Mapping[str, tuple[int, int, int]] = {
    "k-1": (1, 1, 1),
    "k-2": (1, 2, 2),
    "k-2-apart": (2, 1, 2),
    "k-2-one-core": (1, 2, 1),
}
_REFUSED = ("none", "expired", "forged", "unknown-kid")


class Workloads:
    """Measures into the results of `run`; raises BenchError, naming the peer, where one does not answer as it must."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._stage = run.stage
        self._gateway = PEERS_BY_ID[GATEWAY]
        self._rounds = Rounds(run)
        self._known = self._bearers("known", run.stage.tokens.known)

    # --- (a) to (d), (h), (i): small requests ---

    def a(self) -> None:
        """Small GETs with tokens seen before: bearers without and with a request log, cookies."""
        cookies = self._file("cookies", (Asked(SMALL, ("Cookie", f"DS={token}")) for token in self._stage.tokens.known))
        quiet = self._peers()
        with ExitStack() as on:
            instances = [on.enter_context(self._stage.on(who)) for who in quiet]
            logging = [on.enter_context(self._stage.on(who, log=True)) for who in quiet]
            self._rounds.warm([*instances, *logging], self._known)
            bearer = [self._rounds.small("a-bearer", one, self._known) for one in instances]
            logged = [self._rounds.small("a-bearer-log", one, self._known) for one in logging]
            # Side by side with its own quiet twin, so that the cost of the log is seen.
            self._rounds.take([turn for pair in zip(bearer, logged, strict=True) for turn in pair])
            of_cookies = [one for one in instances if not one.peer.bearer_only]
            for one in of_cookies:
                self._rounds.warm_door(one, one.cookie_port, cookies)
            self._rounds.take(
                [self._rounds.small("a-cookie", one, cookies, port=one.cookie_port) for one in of_cookies]
            )

    def b(self) -> None:
        """Every token new: each round has its own, and shows them to each peer once."""
        fresh, count = self._stage.tokens.fresh, self._run.options.fresh
        files = [
            self._bearers(f"fresh{first}", fresh[first : first + count])
            for first in range(0, self._run.options.all_fresh, count)
        ]
        with ExitStack() as on:
            instances = [on.enter_context(self._stage.on(who)) for who in self._peers(checking=True)]
            self._rounds.warm(instances, self._known)
            # The rounds are short, for tokens are dear to make.
            self._rounds.take([Turn("b", one, self._rounds.once(one, files)) for one in instances], twice=True)

    def c(self) -> None:
        """Refused: no token, expired, forged, unknown `kid`; 2,000 different ones of each, in turn."""
        tokens = self._stage.tokens
        kinds = (("expired", tokens.expired), ("forged", tokens.forged), ("unknown-kid", tokens.unknown_kid))
        files = {"none": self._file("none", [Asked(SMALL)])} | {kind: self._bearers(kind, them) for kind, them in kinds}
        with ExitStack() as on:
            instances = [on.enter_context(self._stage.on(who)) for who in self._peers(checking=True, variants=False)]
            # One of its own for (a): refusals push tokens out of a memory that is bounded.
            undisturbed = on.enter_context(self._stage.on(self._gateway))
            self._rounds.warm([*instances, undisturbed], self._known)
            turns = [
                self._rounds.small(f"c-{kind}", one, files[kind], refused=True)
                for kind in _REFUSED
                for one in instances
            ]
            self._rounds.take([*turns, *self._again("c", undisturbed)])

    def d(self) -> None:
        """An access key that is remembered."""
        asked = self._file("key", [Asked("/keys/items?x=1", ("Authorization", f"Bearer {ACCESS_KEY}"))])
        with self._stage.on(self._gateway) as instance:
            if not access_key_is_taken(instance):
                raise BenchError("the gateway refuses the access key")
            self._rounds.warm([instance], self._known)
            self._rounds.take([self._rounds.small("d", instance, asked), *self._again("d", instance)])

    def h(self) -> None:
        """Ten routes against ten thousand under one prefix, with captures and hosts; the same requests to both."""
        few, many = ROUTES
        tokens = self._stage.tokens.known
        same = self._file("routes-same", (_of_route(number % few, 0, token) for number, token in enumerate(tokens)))
        # As many different requests on either side, so that memories of whole requests count for neither.
        spread = {
            count: self._file(
                f"routes-{count}", (_of_route(number % count, number, tokens[number % KNOWN]) for number in range(many))
            )
            for count in ROUTES
        }
        with (
            self._stage.on(self._gateway, routes=few) as small,
            self._stage.on(self._gateway, routes=many) as large,
        ):
            self._rounds.warm([small, large], same)
            turns = [
                self._rounds.small(f"h-{few}", small, same),
                self._rounds.small(f"h-{many}", large, same),
                self._rounds.small(f"h-{few}-spread", small, spread[few]),
                self._rounds.small(f"h-{many}-spread", large, spread[many]),
            ]
            # A few per cent are at stake here: twice the rounds.
            self._rounds.take(turns, twice=True)

    def i(self) -> None:
        """A route with a limit for each subject, too high to refuse anybody."""
        limited = self._bearers("limited", self._stage.tokens.known, "/limited/items?x=1")
        with self._stage.on(self._gateway) as instance:
            self._rounds.warm([instance], self._known)
            self._rounds.take([self._rounds.small("i", instance, limited), *self._again("i", instance)])

    # --- (e), (f), (g), (j): streams, connections, starting ---

    def e(self) -> None:
        """1 MiB and 64 MiB, down and up, with and against nginx; then a gigabyte each way through the gateway alone."""
        peers = [PEERS_BY_ID[PLAIN], self._gateway]
        with ExitStack() as on:
            down = [on.enter_context(self._stage.on(who)) for who in peers]
            up = [on.enter_context(self._stage.on(who, upstream=self._stage.sink)) for who in peers]
            self._rounds.warm([*down, *up], self._known)
            turns: list[Turn] = []
            for name in ("1", "64"):
                turns += [Turn(f"e-down-{name}", one, self._rounds.moving(one, "down", name)) for one in down]
                turns += [Turn(f"e-up-{name}", one, self._rounds.moving(one, "up", name)) for one in up]
            self._rounds.take(turns)
        for way, upstream in (("down", None), ("up", self._stage.sink)):
            with self._stage.on(self._gateway, upstream=upstream) as instance:
                self._rounds.warm([instance], self._known)
                pids = instance.pids()
                before = measure.memory_bytes(pids, "VmRSS")
                measure.forget_peak(pids)
                self._rounds.transfer(instance, way, "1024", 0)
                grown = measure.memory_bytes(pids, "VmHWM") - before
                self._run.results.numbers[f"growth-{way}"][GATEWAY].append(grown)

    def f(self) -> None:
        """WebSocket echo over 100 connections, small and large messages."""
        able = [who for who in self._peers(variants=False) if who.websocket]
        with ExitStack() as on:
            instances = [on.enter_context(self._stage.on(who, upstream=self._stage.sink)) for who in able]
            self._rounds.warm(instances, self._known)
            self._rounds.take(
                [Turn(f"f-{size}", one, self._rounds.talking(one, size)) for size in MESSAGES for one in instances]
            )

    def g(self) -> None:
        """Idle keep-alive connections: how much memory each takes."""
        count = self._run.options.idle
        for who in self._peers(variants=False):
            self._run.say(f"  {count} idle connections, {who.id}")
            with self._stage.on(who) as instance, naming(who):
                self._rounds.warm([instance], self._known)
                port, meter = instance.place.port, _resident(instance.pids())
                grown = uvloop.run(lie_idle(port, self._run.token, count, meter))
                self._run.results.numbers["idle"][who.id].append(grown / count)

    def j(self) -> None:
        """From starting the process to being ready, and what a ready gateway has in memory."""
        for _ in range(STARTS):
            for who in self._peers(variants=False):
                with self._stage.on(who) as instance:
                    self._run.results.numbers["start"][who.id].append(instance.ready_s - instance.started_s)
                    resident = measure.memory_bytes(instance.pids(), "VmRSS")
                    self._run.results.numbers["resident"][who.id].append(resident)

    def k(self) -> None:
        """Two workers against one: twice of everything on two cores, and on one core that is enough for one.

        And two gateways that know nothing of each other: what two cores cost without workers.
        """
        # A few per cent are at stake here: more rounds, and none of it shall hang on how one process happened to start.
        for _ in range(_STARTED_AGAIN):
            with ExitStack() as on:
                self._rounds.take([self._sharing(on, row) for row in _WORKERS])

    def _sharing(self, on: ExitStack, row: str) -> Turn:
        """The gateways of a row of (k), warmed up."""
        gateways, workers, cores = _WORKERS[row]
        instances = [on.enter_context(self._stage.on(self._gateway, workers=workers)) for _ in range(gateways)]
        turn = self._rounds.sharing(row, instances, self._known, self._stage.cores[:cores])
        with naming(self._gateway):
            turn.run(0)  # each worker has to meet every token twice
            turn.run(0)
        return turn

    # --- what they share ---

    def _again(self, workload: str, ours: Instance) -> list[Turn]:
        """The gateway's (a) within the rounds of another workload: what that one is compared with."""
        return [self._rounds.small(f"{workload}-as-a", ours, self._known)]

    def _peers(self, *, checking: bool = False, variants: bool = True) -> list[Peer]:
        """Who takes part. checking: those alone that look at tokens; variants: whether a program may appear twice."""
        alike = {"haproxy-bare", "envoy-cache"}
        chosen = [who for who in self._run.options.peers if variants or who.id not in alike]
        return [who for who in chosen if who.checks and not who.bearer_only] if checking else chosen

    def _bearers(self, name: str, tokens: Iterable[str], path: str = SMALL) -> Path:
        return self._file(name, (Asked(path, ("Authorization", f"Bearer {token}")) for token in tokens))

    def _file(self, name: str, requests: Iterable[Asked]) -> Path:
        return write_requests(self._stage.folder / f"{name}.requests", requests)


def _resident(pids: Sequence[int]) -> Callable[[], float]:
    return lambda: measure.memory_bytes(pids, "VmRSS")


def _of_route(number: int, item: int, token: str) -> Asked:
    host = f"h{number % 100}.example.com" if number % 2 else ""
    return Asked(f"/api/t{number % 7}/r{number}/i{item}/x", ("Authorization", f"Bearer {token}"), host)


def names() -> Iterator[str]:
    yield from "abcdefghijk"
