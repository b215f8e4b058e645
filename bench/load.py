"""The load of small requests: wrk, with every request made before the clock starts."""

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.peer import LOOPBACK
from bench.setup import PEERS

CONNECTIONS = 32
_PATIENCE_S = 30
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0, "h": 3_600_000.0}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the load. header: its only variable one; ("", "") for none. host: "" for the address itself."""

    path: str
    header: tuple[str, str] = ("", "")
    host: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What wrk said. not_2xx: replies of status 400 and more; errors: connections that broke or timed out."""

    requests: int
    rate: float
    p50_ms: float
    p99_ms: float
    not_2xx: int
    errors: int


def write_requests(file: Path, requests: Iterable[Asked]) -> Path:
    """The file that load.lua reads: path, host, header and value between tabs, a request a line."""
    lines = ("\t".join((asked.path, asked.host, *asked.header)) + "\n" for asked in requests)
    file.write_text("".join(lines), "ascii")
    return file


def run_wrk(
    wrk: str,
    port: int,
    requests: Path,
    seconds: int,
    *,
    most: int = 0,
    threads: int = 1,
    connections: int = CONNECTIONS,
) -> Outcome:
    """The requests of a file in turn.

    most: how many one thread alone sends at most; 0 for no end but time's. connections: of all threads together.
    """
    number = (f"-t{threads}", f"-c{connections}")
    argv = [wrk, *number, f"-d{seconds}s", "--latency", "--timeout", "10s"]
    script = ["-s", str(PEERS / "load.lua"), f"http://{LOOPBACK}:{port}/", "--", str(requests), str(most)]
    try:
        done = subprocess.run(
            [*argv, *script],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + _PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"wrk did not end within {seconds + _PATIENCE_S} s") from None
    if done.returncode:
        raise BenchError(f"wrk failed: {(done.stdout + done.stderr)[-500:]}")
    return parse_wrk(done.stdout)


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """What several loads did at the same time; of their latencies the worst."""
    return Outcome(
        requests=sum(one.requests for one in outcomes),
        rate=sum(one.rate for one in outcomes),
        p50_ms=max(one.p50_ms for one in outcomes),
        p99_ms=max(one.p99_ms for one in outcomes),
        not_2xx=sum(one.not_2xx for one in outcomes),
        errors=sum(one.errors for one in outcomes),
    )


def parse_wrk(text: str) -> Outcome:
    """Raises BenchError for anything that is no report of wrk."""
    try:
        return Outcome(
            requests=int(_found(r"(\d+) requests in", text)),
            rate=float(_found(r"Requests/sec:\s+([\d.]+)", text)),
            p50_ms=_milliseconds(_found(r"\n\s+50%\s+(\S+)", text)),
            p99_ms=_milliseconds(_found(r"\n\s+99%\s+(\S+)", text)),
            not_2xx=int(_found(r"Non-2xx or 3xx responses: (\d+)", text, "0")),
            errors=sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text))),
        )
    except ValueError as err:
        raise BenchError(f"wrk's report cannot be read ({err}):\n{text[-500:]}") from None


def _found(pattern: str, text: str, default: str = "") -> str:
    match = re.search(pattern, text)
    return match[1] if match else default


def _milliseconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m|h)", text)
    if match is None:
        raise ValueError(f"{text!r} is no time")
    return float(match[1]) * _UNITS_MS[match[2]]
