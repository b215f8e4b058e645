"""What broke, in the words of an answer and of a log line."""

import traceback
from pathlib import Path

from gateway.clientside import BodyBroken, BodyTooLarge, BrokenOff
from gateway.core.errors import UpstreamBusy, UpstreamTimeout, UpstreamUnreachable
from gateway.core.model import Reason


def reason_of(fault: Exception) -> Reason:
    """The reason to give for an exchange that failed."""
    match fault:
        case BodyTooLarge():
            return Reason.BODY_TOO_LARGE
        case BodyBroken():
            return Reason.BAD_REQUEST
        case UpstreamBusy():
            return Reason.UPSTREAM_BUSY
        case UpstreamUnreachable():
            return Reason.UPSTREAM_UNREACHABLE
        case UpstreamTimeout():
            return Reason.UPSTREAM_TIMEOUT
        case BrokenOff() if isinstance(fault.__cause__, UpstreamTimeout):
            return Reason.UPSTREAM_TIMEOUT
        case BrokenOff() if fault.__cause__ is not None and isinstance(fault.__cause__.__cause__, BodyTooLarge):
            return Reason.BODY_TOO_LARGE
        case BrokenOff() if fault.__cause__ is not None and isinstance(fault.__cause__.__cause__, BodyBroken):
            return Reason.BAD_REQUEST
        case _:
            return Reason.UPSTREAM_BAD_REPLY


def traced(err: BaseException) -> str:
    """Where a bug struck, without the values that may stand in its message."""
    frames = traceback.extract_tb(err.__traceback__)
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames[-4:]))
    return f"{type(err).__name__} at {where}"
