"""The nouns that the rest of the gateway speaks in. Values only; where only one module may make them, that is said.

Long, for a reader looks for a noun in one place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Protocol, Self, TypeVar, dataclass_transform

Network = IPv4Network | IPv6Network
_Noun = TypeVar("_Noun")


@dataclass_transform(frozen_default=True, eq_default=True)
def noun(cls: type[_Noun]) -> type[_Noun]:
    """A value of which every request makes one: frozen for the type checker alone.

    Checked at run time too, the values of one request cost as much as its route and its decision together.
    """
    return dataclass(slots=True)(cls)


class Reason(StrEnum):
    """Why a request was refused: one word for the answer, the log and the metrics, each with its one status."""

    status: int

    def __new__(cls, word: str, status: int) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.status = status
        return member

    NO_CREDENTIALS = ("no_credentials", 401)
    TOKEN_MALFORMED = ("token_malformed", 401)
    TOKEN_UNKNOWN_KEY = ("token_unknown_key", 401)
    TOKEN_BAD_SIGNATURE = ("token_bad_signature", 401)
    TOKEN_EXPIRED = ("token_expired", 401)
    TOKEN_NOT_YET_VALID = ("token_not_yet_valid", 401)
    TOKEN_WRONG_ISSUER = ("token_wrong_issuer", 401)
    TOKEN_WRONG_AUDIENCE = ("token_wrong_audience", 401)
    TOKEN_WRONG_KIND = ("token_wrong_kind", 401)
    SESSION_REVOKED = ("session_revoked", 401)
    REFRESH_REFUSED = ("refresh_refused", 401)
    ACCESS_KEY_REFUSED = ("access_key_refused", 401)
    AMBIGUOUS_CREDENTIALS = ("ambiguous_credentials", 400)
    BAD_TARGET = ("bad_target", 400)
    BAD_REQUEST = ("bad_request", 400)
    LOGIN_STATE_INVALID = ("login_state_invalid", 400)
    SESSION_NOT_KEPT = ("session_not_kept", 400)
    SIGN_IN_REFUSED = ("sign_in_refused", 401)
    ROLE_MISSING = ("role_missing", 403)
    PERMISSION_MISSING = ("permission_missing", 403)
    TENANT_MISMATCH = ("tenant_mismatch", 403)
    CLAIM_MISMATCH = ("claim_mismatch", 403)
    KEY_NOT_ALLOWED = ("key_not_allowed", 403)
    CLIENT_NOT_ALLOWED = ("client_not_allowed", 403)
    WRONG_CREDENTIAL_KIND = ("wrong_credential_kind", 403)
    CROSS_SITE = ("cross_site", 403)
    NO_ROUTE = ("no_route", 404)
    NOT_FOUND = ("not_found", 404)
    METHOD_NOT_ALLOWED = ("method_not_allowed", 405)
    BODY_TOO_LARGE = ("body_too_large", 413)
    HEADERS_TOO_LARGE = ("headers_too_large", 431)
    RATE_LIMITED = ("rate_limited", 429)
    IDENTITY_PROVIDER_BUSY = ("identity_provider_busy", 503)
    IDENTITY_PROVIDER_UNAVAILABLE = ("identity_provider_unavailable", 503)
    UPSTREAM_BUSY = ("upstream_busy", 503)
    STOPPING = ("stopping", 503)
    UPSTREAM_UNREACHABLE = ("upstream_unreachable", 502)
    UPSTREAM_BAD_REPLY = ("upstream_bad_reply", 502)
    UPSTREAM_TIMEOUT = ("upstream_timeout", 504)
    INTERNAL_ERROR = ("internal_error", 500)


class Kind(StrEnum):
    """What a caller proved itself with."""

    SESSION = "session"
    ACCESS_KEY = "access_key"


class Auth(StrEnum):
    """What a route asks for. A route that says nothing asks for a session."""

    takes_keys: bool
    takes_sessions: bool

    def __new__(cls, word: str) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        # Plain attributes, for every request asks.
        member.takes_keys = word in ("access_key", "any")
        member.takes_sessions = word not in ("access_key", "public")
        return member

    PUBLIC = "public"
    OPTIONAL = "optional"
    SESSION = "session"
    ACCESS_KEY = "access_key"
    ANY = "any"


# --- requests -------------------------------------------------------------------------------------------------------


@noun
class Target:
    """One request target in its only spelling. Made by `target.canonical` alone.

    path: what is matched, decided on and sent: percent-encoded, unreserved characters plain, escapes in capitals.
    segments: the same path split at its slashes and decoded; a trailing slash leaves a last empty segment.
    query: the raw query without its question mark; None where there was none, "" for a bare question mark.
    """

    path: str
    segments: tuple[str, ...]
    query: str | None = None

    @property
    def text(self) -> str:
        return self.path if self.query is None else f"{self.path}?{self.query}"


# Header lines as they came: (lower-cased name, name, value), all bytes, in order.
HeaderLine = tuple[bytes, bytes, bytes]


class Kept:
    """What follows from a request's headers alone, kept for the next request with the very same headers.

    Filled by those who work it out (`credentials.find`, `headers.RequestWriter`), each under keys of its own.
    outline: what follows from these headers whatever their bearer token is; bearer: that token. None and "" where
    nothing is known of such headers.
    """

    __slots__ = ("bearer", "found", "heads", "outline")

    def __init__(self, outline: "Kept | None" = None, bearer: str = "") -> None:
        self.outline = outline
        self.bearer = bearer
        self.found: tuple[Auth, CookieRules, Credentials | Reason] | None = None
        self.heads: dict[object, tuple[Any, ...]] = {}


@noun
class RequestFacts:
    """Everything about a request that a decision may look at. Made by a door, through `facts.gather`.

    authority: the Host header as sent; host: its name in lower case, no port, no trailing dot ("" for HTTP/1.0
    without one).
    peer: the address that opened the connection; client: the one believed to have sent the request (from a trusted
    proxy's X-Forwarded-For, else the peer). scheme: "http" or "https", as the client sees us.
    named: header values by lower-cased name, in order of arrival.
    """

    method: str
    target: Target
    authority: str
    host: str
    scheme: str
    peer: str
    client: str
    headers: tuple[HeaderLine, ...]
    named: Mapping[bytes, tuple[bytes, ...]]
    http10: bool = False
    kept: Kept = field(default_factory=Kept, repr=False, compare=False)

    def one(self, name: bytes) -> bytes | None:
        """The first value of header `name` (lower case), None where it is absent."""
        values = self.named.get(name)
        return values[0] if values else None

    @property
    def is_upgrade(self) -> bool:
        return (
            not self.http10
            and b"upgrade" in self.named
            and any(
                part.strip().lower() == b"upgrade"
                for line in self.named.get(b"connection", ())
                for part in line.split(b",")
            )
        )


# --- callers --------------------------------------------------------------------------------------------------------


@noun
class Grants:
    """Roles and permissions held in one place (the project, or one tenant), in the token's order."""

    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()


@noun
class Identity:
    """A verified session token: genuine, ours, a session; its currency is asked with the clock. Made by `tokens` alone.

    tenants: None where the token has no `tenants` claim, which is not the same as none listed.
    claims: the root claims, for conditions and templates; never `nsec`. digest: SHA-256 of its signed part.
    """

    kind: Kind
    subject: str
    issued_at_s: int
    not_before_s: int
    expires_at_s: int
    project: Grants
    tenants: Mapping[str, Grants] | None
    selected_tenant: str | None
    claims: Mapping[str, Any]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of a caller beside the token: from the sign-in or renewal answer, or one question to Descope."""

    email: str = ""
    name: str = ""


NOBODY = Person()


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A verified refresh token: genuine and ours; whether it is current is asked with the clock. Made by `tokens`."""

    subject: str
    issued_at_s: int
    not_before_s: int
    expires_at_s: int
    digest: bytes


@noun
class Credentials:
    """What a request brought to prove itself, unverified. Made by `credentials.find`.

    bearer: a JWT sent as bearer. sessions, refreshes: every copy of the cookies, split ones joined. access_keys: opaque
    secrets, different ones only; found only on routes that take keys. digest: SHA-256 of the one session token, b""
    where there is none or are several.
    """

    bearer: str | None = field(default=None, repr=False)
    sessions: tuple[str, ...] = field(default=(), repr=False)
    refreshes: tuple[str, ...] = field(default=(), repr=False)
    access_keys: tuple[str, ...] = field(default=(), repr=False)
    digest: bytes = field(default=b"", repr=False, compare=False)


# --- routes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """`any` of these and `all` of those; an empty half asks for nothing."""

    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RolesHeld:
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class PermissionsHeld:
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class ClaimHeld:
    """Root claim `name` is, or is a list with, one of `any` and each of `all`; values compare with their type."""

    name: str
    any: tuple[str | int | bool, ...] = ()
    all: tuple[str | int | bool, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientWithin:
    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class KeyIdIn:
    ids: frozenset[str]


# Closed on purpose: `policy` names every member, and the type checker notices a missing one.
Condition = RolesHeld | PermissionsHeld | ClaimHeld | ClientWithin | KeyIdIn


@dataclass(frozen=True, slots=True)
class PathCapture:
    name: str


@dataclass(frozen=True, slots=True)
class HostLabel:
    index: int


@dataclass(frozen=True, slots=True)
class ConstantTenant:
    value: str


@dataclass(frozen=True, slots=True)
class SelectedTenant:
    """The token's own `dct`."""


TenantSource = PathCapture | HostLabel | ConstantTenant | SelectedTenant


class Per(StrEnum):
    """Whose allowance a limit counts."""

    CLIENT = "client"
    SUBJECT = "subject"
    ACCESS_KEY = "access_key"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Rate:
    """One request every `every_ns` nanoseconds, `burst` of them at once after a rest."""

    every_ns: int
    burst: int


@dataclass(frozen=True, slots=True)
class Limit:
    name: str
    rate: Rate
    per: Per


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. connect: to the upstream; response: until its head; idle: between two pieces of a body."""

    connect_s: float = 2.0
    response_s: float = 30.0
    idle_s: float = 60.0


@dataclass(frozen=True, slots=True)
class StreamRules:
    """How long a WebSocket or an event stream lives, in seconds.

    after_expiry: past the end of its session's newest token; revalidate: between two judgements; max_age: in any case.
    """

    after_expiry_s: float = 600.0
    revalidate_s: float = 30.0
    max_age_s: float = 28_800.0


class ForwardToken(StrEnum):
    """Whether the verified session token travels on, and how."""

    NO = "false"
    BEARER = "bearer"
    COOKIE = "cookie"


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """One address at which a service answers: a socket_path (unix), or address and port."""

    address: str = ""
    port: int = 0
    socket_path: str = ""

    @property
    def name(self) -> str:
        """What logs and metrics call it."""
        if self.socket_path:
            return f"unix:{self.socket_path}"
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """How many connections there may be to one target, idle ones included, and who waits for one, and how long.

    keep_alive_s: how long an idle one is kept; 0 for one request on each.
    """

    most: int = 1024
    queue: int = 1024
    wait_s: float = 2.0
    keep_alive_s: float = 15.0


@dataclass(frozen=True, slots=True)
class HealthRules:
    """How a target is asked whether it is well. lowest, highest: the statuses that say so."""

    path: str
    interval_s: float = 10.0
    timeout_s: float = 2.0
    healthy_after: int = 2
    unhealthy_after: int = 3
    lowest: int = 200
    highest: int = 299


@dataclass(frozen=True, slots=True)
class EjectRules:
    """When a target that fails requests goes out. after: failures in a row, 0 for never; for_s: the first time."""

    after: int = 5
    for_s: float = 10.0


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How many requests may be repeated in any ten seconds: a share of all, or `floor` where that is more."""

    share: float = 0.2
    floor: int = 10


@dataclass(frozen=True, slots=True)
class TlsRules:
    """How https is spoken to an upstream. Paths of files; "" where nothing is said.

    ca: who may have signed, instead of the system's certificates. server_name: asked for and verified, instead of the
    target's own address. cert, key: ours; the key may stand in the file of the certificate.
    """

    ca: str = ""
    server_name: str = ""
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class IdentityHeaders:
    """Under which headers an upstream is told about a caller.

    names: nouns of `about.told_of` and headers. reserved: header names, in lower case and folded, that no client may
    say on its way to this upstream, beside those that it may say to none.
    """

    names: tuple[tuple[str, str], ...] = (
        ("subject", "X-Auth-Subject"),
        ("email", "X-Auth-Email"),
        ("name", "X-Auth-Name"),
        ("roles", "X-Auth-Roles"),
        ("permissions", "X-Auth-Permissions"),
        ("tenant", "X-Auth-Tenant"),
        ("method", "X-Auth-Method"),
        ("key_id", "X-Auth-Key-Id"),
    )
    reserved: frozenset[bytes] = frozenset()


X_AUTH = IdentityHeaders()


@dataclass(frozen=True, slots=True)
class Upstream:
    """The service behind, as the route file names it.

    Either socket_path (unix) or address and port. authority: what `host: upstream` sends as Host. base_path: a path
    that stands before every forwarded path, without trailing slash. others: further targets of the same service.
    assertion: the audience of the signed assertions that it gets, "" for none.
    """

    name: str
    authority: str
    address: str = ""
    port: int = 0
    socket_path: str = ""
    tls: bool = False
    base_path: str = ""
    keep_host: bool = True
    hold_on_retry_after: bool = False
    forward_token: ForwardToken = ForwardToken.NO
    profile: bool = False
    others: tuple[ServiceTarget, ...] = ()
    connections: ConnectionRules = ConnectionRules()
    health: HealthRules | None = None
    eject: EjectRules = EjectRules()
    retry: RetryRules = RetryRules()
    tls_rules: TlsRules = TlsRules()
    identity_headers: IdentityHeaders = X_AUTH
    assertion: str = ""

    @property
    def targets(self) -> tuple[ServiceTarget, ...]:
        """Every address of the service, as the route file orders them."""
        return (ServiceTarget(self.address, self.port, self.socket_path), *self.others)


@dataclass(frozen=True, slots=True)
class Cors:
    """Which other origins may read a route's replies. origins: exact, in lower case, or ("*",)."""

    origins: tuple[str, ...]
    methods: tuple[str, ...] = ("GET", "HEAD", "POST")
    headers: tuple[str, ...] = ()
    credentials: bool = False
    max_age_s: int = 600


@dataclass(frozen=True, slots=True)
class Template:
    """A header value with holes: literal text and names in turn, beginning and ending with text.

    Names: identity.subject, identity.email, identity.name, identity.tenant, identity.method, identity.key_id,
    identity.roles, identity.permissions, identity.claims.NAME, path.NAME, request.id, request.host, request.client.
    """

    texts: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """What a route changes in the forwarded request: `remove` (lower-cased names) first, then `set`."""

    set: tuple[tuple[str, Template], ...] = ()
    remove: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class ExchangeOptions:
    """What goes along when an access key is exchanged. claims: the custom claims as canonical JSON, "" for none."""

    claims: str = ""
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One compiled rule of the route file. Made by `routefile` alone.

    host: exact name, "*.name", or "" for any. methods: None for all; GET brings HEAD with it. tenant_from: where the
    tenant to decide by is read, None where tenants play no part. strip_prefix: "" for none. flow: the one that people
    sign in with on their way here, "" for that of `login`.
    """

    id: str
    path: str
    upstream: Upstream
    host: str = ""
    methods: frozenset[str] | None = None
    auth: Auth = Auth.SESSION
    tenant_from: TenantSource | None = None
    conditions: tuple[Condition, ...] = ()
    limits: tuple[Limit, ...] = ()
    timeouts: Timeouts = Timeouts()
    max_body_bytes: int = 10 * 1024 * 1024
    strip_prefix: str = ""
    header_rules: HeaderRules = HeaderRules()
    cors: Cors | None = None
    exchange: ExchangeOptions = ExchangeOptions()
    stream: StreamRules = StreamRules()
    flow: str = ""


@noun
class Match:
    """A route and what its pattern caught (names to decoded segments)."""

    route: Route
    captures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MethodMismatch:
    """The path has routes, none for this method; `allow` is what they take, sorted."""

    allow: tuple[str, ...]


# --- settings of the whole gateway ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CookieRules:
    """How our cookies are spelt. same_site: "lax", "strict" or "none". domain: "" for host-only."""

    session: str = "DS"
    refresh: str = "DSR"
    secure: bool = True
    same_site: str = "lax"
    domain: str = ""
    path: str = "/"


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say to be ours.

    audience: accepted `aud` values; empty: none or the project id. refresh_names: the values of `drn` (the name of the
    cookie that a token belongs to) that make it a refresh token; Descope lets a project choose its own.
    """

    project_id: str
    audience: tuple[str, ...] = ()
    refresh_names: tuple[str, ...] = ("DSR",)
    leeway_s: int = 5


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large a request's headers may be: bytes in all and of one line, line ends included, and lines."""

    total_bytes: int = 64 * 1024
    line_bytes: int = 32 * 1024
    lines: int = 200


@dataclass(frozen=True, slots=True)
class ListenerTls:
    """The certificate of the public listener. key: "" where it is in the file of the certificate."""

    cert: str
    key: str = ""
    min_version: str = "1.2"


@dataclass(frozen=True, slots=True)
class ServerRules:
    """public_urls: origins ("https://app.example.com", no path). hosts: canonical names, empty for all."""

    public_urls: tuple[str, ...]
    hosts: frozenset[str] = frozenset()
    trusted_proxies: tuple[Network, ...] = ()
    cookies: CookieRules = CookieRules()
    head_limits: HeadLimits = HeadLimits()
    tls: ListenerTls | None = None


@dataclass(frozen=True, slots=True)
class RefreshRules:
    """grace_s: how long a delivered result still answers the old token. ahead_s: how long before expiry to renew."""

    grace_s: float = 30.0
    ahead_s: float = 30.0


@dataclass(frozen=True, slots=True)
class AccessKeyRules:
    """remember_s: how long an exchange answers for its key; max_stale_s: the same while Descope cannot be asked."""

    remember_s: float = 60.0
    max_stale_s: float = 300.0


@dataclass(frozen=True, slots=True)
class AssertionRules:
    """How assertions are signed. key_file: "" for keys made at start. rotate_s: how long one that was made signs."""

    issuer: str = ""
    key_file: str = ""
    rotate_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class ShutdownRules:
    """delay_s: not ready, still serving; grace_s: no new requests, what runs may finish."""

    delay_s: float = 0.0
    grace_s: float = 15.0


# --- decisions ------------------------------------------------------------------------------------------------------


class SetCookies(Protocol):
    """Cookies of a renewed session that go out with whatever answers the request, a refusal included."""

    async def settled(self) -> tuple[bytes, ...]:
        """Values of the `Set-Cookie` lines, the newest there are when the head is about to be written; () for none."""

    def written(self) -> None:
        """To be called once the reply that carried them has been written completely."""


@noun
class Admit:
    """Proof that `match.route` let the caller through; `upstream` forwards nothing without it. Made by `policy` alone.

    identity: None only where the route is public, or optional and nobody signed in. tenant: the one decided by.
    token: the verified session JWT behind the identity, "" where there is none; for upstreams that ask for it.
    """

    match: Match
    identity: Identity | None
    tenant: str | None = None
    person: Person = NOBODY
    token: str = field(default="", repr=False)
    set_cookies: SetCookies | None = None


@noun
class Refuse:
    """A refusal, complete enough to be written to the client.

    retry_after_s: whole seconds, rounded up. allow: for 405. detail: one sentence for people, free of client text.
    idp_code: Descope's error code, where it may be told. may_choose_tenant: another selected tenant might do.
    subject: whom it met, for the log; the client is not told.
    """

    reason: Reason
    route: Route | None = None
    retry_after_s: int | None = None
    allow: tuple[str, ...] = ()
    detail: str = ""
    set_cookies: SetCookies | None = None
    idp_code: str = ""
    may_choose_tenant: bool = False
    subject: str = ""

    @property
    def status(self) -> int:
        return self.reason.status


Decision = Admit | Refuse
