"""Lines for a stream that several processes write to, such as a standard output that is a pipe."""

from collections.abc import Sequence
from select import PIPE_BUF
from typing import TextIO


def write_lines(stream: TextIO, lines: Sequence[str]) -> None:
    """Write ASCII lines without an end, so that what other processes write comes between lines and never into one.

    Only what goes to a pipe in one write of at most PIPE_BUF bytes stays in one piece (POSIX, `write`): as many whole
    lines as fit go together, and a longer one alone. stream: nothing written before waits in its buffer.
    """
    first, size_bytes = 0, 0
    for number, line in enumerate(lines):
        size_bytes += len(line) + 1
        if size_bytes > PIPE_BUF and number > first:
            _write(stream, lines[first:number])
            first, size_bytes = number, len(line) + 1
    if first < len(lines):
        _write(stream, lines[first:])


def _write(stream: TextIO, lines: Sequence[str]) -> None:
    stream.write("\n".join(lines) + "\n")
    # At once: what the next piece is joined with is no longer one piece.
    stream.flush()
