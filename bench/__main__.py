"""The command line: `python -m bench`, which `make bench` runs."""

import argparse
import datetime as dt
import os
import platform
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench.errors import BenchError
from bench.peer import GATEWAY, PEERS_BY_ID, PLAIN, Peer
from bench.report import Circumstances, document, tables
from bench.results import Results
from bench.rounds import Options, Run
from bench.setup import STATE, set_up, versions
from bench.stage import Stage, raise_open_files, two_cores
from bench.tokens import make_tokens
from bench.workloads import Workloads, names

_RESULTS = Path(__file__).parent / "RESULTS.md"
_FRESH, _FRESH_QUICK = 3_000, 1_000
_IDLE, _IDLE_QUICK = 10_000, 1_000


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)
    given = _arguments(sys.argv[1:])
    try:
        _run(given)
    except BenchError as err:
        print(f"\nThe run has failed. {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


def _run(given: argparse.Namespace) -> None:
    began_s = time.monotonic()
    cores = two_cores()
    options, workloads = _options(given), _chosen("--only", given.only, tuple(names()))
    raise_open_files(options.idle if "g" in workloads else 1_000)
    tools = set_up()
    _say("==> tokens")
    tokens = make_tokens(STATE / "tokens", options.all_fresh)
    around = Circumstances(
        date=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=_machine(cores),
        versions=versions(tools),
        options=f"{options.rounds} rounds of {options.seconds} s, {options.fresh} new tokens a round, "
        f"{options.idle} idle connections; workloads {' '.join(workloads)}; "
        f"peers {' '.join(who.id for who in options.peers)}",
    )
    # The load runs in this process and in what it starts; the candidates are put on their own core one by one.
    os.sched_setaffinity(0, {cores[1]})
    results = Results()
    with Stage(tools, tokens, cores) as stage:
        measuring = Workloads(Run(stage, options, results, _say))
        for name in workloads:
            measure = getattr(measuring, name)
            _say(f"==> ({name}) {measure.__doc__.splitlines()[0]}")
            measure()
    print("\n" + "\n\n".join(tables(results)))
    output = _output(given, options, workloads)
    if output is not None:
        output.write_text(document(results, around), "utf-8")
        print(f"\nWritten to {output}.")
    print(f"\nIt took {(time.monotonic() - began_s) / 60:.0f} minutes.")


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench BENCH=...", description="Compares the gateway with others.")
    parser.add_argument("--rounds", type=_positive, default=9, help="interleaved rounds for each figure [9]")
    parser.add_argument("--seconds", type=_positive, default=1, help="of each round [1]")
    parser.add_argument("--only", default="", metavar="a,b", help="these workloads alone")
    parser.add_argument("--peers", default="", metavar="ID,ID", help=f"these alone: {', '.join(PEERS_BY_ID)}")
    parser.add_argument("--idle", type=_positive, default=None, help=f"idle connections in (g) [{_IDLE}]")
    parser.add_argument("--quick", action="store_true", help="one round of one second: does all of it work?")
    parser.add_argument("--output", type=Path, help="where results go; by default, of whole runs, bench/RESULTS.md")
    return parser.parse_args(argv)


def _options(given: argparse.Namespace) -> Options:
    quick: bool = given.quick
    ids = _chosen("--peers", given.peers, tuple(PEERS_BY_ID))
    # Without these two there is nothing to compare with.
    peers: tuple[Peer, ...] = tuple(who for who in PEERS_BY_ID.values() if who.id in {*ids, PLAIN, GATEWAY})
    return Options(
        rounds=1 if quick else given.rounds,
        seconds=1 if quick else given.seconds,
        fresh=_FRESH_QUICK if quick else _FRESH,
        idle=given.idle or (_IDLE_QUICK if quick else _IDLE),
        peers=peers,
    )


def _chosen(option: str, text: str, there_are: tuple[str, ...]) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    for word in words:
        if word not in there_are:
            raise BenchError(f"{option}: {word!r} is none of {', '.join(there_are)}")
    return tuple(word for word in there_are if word in words) if words else there_are


def _output(given: argparse.Namespace, options: Options, workloads: tuple[str, ...]) -> Path | None:
    """RESULTS.md keeps whole runs alone."""
    if given.output is not None:
        return Path(given.output)
    is_whole = not given.quick and len(options.peers) == len(PEERS_BY_ID) and workloads == tuple(names())
    return _RESULTS if is_whole else None


def _machine(cores: tuple[int, int]) -> Mapping[str, str]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": f"{os.cpu_count()}; candidate on {cores[0]}, load and upstream on {cores[1]}",
        "kernel": f"{platform.system()} {platform.release()}",
    }


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a number of at least 1")
    return number


def _say(text: str) -> None:
    print(text, flush=True)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
