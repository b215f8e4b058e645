"""The shape of one rule of the route file. The strings under the fields are what editors show and people read."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from gateway.core.patterns import canonical_host
from gateway.routefile import values
from gateway.routefile.forms import (
    ClaimName,
    ClaimValue,
    Declared,
    Duration,
    Form,
    HeaderName,
    KeyId,
    Method,
    Name,
    Network,
    Origin,
    OwnHeader,
    Section,
    SetHeader,
    Size,
    Text,
    Wait,
)


class Timeouts(Section):
    """How long an upstream may take."""

    connect: Wait | None = None
    """Until a connection stands; 2s where nothing is said."""
    response: Wait | None = None
    """Until the head of the reply is there; 30s where nothing is said."""
    idle: Wait | None = None
    """Between two pieces of a body; 60s where nothing is said. Ends neither event streams nor upgrades."""


class Stream(Section):
    """How long WebSockets and event streams live."""

    after_expiry: Duration | None = None
    """Past the end of the session, as long as nobody renews it; 10m where nothing is said."""
    revalidate: Wait | None = None
    """Between two judgements by the present route table; 30s where nothing is said."""
    max_age: Wait | None = None
    """In any case; 8h where nothing is said."""


class Cors(Section):
    """Which pages of other origins may read the replies, and use the session on unsafe requests."""

    origins: list[Origin]
    """Exact origins, or `*` alone for everybody. Empty: nobody, where `defaults` allow somebody."""
    methods: Annotated[list[Method], Field(min_length=1)] | None = None
    """Methods that other origins may use; GET, HEAD and POST where nothing is said."""
    headers: list[HeaderName] = Field(default_factory=list)
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

    set: dict[SetHeader, Annotated[str, Form(values.template)]] = Field(default_factory=dict)
    """Headers to set; {identity.subject}, {path.NAME}, {request.id} and so on are put in. Empty ones are left out."""
    remove: list[OwnHeader] = Field(default_factory=list)
    """Headers to leave out of what the client sent."""


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
    claims: Annotated[dict[ClaimName, ClaimWanted], Field(min_length=1)] | None = None
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

    path: Annotated[str, Form(values.route_path, "^/")]
    """Segments are literal, {name}, `*` (one segment) or at the end `**` (the rest). /admin/** covers /admin."""
    host: Annotated[str, Form(canonical_host)] | None = None
    """A host name, or *.name for all below it. Absent: every host."""
    methods: Annotated[list[Method], Field(min_length=1)] | None = None
    """Methods; GET includes HEAD. Absent: all."""


class Rewrite(Section):
    """How the path is changed before it is forwarded."""

    strip_prefix: Annotated[str, Form(values.prefix_path, "^/")]
    """Leading segments to take away, which the route's path begins with; they travel as X-Forwarded-Prefix."""


class KeyExchange(Section):
    """What goes along when an access key is exchanged for a session."""

    claims: dict[Text, JsonValue] = Field(default_factory=dict)
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
    timeouts: Timeouts = Field(default_factory=Timeouts)
    """How long the upstream may take; what is absent comes from `defaults`."""
    stream: Stream = Field(default_factory=Stream)
    """How long WebSockets and event streams live; what is absent comes from `defaults`."""
    max_body: Size | None = None
    """The largest request body."""
    rewrite: Rewrite | None = None
    """How the path is changed before it is forwarded."""
    headers: Headers = Field(default_factory=Headers)
    """What is changed in the forwarded request."""
    cors: Cors | None = None
    """Which other origins may read the replies."""
    access_keys: KeyExchange | None = None
    """What goes along when an access key is exchanged for a session."""
    flow: Annotated[str, Form(values.name)] | None = None
    """The flow that people sign in with on their way here, in place of `login.flow.id`."""
