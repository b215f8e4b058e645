"""What the emulator was asked, and the faults it was told to show. No credential enters here."""

import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator

from gateway.emulator.settings import Strict

REMEMBERED_REQUESTS = 1000
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})


class Operation(StrEnum):
    """What a request was for; the names that faults and counts go by."""

    KEYS = "keys"
    SIGNUP = "signup"
    SIGNIN = "signin"
    PASSWORD_REPLACE = "password_replace"  # noqa: S105 - a name, no password
    PASSWORD_UPDATE = "password_update"  # noqa: S105 - a name, no password
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a name, no password
    PASSWORD_POLICY = "password_policy"  # noqa: S105 - a name, no password
    OTP_SEND = "otp_send"
    OTP_VERIFY = "otp_verify"
    OTP_UPDATE = "otp_update"
    MAGIC_LINK_SEND = "magic_link_send"
    MAGIC_LINK_VERIFY = "magic_link_verify"
    MAGIC_LINK_UPDATE = "magic_link_update"
    ENCHANTED_LINK_SEND = "enchanted_link_send"
    ENCHANTED_LINK_VERIFY = "enchanted_link_verify"
    ENCHANTED_LINK_POLL = "enchanted_link_poll"
    ENCHANTED_LINK_UPDATE = "enchanted_link_update"
    OAUTH_START = "oauth_start"
    OAUTH_EXCHANGE = "oauth_exchange"
    SSO_START = "sso_start"
    SSO_EXCHANGE = "sso_exchange"
    TOTP_SIGNUP = "totp_signup"
    TOTP_VERIFY = "totp_verify"
    TOTP_UPDATE = "totp_update"
    FLOW_START = "flow_start"
    FLOW_NEXT = "flow_next"
    FLOW_CONTENT = "flow_content"
    REFRESH = "refresh"
    TRY_REFRESH = "try_refresh"
    LOGOUT = "logout"
    LOGOUTALL = "logoutall"
    ME = "me"
    ME_TENANTS = "me_tenants"
    HISTORY = "history"
    TENANT_SELECT = "tenant_select"
    EXCHANGE = "exchange"
    LICENSE = "license"
    MANAGEMENT_SIGNIN = "management_signin"
    MANAGEMENT = "management"
    UNKNOWN = "unknown"


class Incident(StrEnum):
    """What must not happen and is counted when it does."""

    REUSE_DETECTED = "reuse_detected"
    COOKIE_BEARER_MISMATCH = "cookie_bearer_mismatch"


FAULTY_OPERATIONS = (*(one.value for one in Operation), "any")


class Fault(Strict):
    """An answer to give instead of the right one, or a wait before it.

    Without a status the operation waits `delay_s` and then answers as ever. `times` None means until cleared. A header
    with a list is sent once for each. A text as `body` is sent as it is, anything else as JSON; without one the body is
    Descope's error shape.
    """

    operation: str
    status: int | None = Field(default=None, ge=200, le=599)
    headers: dict[str, str | list[str]] = Field(default_factory=dict)
    body: Any = None
    delay_s: float = Field(default=0.0, ge=0, le=3600)
    times: int | None = Field(default=None, ge=1)

    @field_validator("operation")
    @classmethod
    def _is_known(cls, operation: str) -> str:
        if operation not in FAULTY_OPERATIONS:
            raise ValueError("must be one of " + ", ".join(FAULTY_OPERATIONS))
        return operation

    @field_validator("headers")
    @classmethod
    def _can_be_written(cls, headers: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        for name, given in headers.items():
            value = given if isinstance(given, str) else "".join(given)
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or name.lower() in _FRAMING:
                raise ValueError(f"{name!r} is not a header that can be set here")
            if not re.fullmatch(r"[\t\x20-\x7e\x80-\U0010ffff]*", value):
                raise ValueError(f"the value of {name} has control characters")
        return headers


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One answered request; the query is left out, because it names people."""

    at_s: float
    operation: str
    method: str
    path: str
    status: int

    def as_json(self) -> dict[str, Any]:
        """As the control surface shows it."""
        return {
            "time": self.at_s,
            "operation": self.operation,
            "method": self.method,
            "path": self.path,
            "status": self.status,
        }


class Traffic:
    """The last requests, the counts since the last reset, and the faults still to be shown."""

    def __init__(self) -> None:
        self._faults: list[tuple[Fault, int | None]] = []
        self._records: deque[RequestRecord] = deque(maxlen=REMEMBERED_REQUESTS)
        self._counts: Counter[str] = Counter()

    @property
    def records(self) -> tuple[RequestRecord, ...]:
        """The last requests, oldest first."""
        return tuple(self._records)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults still to be shown, each with how often."""
        return tuple(fault.model_copy(update={"times": left}) for fault, left in self._faults)

    def counts(self) -> Mapping[str, int]:
        """How often each operation was asked for."""
        return {one.value: self._counts[one] for one in Operation if self._counts[one]}

    def count(self, name: str) -> int:
        """How often this operation was asked for, or this incident happened."""
        if name not in {*Operation, *Incident}:
            raise ValueError(f"{name!r} is counted by no one; there are {', '.join([*Operation, *Incident])}")
        return self._counts[name]

    def arrive(self, operation: Operation) -> Fault | None:
        """Count a request as it comes in; the fault to show it, if any."""
        self._counts[operation] += 1
        for index, (fault, left) in enumerate(self._faults):
            if fault.operation in {operation.value, "any"}:
                if left is not None and left <= 1:
                    del self._faults[index]
                else:
                    self._faults[index] = (fault, left and left - 1)
                return fault
        return None

    def note(self, incident: Incident) -> None:
        """Count what must not happen."""
        self._counts[incident] += 1

    def record(self, record: RequestRecord) -> None:
        """Remember an answered request."""
        self._records.append(record)

    def show(self, fault: Fault) -> None:
        """Show this fault after those of the same operation that were told before."""
        self._faults.append((fault, fault.times))

    def clear_faults(self) -> None:
        """Show no more faults."""
        self._faults.clear()

    def forget(self) -> None:
        """Start counting anew."""
        self._records.clear()
        self._counts.clear()
