"""What a route file says once it is compiled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.forwarded import ForwardAuth
from gateway.core.model import (
    AccessKeyRules,
    AssertionRules,
    Limit,
    Reason,
    RefreshRules,
    ServerRules,
    ShutdownRules,
    TokenRules,
    Upstream,
)
from gateway.core.routes import RouteTable
from gateway.core.signin import DESCOPE_STATIC_URL, LoginRules


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line of `tests`. Parsed only; nothing here runs it.

    request: as written. target: path and query. host: "" where none is said. as_: None for anonymous, else what
    `core.imagined.imagined` takes. status: 200 for admitted. reason: None where the status alone is expected.
    line: "file:line:column".
    """

    request: str
    method: str
    target: str
    host: str
    as_: Mapping[str, Any] | None
    status: int
    reason: Reason | None
    line: str


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a route file says. warnings: sentences that begin with "file:line:column: ".

    static_url: where the screens of flows lie, without trailing slash. version: twelve hexadecimal digits of the text's
    SHA-256, by which one file is told from another. audit: where to write its records: "stdout", an absolute path, ""
    for nowhere.
    """

    tokens: TokenRules
    base_url: str
    server: ServerRules
    login: LoginRules
    refresh: RefreshRules
    access_keys: AccessKeyRules
    assertion: AssertionRules
    shutdown: ShutdownRules
    table: RouteTable
    upstreams: tuple[Upstream, ...]
    limits: tuple[Limit, ...]
    expectations: tuple[Expectation, ...] = ()
    warnings: tuple[str, ...] = ()
    static_url: str = DESCOPE_STATIC_URL
    forward_auth: ForwardAuth | None = None
    version: str = ""
    audit: str = ""
