"""The shape of an upstream in the route file. The strings under the fields are what editors show and people read."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from gateway.routefile import urls, values
from gateway.routefile.forms import Duration, Form, Percent, Section, Wait
from gateway.routefile.identity_headers import PresetOrNames

MOST_TARGETS = 64

Address = Annotated[str, Form(urls.upstream_address)]
File = Annotated[str, Form(values.file_path)]


class Connections(Section):
    """How many connections there may be, and who waits for one."""

    max: Annotated[int, Field(ge=1, le=100_000)] = 1024
    """Connections to each target at most, idle ones, WebSockets and event streams included."""
    queue: Annotated[int, Field(ge=0, le=100_000)] = 1024
    """Requests that may wait for one when all are in use; more are 503 upstream_busy at once."""
    wait: Wait = "2s"
    """How long they wait at most, then 503 upstream_busy."""
    keep_alive: Duration = "15s"
    """How long an idle one is kept: less than the service keeps it. 0s: a connection for each request."""


class Health(Section):
    """How each target is asked whether it is well."""

    path: Annotated[str, Form(values.check_path)]
    """What is asked for, behind the path of the url, by GET and without credentials: /healthz."""
    interval: Wait = "10s"
    """How long after an answer it is asked again."""
    timeout: Wait = "2s"
    """How long connection and answer may take together."""
    healthy_after: Annotated[int, Field(ge=1, le=100)] = 2
    """Good answers in a row that bring a target back."""
    unhealthy_after: Annotated[int, Field(ge=1, le=100)] = 3
    """Bad answers in a row, or none, that take a target out."""
    expect: Annotated[Any, Form(values.statuses, types=("string", "integer"))] = "200-299"
    """The status of a good answer: 200, or the first and the last: 200-399."""


class Eject(Section):
    """When a target goes out because requests to it failed. The only target never goes."""

    after: Annotated[int, Field(ge=0, le=1000)] = 5
    """Failures in a row: no connection, no reply, a broken reply; a 500 is none. 0: never."""
    span: Wait = Field(default="10s", alias="for")
    """How long; twice as long each time it fails again soon, at most 5m."""


class Retry(Section):
    """How many requests may be sent again, because their connection was dead before anything of a reply had come."""

    budget: Percent = "20%"
    """The share of the requests of the last ten seconds."""
    floor: Annotated[int, Field(ge=0, le=10_000)] = 10
    """As many in ten seconds in any case."""


class Tls(Section):
    """How https is spoken. Certificate and name are verified, whatever is said here."""

    ca: File | None = None
    """A file with the certificates (PEM) that may sign the service's, instead of the system's."""
    server_name: Annotated[str, Form(urls.exact_host)] | None = None
    """The name to ask for (SNI) and to find in the certificate, where it is not the url's."""
    cert: File | None = None
    """A file with our own certificate (PEM) and those up to its authority."""
    key: File | None = None
    """A file with its private key (PEM, without password), where that is not in the same file."""


class Upstream(Section):
    """A service behind the gateway: one target (url), or several of one kind (urls)."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["url"]}, {"required": ["urls"]}]})

    url: Address | None = None
    """http://host:port, https://host, with a path that goes before every forwarded one, or unix:/run/app.sock."""
    urls: Annotated[list[Address], Field(min_length=1, max_length=MOST_TARGETS)] | None = None
    """Several of them, of one scheme and with one path: each request goes to the one with the fewest under way."""
    host: Literal["preserve", "upstream"] = "preserve"
    """The Host header it sees: the client's, or its own (of several, the first one's)."""
    connections: Connections = Field(default_factory=Connections)
    """How many connections there may be, and who waits for one."""
    health: Health | None = None
    """How each target is asked whether it is well; absent: it is not."""
    eject: Eject = Field(default_factory=Eject)
    """When a target goes out because requests to it failed."""
    retry: Retry = Field(default_factory=Retry)
    """How many requests may be sent again."""
    tls: Tls | None = None
    """How https is spoken."""
    retry_after: Literal["pass", "hold"] = "pass"
    """`hold`: once it answers 429 or 503 with Retry-After, requests are held back for that long (30s at most)."""
    forward_token: Literal[False, "bearer", "cookie"] = False
    """Whether it gets the caller's verified session token, and how."""
    profile: bool = False
    """Whether e-mail and name are asked of Descope for it, where the token does not hold them."""
    identity_headers: PresetOrNames | None = None
    """Under which names it is told who calls: those of another product, or its own; X-Auth- names where absent."""
    assertion: Annotated[Any, Form(values.audience, types=("boolean", "string"))] = False
    """Whether it gets a signed assertion with each request; a text is the audience, true the upstream's name."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every target as it is written."""
        return tuple(self.urls or ()) if self.url is None else (self.url,)
