"""The shape of the route file as pydantic models, which are also what editors know of it (`gateway schema`).

Each text is held to its small language and kept as it was written; what it means is compiled later. The strings under
the fields are the descriptions that editors show.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from gateway.core.forwarded import Dialect
from gateway.routefile import urls, values
from gateway.routefile.assertion import Assertion
from gateway.routefile.audit import Audit
from gateway.routefile.forms import Declared, Duration, Form, Name, ProjectId, RateText, Section, Size, Text, Wait
from gateway.routefile.login import Login
from gateway.routefile.rules import Cors, Headers, Route, Stream, Timeouts
from gateway.routefile.services import File, Upstream


class Descope(Section):
    """The Descope project whose sessions are accepted."""

    project_id: ProjectId
    """The project's id: a P and letters and digits, from the Descope console."""
    base_url: Annotated[str, Form(urls.base_url)] = ""
    """Where Descope is asked. Empty: the SDK's own rule for the project."""
    static_url: Annotated[str, Form(urls.base_url)] = ""
    """Where the screens of flows lie. Empty: below `base_url` where that is given, else where Descope keeps them."""
    audience: list[Text] = Field(default_factory=list)
    """Accepted `aud` values of session tokens. Empty: none, or the project id."""


class Cookies(Section):
    """How the session cookies are spelt."""

    session: Annotated[str, Form(values.cookie_name)] = "DS"
    """The cookie that holds the session token."""
    refresh: Annotated[str, Form(values.cookie_name)] = "DSR"
    """The cookie that holds the refresh token."""
    secure: bool = True
    """Browsers send the cookies over https only. False is for a developer's machine."""
    same_site: Literal["lax", "strict", "none"] = "lax"
    """Whether other sites' pages make browsers send the cookies; `none` needs `secure`."""
    domain: Annotated[str, Form(urls.exact_host)] | None = None
    """The domain that shares the cookies. Absent: this host alone, which is safest."""
    path: Annotated[str, Form(values.cookie_path)] = "/"
    """Below which path browsers send the cookies."""

    @model_validator(mode="after")
    def _fit_together(self) -> "Cookies":
        if self.same_site == "none" and not self.secure:
            raise ValueError("same_site none without secure is dropped by browsers; set secure: true")
        if self.session == self.refresh:
            raise ValueError("session and refresh have one name; give each its own")
        for one, other in ((self.session, self.refresh), (self.refresh, self.session)):
            if other.startswith(f"{one}.") and other[len(one) + 1 :].isdigit():
                raise ValueError(f"{other} is the name of a part of a long {one}; choose another")
        for name in (self.session, self.refresh):
            prefix = name.lower()
            if prefix.startswith(("__host-", "__secure-")) and not self.secure:
                raise ValueError(f"browsers accept {name} only with secure: true")
            if prefix.startswith("__host-") and (self.domain is not None or self.path != "/"):
                raise ValueError(f"browsers accept {name} only without domain and with path: /")
        return self


class HeaderLimits(Section):
    """How large a request's headers may be."""

    total: Size = "64KiB"
    """All of them together, at most 1MiB."""
    line: Size = "32KiB"
    """One of them, name and value."""
    lines: Annotated[int, Field(ge=10, le=2000)] = 200
    """How many there may be."""

    @model_validator(mode="after")
    def _fit_together(self) -> "HeaderLimits":
        total, line = values.size_bytes(self.total), values.size_bytes(self.line)
        if total > 1024**2:
            raise ValueError("total is more than 1MiB, which every connection could make us hold; give less")
        if line > total:
            raise ValueError("line is more than total; give total at least as much")
        if line < 1024:
            raise ValueError("line is less than 1KiB, which a session token alone needs; give more")
        return self


class ServerTls(Section):
    """The public listener speaks TLS."""

    cert: File
    """A file with the certificate (PEM) and those up to its authority. Taken up when it changes."""
    key: File | None = None
    """A file with its private key (PEM, without password), where that is not in the same file."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS that is spoken."""


class Server(Section):
    """How the gateway is seen from outside."""

    public_urls: Annotated[list[Annotated[str, Form(urls.origin)]], Field(min_length=1)]
    """Origins at which browsers reach the gateway, the first being the main one. Never taken from a header."""
    hosts: list[Annotated[str, Form(urls.exact_host)]] = Field(default_factory=list)
    """Accepted Host names; others get 400. Empty: all."""
    trusted_proxies: list[Annotated[str, Form(urls.trusted_network)]] = Field(default_factory=list)
    """Networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    cookies: Cookies = Field(default_factory=Cookies)
    """How the session cookies are spelt."""
    header_limits: HeaderLimits = Field(default_factory=HeaderLimits)
    """How large a request's headers may be; larger ones get 431."""
    tls: ServerTls | None = None
    """TLS on the public listener. Absent: plain HTTP, for whatever stands in front speaks TLS."""


class ForwardAuthDoor(Section):
    """Another proxy asks at `/.auth/verify` about every request, and forwards it itself."""

    dialect: Literal["nginx", "traefik", "caddy", "envoy", "haproxy"]
    """Which proxy asks; others are refused. It has to be one of `server.trusted_proxies`."""
    renew: bool = False
    """Whether its 200 may carry renewed cookies. False: `/.auth/renew` renews. Not for nginx and caddy."""

    @model_validator(mode="after")
    def _fit_together(self) -> "ForwardAuthDoor":
        if self.renew and not Dialect(self.dialect).carries_cookies:
            raise ValueError(f"{self.dialect} cannot hand renewed cookies on to the browser; leave renew out")
        return self


class Doors(Section):
    """Further ways in which requests reach the gateway."""

    forward_auth: ForwardAuthDoor | None = None
    """Another proxy asks. Absent: nobody does, and `/.auth/verify` is not found."""


class Defaults(Section):
    """What routes have that do not say otherwise."""

    timeouts: Timeouts = Field(default_factory=Timeouts)
    """How long upstreams may take; a route overrides each of the three."""
    stream: Stream = Field(default_factory=Stream)
    """How long WebSockets and event streams live; a route overrides each of the three."""
    max_body: Size = "10MiB"
    """The largest request body."""
    limit: list[Annotated[str, Declared("limits")]] = Field(default_factory=list)
    """Limits by name; a route's own list replaces this one. Public routes take only those per client of it."""
    cors: Cors | None = None
    """Which other origins may read the replies; a route's own `cors` replaces it."""
    headers: Headers = Field(default_factory=Headers)
    """What is changed in forwarded requests; a route's own are added, and win."""


class Limit(Section):
    """How often somebody may ask."""

    rate: RateText
    """A number and a period: 20/s, 100/m, 1000/h."""
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """How many at once after a rest; the rate's number where nothing is said."""
    per: Literal["subject", "access_key", "tenant", "client"]
    """Whose requests are counted together. client: an IPv4 address, or a /64 of IPv6."""


class Refresh(Section):
    """How sessions are renewed."""

    grace: Duration = "30s"
    """How long a renewed session still answers those who come with the old one."""
    ahead: Duration = "30s"
    """How long before its end a session is renewed beside a request."""


class AccessKeys(Section):
    """How exchanged access keys are remembered."""

    remember: Wait = "60s"
    """How long an exchange answers for its key."""
    max_stale: Duration = "5m"
    """The same while Descope cannot be asked."""

    @model_validator(mode="after")
    def _fit_together(self) -> "AccessKeys":
        if values.duration_s(self.max_stale) < values.duration_s(self.remember):
            raise ValueError("max_stale is shorter than remember; it has to be at least as long")
        return self


class Shutdown(Section):
    """How the gateway stops."""

    delay: Duration = "0s"
    """Not ready any more, still serving: time for balancers to notice."""
    grace: Duration = "15s"
    """How long running requests may take to finish."""


class TenantGrants(Section):
    """What a made-up caller holds in one tenant."""

    roles: list[Text] = Field(default_factory=list)
    """Its roles there."""
    permissions: list[Text] = Field(default_factory=list)
    """Its permissions there."""


class Caller(Section):
    """A made-up caller."""

    kind: Literal["session", "access_key"] | None = None
    """What it comes with; access_key where `key_id` is given."""
    subject: Text | None = None
    """Its user id."""
    key_id: Text | None = None
    """Its access key's id, which begins with K."""
    roles: list[Text] = Field(default_factory=list)
    """Its roles in the project."""
    permissions: list[Text] = Field(default_factory=list)
    """Its permissions in the project."""
    tenants: dict[Text, TenantGrants] | None = None
    """Its tenants by id. Absent: the token has no `tenants` claim."""
    tenant: Text | None = None
    """The tenant that it has selected."""
    claims: dict[Text, JsonValue] = Field(default_factory=dict)
    """Further root claims of its token."""


def _caller_or_nobody(value: object) -> str:
    return "<nobody>" if isinstance(value, str) else "<caller>"


class Expectation(Section):
    """One request and what must become of it; `gateway check` runs them."""

    request: Annotated[str, Form(values.request_line)]
    """Method and path, such as GET /admin/x; http://host/path names the host."""
    host: Annotated[str, Form(urls.exact_host)] | None = None
    """The request's host, where the path alone is given."""
    caller: Annotated[
        Annotated[Literal["anonymous"], Tag("<nobody>")] | Annotated[Caller, Tag("<caller>")],
        Discriminator(_caller_or_nobody),
    ] = Field(default="anonymous", alias="as")
    """`anonymous`, or a made-up caller."""
    expect: Annotated[Any, Form(values.expected, types=("string", "integer"))]
    """`admit`, 200, or the status of a refusal with or without its reason: 403 role_missing."""


class RouteFile(Section):
    """The route file of the gateway: who may go where."""

    version: Literal[1]
    """The version of this format."""
    descope: Descope
    """The Descope project whose sessions are accepted."""
    server: Server
    """How the gateway is seen from outside."""
    login: Login = Field(default_factory=Login)
    """How and where people sign in."""
    refresh: Refresh = Field(default_factory=Refresh)
    """How sessions are renewed."""
    access_keys: AccessKeys = Field(default_factory=AccessKeys)
    """How exchanged access keys are remembered."""
    assertion: Assertion = Field(default_factory=Assertion)
    """How assertions are signed, for the upstreams that get them."""
    audit: Audit | None = None
    """Where records of refusals, sign-ins, sign-outs, renewals and key exchanges go. Absent: nowhere."""
    shutdown: Shutdown = Field(default_factory=Shutdown)
    """How the gateway stops."""
    doors: Doors = Field(default_factory=Doors)
    """Further ways in which requests reach the gateway."""
    defaults: Defaults = Field(default_factory=Defaults)
    """What routes have that do not say otherwise."""
    upstreams: dict[Name, Upstream]
    """The services behind the gateway, by name."""
    limits: dict[Name, Limit] = Field(default_factory=dict)
    """How often somebody may ask, by name."""
    routes: Annotated[list[Route], Field(min_length=1)]
    """The rules. Their order does not matter: the most particular pattern wins."""
    tests: list[Expectation] = Field(default_factory=list)
    """Requests and what must become of them; `gateway check` runs them."""


class _WithoutNull(GenerateJsonSchema):
    """An absent key is left out of the file; `null` is nowhere a value."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def schema_of(model: type[Section]) -> dict[str, Any]:
    return model.model_json_schema(schema_generator=_WithoutNull)


def schema() -> dict[str, Any]:
    """The JSON schema of the route file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema_of(RouteFile)}
