"""The audit stream: one JSON record for each refusal, sign-in, sign-out, renewal and exchange of an access key.

Off unless the route file says `audit`. Admitted requests cost nothing here. Records are gathered for a moment and
appended together. A file that was renamed or removed meanwhile is opened anew under its name, so that it can be rotated
by name as well as by copying. What cannot be written is counted, and told once until writing works again.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TextIO

from gateway.core.errors import ConfigError
from gateway.core.model import Identity, RefreshToken
from gateway.lines import write_lines
from gateway.telemetry import Record, log

STDOUT = "stdout"
EVENTS = {"refresh": "renewal", "exchange": "key_exchange", "sign_in": "sign_in", "sign_out": "sign_out"}
"""What `sessions` calls what happens, and what its records are called."""

Who = Identity | RefreshToken | None
_FLUSHED_AFTER_S = 0.05
_FORM = 0o640
_asking: ContextVar[Record | None] = ContextVar("asking", default=None)


def asking() -> Record | None:
    """The request on whose behalf this happens, where that is known."""
    return _asking.get()


def asked_by(record: Record | None) -> AbstractContextManager[None]:
    """What happens inside, in tasks that are started there too, is on behalf of this request; None changes nothing."""
    return contextlib.nullcontext() if record is None else _asked_by(record)


@contextmanager
def _asked_by(record: Record) -> Iterator[None]:
    before = _asking.set(record)
    try:
        yield
    finally:
        _asking.reset(before)


class _Sink(Protocol):
    def write(self, lines: Sequence[str]) -> None:
        """Append; raises OSError."""

    def close(self) -> None:
        """Nothing is written any more."""


class AuditFile:
    """A file that is only ever appended to. Raises ConfigError where it cannot be opened."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        try:
            self._open()
        except OSError as err:
            why = err.strerror or type(err).__name__
            raise ConfigError(
                (f"audit.file: {path} cannot be opened for appending ({why}); let this process write there",)
            ) from None

    def write(self, lines: Sequence[str]) -> None:
        if self._is_elsewhere():
            self.close()
            self._open()
        rest = memoryview(("\n".join(lines) + "\n").encode())
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _FORM)

    def _is_elsewhere(self) -> bool:
        """Whether the name leads to another file by now, or to none."""
        if self._descriptor < 0:
            return True
        try:
            named = Path(self._path).stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(named, os.fstat(self._descriptor))


class _Stream:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, lines: Sequence[str]) -> None:
        write_lines(self._stream, lines)

    def close(self) -> None:
        self._stream.flush()


class Audit:
    """Where records go. place: STDOUT or a file. on_lost(count): told of records that could not be written."""

    def __init__(self, place: str, stream: TextIO, now_s: Callable[[], float], on_lost: Callable[[int], None]) -> None:
        self._sink: _Sink = _Stream(stream) if place == STDOUT else AuditFile(place)
        self._place = place
        self._now_s = now_s
        self._on_lost = on_lost
        self._lines: list[str] = []
        self._is_failing = False

    def refused(self, record: Record) -> None:
        """A request was refused, or failed."""
        self._append(_line("refusal", record.outcome, record) | {"reason": record.reason, "status": record.status})

    def told(self, event: str, outcome: str, who: Who) -> None:
        """Something happened to somebody's session or key; `event` is one of EVENTS."""
        line = _line(EVENTS[event], outcome, _asking.get() or Record(""))
        # Whom the request was found to be of later on is not known yet, or somebody else.
        line["subject"] = who.subject if who is not None else ""
        line["tenant"] = (who.selected_tenant or "") if isinstance(who, Identity) else ""
        self._append(line)

    def _append(self, line: dict[str, object]) -> None:
        time = datetime.fromtimestamp(self._now_s(), UTC).isoformat(timespec="milliseconds")
        if not self._lines:
            asyncio.get_running_loop().call_later(_FLUSHED_AFTER_S, self.flush)
        self._lines.append(json.dumps({"time": time} | line))

    def flush(self) -> None:
        """Write what has gathered."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            self._sink.write(lines)
        except OSError as err:
            self._on_lost(len(lines))
            if not self._is_failing:
                log.error("audit records are lost", place=self._place, cause=err.strerror or type(err).__name__)
            self._is_failing = True
        else:
            if self._is_failing:
                log.info("audit records are written again", place=self._place)
            self._is_failing = False

    def close(self) -> None:
        """Write what is left, and nothing after it."""
        self.flush()
        self._sink.close()


def _line(event: str, outcome: str, record: Record) -> dict[str, object]:
    return {
        "event": event,
        "outcome": outcome,
        "reason": "",
        "status": 0,
        "request_id": record.request_id,
        "trace_id": record.trace_id,
        "route": record.route,
        "method": record.method,
        "host": record.host,
        "path": record.path,
        "client": record.client,
        "subject": record.subject,
        "tenant": "",
    }
