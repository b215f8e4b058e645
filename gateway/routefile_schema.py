"""The shape of the route file as pydantic models, which are also what editors know of it (`gateway schema`).

Each text is held to its small language here and kept as it was written; what it means is compiled later. The strings
under the fields are the descriptions that editors show and the reference of every key.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, GetCoreSchemaHandler, JsonValue, Tag, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from gateway import routefile_urls as urls
from gateway import routefile_values as values
from gateway.core.patterns import canonical_host


@dataclass(frozen=True, slots=True)
class Form:
    """Asks `read` whether a value is well formed. An empty `schema` stands for any text."""

    read: Callable[[Any], object]
    schema: tuple[tuple[str, object], ...] = ()

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked if self._is_text else self._asked)

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: object) -> JsonSchemaValue:
        return {"type": "string", **dict(self.schema)}

    @property
    def _is_text(self) -> bool:
        return "type" not in dict(self.schema)

    def _asked(self, value: object) -> object:
        self.read(value)
        return value

    def _checked(self, value: object) -> object:
        if isinstance(value, str):
            return self._asked(value)
        if isinstance(value, int | float):
            self.read(str(value).lower())  # says what is missing, where it is more than quotes
            raise ValueError("a text is wanted here; put it in quotes")
        raise ValueError("one text is wanted here")


@dataclass(frozen=True, slots=True)
class Declared:
    """A name that the file declares under `kind`; the names come with the validation's context."""

    kind: Literal["upstreams", "limits"]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self._known)

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: object) -> JsonSchemaValue:
        return {"type": "string"}

    def _known(self, value: object, info: core_schema.ValidationInfo[Any]) -> object:
        names: frozenset[str] = (info.context or {}).get(self.kind, frozenset())
        if isinstance(value, str) and value in names:
            return value
        near = get_close_matches(str(value), names, 1)
        hint = f"; did you mean {near[0]!a}?" if near else ""
        raise ValueError(f"{str(value)[:60]!a} is not declared under `{self.kind}`{hint}")


def _claim_value(value: object) -> None:
    if not isinstance(value, str | int):
        raise ValueError("a claim is compared with a text, a whole number, true or false")  # noqa: TRY004  # for pydantic


def _spelt(pattern: str) -> tuple[tuple[str, object], ...]:
    return (("pattern", pattern),)


# `${...}` is put in before these are judged, so an editor has to let it stand.
_OR_VARIABLE = r"|.*\$\{.*"
_DURATION = _spelt(rf"^([0-9]+(ms|s|m|h|d){_OR_VARIABLE})$")

Text = Annotated[str, Field(min_length=1)]
Duration = Annotated[str, Form(values.duration_s, _DURATION)]
Wait = Annotated[str, Form(values.wait_s, _DURATION)]
Size = Annotated[str, Form(values.size_bytes, _spelt(rf"^([0-9]+(B|KiB|MiB|GiB){_OR_VARIABLE})$"))]
RateText = Annotated[str, Form(values.rate, _spelt(rf"^([0-9]+/(s|m|h){_OR_VARIABLE})$"))]
Network = Annotated[str, Form(urls.network)]
Origin = Annotated[str, Form(urls.cors_origin)]
Method = Annotated[str, Form(values.method)]
HeaderName = Annotated[str, Form(values.header_name)]
OwnHeader = Annotated[str, Form(values.own_header)]
SetHeader = Annotated[str, Form(values.set_header)]
ClaimName = Annotated[str, Form(values.claim_name)]
ClaimValue = Annotated[Any, Form(_claim_value, (("type", ["string", "integer", "boolean"]),))]
ProjectId = Annotated[str, Form(values.project_id, _spelt(rf"^(P[A-Za-z0-9]{{19,63}}{_OR_VARIABLE})$"))]
Name = Annotated[str, Form(values.name, _spelt(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
KeyId = Annotated[str, Form(values.key_id)]


class Section(BaseModel):
    """A mapping of the file: unknown keys are refused, nothing is converted."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class Descope(Section):
    """The Descope project whose sessions are accepted."""

    project_id: ProjectId
    """The project's id: a P and letters and digits, from the Descope console."""
    base_url: Annotated[str, Form(urls.base_url)] = ""
    """Where Descope is asked. Empty: the SDK's own rule for the project."""
    audience: list[Text] = []
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


class Server(Section):
    """How the gateway is seen from outside."""

    public_urls: Annotated[list[Annotated[str, Form(urls.origin)]], Field(min_length=1)]
    """Origins at which browsers reach the gateway, the first being the main one. Never taken from a header."""
    hosts: list[Annotated[str, Form(urls.exact_host)]] = []
    """Accepted Host names; others get 400. Empty: all."""
    trusted_proxies: list[Annotated[str, Form(urls.trusted_network)]] = []
    """Networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    cookies: Cookies = Cookies()
    """How the session cookies are spelt."""


class Login(Section):
    """Where people without a session are sent."""

    url: Annotated[str, Form(urls.login_url)] = "/.auth/login"
    """A path on this site, or the whole URL of a sign-in page that exists already."""


class Timeouts(Section):
    """How long an upstream may take."""

    connect: Wait | None = None
    """Until a connection stands; 2s where nothing is said."""
    response: Wait | None = None
    """Until the head of the reply is there; 30s where nothing is said."""
    idle: Wait | None = None
    """Between two pieces of a body; 60s where nothing is said. Ends neither event streams nor upgrades."""


class Cors(Section):
    """Which pages of other origins may read the replies, and use the session on unsafe requests."""

    origins: list[Origin]
    """Exact origins, or `*` alone for everybody. Empty: nobody, where `defaults` allow somebody."""
    methods: Annotated[list[Method], Field(min_length=1)] = ["GET", "HEAD", "POST"]
    """Methods that other origins may use."""
    headers: list[HeaderName] = []
    """Request headers that other origins may send beyond the plain ones."""
    credentials: bool = False
    """Whether browsers may send cookies along; never together with `*`."""
    max_age: Duration = "10m"
    """How long browsers may remember the answer to a preflight."""

    @model_validator(mode="after")
    def _fit_together(self) -> "Cors":
        if "*" in self.origins and self.credentials:
            raise ValueError("`*` with credentials would let every site act as its visitors; name the origins")
        if "*" in self.origins and len(self.origins) > 1:
            raise ValueError("`*` stands alone, for it is everybody already")
        return self


class Headers(Section):
    """What is changed in the forwarded request."""

    set: dict[SetHeader, Annotated[str, Form(values.template)]] = {}
    """Headers to set. {identity.subject}, {path.NAME}, {request.id} and their kind are put in; empty ones are left out."""
    remove: list[OwnHeader] = []
    """Headers to leave out of what the client sent."""


class Defaults(Section):
    """What routes have that do not say otherwise."""

    timeouts: Timeouts = Timeouts()
    """How long upstreams may take; a route overrides each of the three."""
    max_body: Size = "10MiB"
    """The largest request body."""
    limit: list[Annotated[str, Declared("limits")]] = []
    """Limits by name; a route's own list replaces this one. Public routes take only those per client of it."""
    cors: Cors | None = None
    """Which other origins may read the replies; a route's own `cors` replaces it."""
    headers: Headers = Headers()
    """What is changed in forwarded requests; a route's own are added, and win."""


class Upstream(Section):
    """A service behind the gateway."""

    url: Annotated[str, Form(urls.upstream_address)]
    """http://host:port, https://host, with a path that goes before every forwarded one, or unix:/run/app.sock."""
    host: Literal["preserve", "upstream"] = "preserve"
    """The Host header it sees: the client's, or its own."""
    retry_after: Literal["pass", "hold"] = "pass"
    """`hold`: once it answers 429 or 503 with Retry-After, requests are held back for that long (30s at most)."""
    forward_token: Literal[False, "bearer", "cookie"] = False
    """Whether it gets the caller's verified session token, and how."""
    profile: bool = False
    """Whether e-mail and name are asked of Descope for it, where the token does not hold them."""


class Limit(Section):
    """How often somebody may ask."""

    rate: RateText
    """A number and a period: 20/s, 100/m, 1000/h."""
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """How many at once after a rest; the rate's number where nothing is said."""
    per: Literal["subject", "access_key", "tenant", "client"]
    """Whose requests are counted together. client: an IPv4 address, or a /64 of IPv6."""


class Wanted(Section):
    """`any`: one of these is enough. `all`: each of those is needed."""

    any: Annotated[list[Text], Field(min_length=1)] | None = None
    """One of these is enough."""
    all: Annotated[list[Text], Field(min_length=1)] | None = None
    """Each of these is needed."""

    @model_validator(mode="before")
    @classmethod
    def _says_which(cls, value: object) -> object:
        return says_which(value)


class ClaimWanted(Section):
    """`any`: one of these values is enough. `all`: each of those is needed. Types compare too."""

    any: Annotated[list[ClaimValue], Field(min_length=1)] | None = None
    """One of these values is enough."""
    all: Annotated[list[ClaimValue], Field(min_length=1)] | None = None
    """Each of these values is needed."""

    @model_validator(mode="before")
    @classmethod
    def _says_which(cls, value: object) -> object:
        return says_which(value)


def says_which(value: object) -> object:
    """`any` and `all` are always written: a bare list would be read as either by somebody."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError("say whether any or all of them are needed: {any: [...]} or {all: [...]}")
    return value


class Require(Section):
    """What a caller must have, beside an identity."""

    roles: Wanted | None = None
    """Roles; with `tenant`, those held in it."""
    permissions: Wanted | None = None
    """Permissions; with `tenant`, those held in it."""
    tenant: Annotated[str, Form(values.tenant_source)] | None = None
    """The tenant to be a member of: {path.NAME}, {host.label.N}, `selected` (the token's own), or an id."""
    claims: dict[ClaimName, ClaimWanted] = {}
    """Root claims of the token by name."""
    clients: Annotated[list[Network], Field(min_length=1)] | None = None
    """Networks that the client's address lies in."""
    key_ids: Annotated[list[KeyId], Field(min_length=1)] | None = None
    """Ids of the access keys that may be used."""

    @model_validator(mode="before")
    @classmethod
    def _asks_something(cls, value: object) -> object:
        if isinstance(value, Mapping) and not value:
            raise ValueError("nothing is required here; say what is, or take `require` away")
        return value


class RouteMatch(Section):
    """Which requests a route is for."""

    path: Annotated[str, Form(values.route_path, _spelt("^/"))]
    """Segments are literal, {name}, `*` (one segment) or at the end `**` (the rest). /admin/** covers /admin."""
    host: Annotated[str, Form(canonical_host)] | None = None
    """A host name, or *.name for all below it. Absent: every host."""
    methods: Annotated[list[Method], Field(min_length=1)] | None = None
    """Methods; GET includes HEAD. Absent: all."""


class Rewrite(Section):
    """How the path is changed before it is forwarded."""

    strip_prefix: Annotated[str, Form(values.prefix_path, _spelt("^/"))]
    """Leading segments to take away, which the route's path begins with; they travel as X-Forwarded-Prefix."""


class KeyExchange(Section):
    """What goes along when an access key is exchanged for a session."""

    claims: dict[Text, JsonValue] = {}
    """Custom claims to ask for."""
    tenant: Text | None = None
    """The tenant to select."""


class Route(Section):
    """One rule: which requests, who may send them, where they go."""

    id: Name
    """The route's name in logs, metrics and messages."""
    match: RouteMatch
    """Which requests it is for."""
    upstream: Annotated[str, Declared("upstreams")]
    """Where admitted requests go: a name under `upstreams`."""
    auth: Literal["public", "optional", "session", "access_key", "any"] = "session"
    """public: nobody is asked. optional: anonymous or signed in. session, access_key: that kind. any: either."""
    require: Require | None = None
    """What a caller must have, beside an identity. Not on public routes."""
    limit: list[Annotated[str, Declared("limits")]] | None = None
    """Limits by name, instead of those under `defaults`; [] for none."""
    timeouts: Timeouts = Timeouts()
    """How long the upstream may take; what is absent comes from `defaults`."""
    max_body: Size | None = None
    """The largest request body."""
    rewrite: Rewrite | None = None
    """How the path is changed before it is forwarded."""
    headers: Headers = Headers()
    """What is changed in the forwarded request."""
    cors: Cors | None = None
    """Which other origins may read the replies."""
    access_keys: KeyExchange | None = None
    """What goes along when an access key is exchanged for a session."""


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

    roles: list[Text] = []
    """Its roles there."""
    permissions: list[Text] = []
    """Its permissions there."""


class Caller(Section):
    """A made-up caller."""

    kind: Literal["session", "access_key"] | None = None
    """What it comes with; access_key where `key_id` is given."""
    subject: Text | None = None
    """Its user id."""
    key_id: Text | None = None
    """Its access key's id, which begins with K."""
    roles: list[Text] = []
    """Its roles in the project."""
    permissions: list[Text] = []
    """Its permissions in the project."""
    tenants: dict[Text, TenantGrants] | None = None
    """Its tenants by id. Absent: the token has no `tenants` claim."""
    tenant: Text | None = None
    """The tenant that it has selected."""
    claims: dict[Text, JsonValue] = {}
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
    expect: Annotated[Any, Form(values.expected, (("type", ["string", "integer"]),))]
    """`admit`, 200, or the status of a refusal with or without its reason: 403 role_missing."""


class RouteFile(Section):
    """The route file of the gateway: who may go where."""

    version: Literal[1]
    """The version of this format."""
    descope: Descope
    """The Descope project whose sessions are accepted."""
    server: Server
    """How the gateway is seen from outside."""
    login: Login = Login()
    """Where people without a session are sent."""
    refresh: Refresh = Refresh()
    """How sessions are renewed."""
    access_keys: AccessKeys = AccessKeys()
    """How exchanged access keys are remembered."""
    shutdown: Shutdown = Shutdown()
    """How the gateway stops."""
    defaults: Defaults = Defaults()
    """What routes have that do not say otherwise."""
    upstreams: dict[Name, Upstream]
    """The services behind the gateway, by name."""
    limits: dict[Name, Limit] = {}
    """How often somebody may ask, by name."""
    routes: Annotated[list[Route], Field(min_length=1)]
    """The rules. Their order does not matter: the most particular pattern wins."""
    tests: list[Expectation] = []
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
