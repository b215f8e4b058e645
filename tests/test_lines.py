"""What several processes write to one stream: whole lines, whoever writes at the same moment."""

import asyncio
import fcntl
import json
import os
import random
import socket
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from io import StringIO
from itertools import pairwise
from select import PIPE_BUF

import pytest

from gateway.audit import STDOUT, Audit
from gateway.lines import write_lines
from gateway.telemetry import Record, RequestLog
from tests.conftest import ROOT

LINES = 1500


def writes_of(lines: list[str]) -> list[str]:
    """What reaches the system in each write, through a stream that is buffered as the standard output is."""
    # Of this kind of socket every read returns what one write wrote.
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far, os.fdopen(near.detach(), "w", encoding="utf-8") as stream:
        write_lines(stream, lines)
        stream.close()
        return [packet.decode() for packet in iter(lambda: far.recv(1 << 20), b"")]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([10], [11], id="one line"),
        pytest.param([400] * 10, [4010], id="a few lines go together"),
        pytest.param([400] * 25, [4010, 4010, 2005], id="as many as fit"),
        pytest.param([2047, 2047], [4096], id="exactly as much as stays in one piece"),
        pytest.param([2047, 2048], [2048, 2049], id="a byte more"),
        pytest.param([4095, 10], [4096, 11], id="the longest line that stays in one piece"),
        pytest.param([10, 4096, 10], [11, 4097, 11], id="a longer line alone"),
        pytest.param([9000, 9000, 20_000], [9001, 9001, 20_001], id="longer lines than any buffer, each alone"),
    ],
)
@pytest.mark.skipif(PIPE_BUF != 4096, reason="the sizes are those of Linux")
def test_lines_are_written_together_as_far_as_a_pipe_keeps_them_together(sizes: list[int], expected: list[int]) -> None:
    lines = ["x" * size for size in sizes]

    writes = writes_of(lines)

    assert [len(write) for write in writes] == expected
    assert "".join(writes) == "".join(f"{line}\n" for line in lines)


def test_a_request_log_and_an_audit_write_what_they_wrote_before() -> None:
    stream = StringIO()

    async def write() -> None:
        log, audit = RequestLog("json", stream, lambda: 0.0), Audit(STDOUT, stream, lambda: 0.0, lambda _: None)
        for number in range(40):
            record = Record(f"{number}")
            log.write(record)
            audit.refused(record)
        log.flush()
        audit.flush()

    asyncio.run(write())
    told = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert stream.getvalue().endswith("}\n")
    assert [(one["event"], one["request_id"]) for one in told] == [
        *(("request", f"{number}") for number in range(40)),
        *(("refusal", f"{number}") for number in range(40)),
    ]


def child(work: Callable[[], None]) -> int:
    """Start a process that works; its id."""
    with warnings.catch_warnings():
        # Later versions of Python warn of any fork beside a thread; the one that watches the time does no harm.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:  # never back into the tests of the process that forked
            os._exit(1)
    return pid


def telling(descriptor: int, name: str, begun: int) -> Callable[[], None]:
    """Work: a process that serves, logs and audits to one stream, in lines of 300 to 3,000 characters.

    begun: where it says that it is about to.
    """

    async def serve() -> None:
        stream = os.fdopen(descriptor, "w", encoding="utf-8")
        log, audit = RequestLog("json", stream, lambda: 0.0), Audit(STDOUT, stream, lambda: 0.0, lambda _: None)
        sizes = random.Random(name)
        os.write(begun, b".")
        for number in range(LINES // 2):
            record = Record(f"{name} {number}")
            record.path = "/" + name * sizes.randint(1, 2600)
            log.write(record)
            audit.refused(record)
            if number % 50 == 0:
                log.flush()
                audit.flush()
        log.flush()
        audit.close()

    return lambda: asyncio.run(serve())


def test_no_line_of_two_processes_that_write_to_one_pipe_is_torn() -> None:
    reads, writes = os.pipe()
    told_begun, begun = os.pipe()
    # So small that both have to wait for room again and again.
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4 * PIPE_BUF)
    started = [child(telling(writes, name, begun)) for name in ("a", "b")]
    os.close(writes)
    os.close(begun)
    for _ in started:
        assert os.read(told_begun, 1)
    os.close(told_begun)
    with os.fdopen(reads, "rb") as pipe:
        lines = pipe.read().decode().splitlines()
    ended = [os.waitpid(pid, 0)[1] for pid in started]

    assert ended == [0, 0]
    told = [json.loads(line) for line in lines]
    assert Counter(one["request_id"][0] for one in told) == {"a": LINES, "b": LINES}
    assert all(set(one["path"]) == {"/", one["request_id"][0]} for one in told)
    assert max(map(len, lines)) > 2800
    assert min(map(len, lines)) < 400
    # Both were at it at the same time, or nothing was put to the test.
    changes = sum(one["request_id"][0] != other["request_id"][0] for one, other in pairwise(told))
    assert changes > 10


TOLD = """
from gateway.telemetry import log, set_up_logging
set_up_logging({form!r})
log.info("short")
log.warning("long", cause="x" * 2000)
log.warning("longer", cause="x" * 20000)
try:
    raise ValueError("a fault")
except ValueError:
    log.error("failed", exc_info=True)
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_each_line_of_the_log_is_one_write(form: str) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far:
        with near:
            subprocess.run([sys.executable, "-c", TOLD.format(form=form)], stderr=near.fileno(), check=True, cwd=ROOT)
        writes = [packet.decode() for packet in iter(lambda: far.recv(1 << 20), b"")]

    assert [next(word for word in ("short", "longer", "long", "failed") if word in write) for write in writes] == [
        "short",
        "long",
        "longer",
        "failed",
    ]
    assert all(write.endswith("\n") for write in writes)
    assert form == "text" or [write.count("\n") for write in writes] == [1, 1, 1, 1]
