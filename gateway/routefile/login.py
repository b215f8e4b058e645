"""The `login` section of the route file: which sign-in methods are offered, and how the pages look."""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

import jinja2
from pydantic import Field, JsonValue, model_validator

from gateway.core.signin import TEXTS, Brand, Channel, FlowRules, LoginRules, Method, Template
from gateway.routefile import urls, values
from gateway.routefile.forms import Form, Section, Text

MethodName = Literal["password", "otp", "magic_link", "enchanted_link", "oauth", "sso", "totp", "flow"]
ChannelName = Literal["email", "sms", "voice", "whatsapp"]
LinkChannelName = Literal["email", "sms"]
Channels = Annotated[list[ChannelName], Field(min_length=1)]


def _by_email() -> list[ChannelName]:
    return ["email"]


def _link_by_email() -> list[LinkChannelName]:
    return ["email"]


def _by_password() -> list[MethodName]:
    return ["password"]


class Otp(Section):
    """One-time codes."""

    channels: Channels = Field(default_factory=_by_email)
    """How codes may travel; the first is offered first."""


class MagicLink(Section):
    """Links that sign in whoever opens them and confirms."""

    channels: Channels = Field(default_factory=_by_email)
    """How links may travel; the first is offered first."""


class EnchantedLink(Section):
    """Links that sign in the page that waits, when the right one of three is opened."""

    channels: Annotated[list[LinkChannelName], Field(min_length=1)] = Field(default_factory=_link_by_email)
    """How links may travel; the first is offered first."""


class Oauth(Section):
    """Accounts of other services."""

    providers: Annotated[list[Annotated[str, Form(values.name)]], Field(min_length=1)]
    """Providers as the Descope project names them, in the order of their buttons: google, github, microsoft ..."""


class Sso(Section):
    """Sign-in at the identity provider of a tenant, SAML and OIDC alike."""

    tenants: list[Text] = Field(default_factory=list)
    """Tenants that have a button of their own; with none, people type their e-mail address or their tenant."""
    domains: dict[Annotated[str, Form(urls.exact_host)], Text] = Field(default_factory=dict)
    """The tenant for an e-mail domain: {example.com: T1}."""


class Templates(Section):
    """The project's message templates."""

    id: Text | None = None
    """The id of the template; without it, the project's own choice."""
    locale: Text | None = None
    """The language of the message, such as de."""
    options: dict[str, str] = Field(default_factory=dict)
    """Values for the template's own places."""


class FlowOptions(Section):
    """How the flow's component behaves."""

    debug: bool = False
    """Whether it tells its steps on the page; for development only."""
    validate_on_blur: bool = False
    """Whether a field is checked when it is left."""
    auto_refresh: bool = False
    """Whether the component renews the session by itself while its page is open."""


class Flow(Section):
    """The flow that `<descope-wc>` runs."""

    id: Annotated[str, Form(values.name)] = "sign-up-or-in"
    """The flow's id in the Descope console. A route may name its own under `flow`."""
    theme: Literal["light", "dark", "os"] | None = None
    """The colours; os follows the person's system."""
    tenant: Text | None = None
    """The tenant that the flow runs for."""
    form: dict[str, JsonValue] = Field(default_factory=dict)
    """Values that the flow's form begins with."""
    client: dict[str, JsonValue] = Field(default_factory=dict)
    """Inputs that the flow reads as `client`."""


class BrandSpec(Section):
    """How the pages look."""

    title: Text | None = None
    """What people sign in to; stands above the forms and in the window's title."""
    logo: Annotated[str, Form(urls.local_path)] | None = None
    """A path on this site of the picture, on a public route: /static/logo.svg."""
    accent: Annotated[str, Form(values.colour)] | None = None
    """The colour of buttons and links in light pages: "#0b5cad"."""
    accent_dark: Annotated[str, Form(values.colour)] | None = None
    """The same in dark pages; without it, as in light ones."""
    texts: dict[Text, str] = Field(default_factory=dict)
    """Sentences in place of ours, by name."""
    templates: Text | None = None
    """A folder whose templates take the place of ours of the same name."""

    @model_validator(mode="after")
    def _can_be_shown(self) -> "BrandSpec":
        for name in self.texts:
            if name not in TEXTS:
                near = get_close_matches(name, TEXTS, 1)
                remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(TEXTS)}"
                raise ValueError(f"texts has no {name}; {remedy}")
        if self.templates is not None:
            if not Path(self.templates).is_dir():
                raise ValueError("templates is no folder; name one that exists, or take the key away")
            _read_templates(Path(self.templates))
        return self


def _read_templates(folder: Path) -> None:
    """What cannot be read as a template is found here, and not by whoever wants to sign in."""
    for path in sorted(folder.rglob("*.html")):
        try:
            jinja2.Environment(autoescape=True).parse(path.read_text("utf-8"))
        except jinja2.TemplateSyntaxError as err:
            raise ValueError(f"templates: {path.relative_to(folder)} line {err.lineno}: {err.message}") from None
        except (OSError, UnicodeDecodeError) as err:
            raise ValueError(f"templates: {path.relative_to(folder)} cannot be read: {err}") from None


class Login(Section):
    """How and where people sign in."""

    url: Annotated[str, Form(urls.login_url)] = "/.auth/login"
    """A path on this site, or the whole URL of a sign-in page that exists already."""
    methods: Annotated[list[MethodName], Field(min_length=1)] = Field(default_factory=_by_password)
    """The methods offered, in the order of the page; the endpoints of all others are 404."""
    sign_up: bool = False
    """Whether people may make accounts here; then everybody is somebody."""
    deliver: Literal["cookies", "body"] = "cookies"
    """`body`: requests that no browser made get the tokens in the answer instead of cookies."""
    otp: Otp = Field(default_factory=Otp)
    """One-time codes."""
    magic_link: MagicLink = Field(default_factory=MagicLink)
    """Links that sign in whoever opens them and confirms."""
    enchanted_link: EnchantedLink = Field(default_factory=EnchantedLink)
    """Links that sign in the page that waits."""
    oauth: Oauth | None = None
    """Accounts of other services; needed by the method oauth."""
    sso: Sso = Field(default_factory=Sso)
    """Sign-in at the identity provider of a tenant."""
    templates: Templates = Field(default_factory=Templates)
    """The project's message templates for codes, links and resets."""
    flow: Flow = Field(default_factory=Flow)
    """The flow that `<descope-wc>` runs."""
    flow_options: FlowOptions = Field(default_factory=FlowOptions)
    """How the flow's component behaves."""
    brand: BrandSpec = Field(default_factory=BrandSpec)
    """How the pages look."""

    @model_validator(mode="after")
    def _is_whole(self) -> "Login":
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("a method stands twice in `methods`; keep one of the two")
        if "oauth" in self.methods and self.oauth is None:
            raise ValueError("the method oauth needs `oauth: {providers: [...]}`; name them, or take oauth away")
        return self


def login_rules(spec: Login) -> LoginRules:
    flow, options, brand = spec.flow, spec.flow_options, spec.brand
    return LoginRules(
        url=spec.url,
        methods=tuple(Method(one) for one in spec.methods),
        sign_up=spec.sign_up,
        deliver_body=spec.deliver == "body",
        otp_channels=tuple(Channel(one) for one in spec.otp.channels),
        magic_link_channels=tuple(Channel(one) for one in spec.magic_link.channels),
        enchanted_link_channels=tuple(Channel(one) for one in spec.enchanted_link.channels),
        oauth_providers=tuple(spec.oauth.providers) if spec.oauth else (),
        sso_tenants=tuple(spec.sso.tenants),
        sso_domains={urls.exact_host(domain): tenant for domain, tenant in spec.sso.domains.items()},
        template=Template(spec.templates.id or "", spec.templates.locale or "", dict(spec.templates.options)),
        flow=FlowRules(
            id=flow.id,
            theme=flow.theme or "",
            tenant=flow.tenant or "",
            form=json.dumps(flow.form) if flow.form else "",
            client=json.dumps(flow.client) if flow.client else "",
            debug=options.debug,
            validate_on_blur=options.validate_on_blur,
            auto_refresh=options.auto_refresh,
        ),
        brand=Brand(
            brand.title or "", brand.logo or "", brand.accent or "", brand.accent_dark or "", dict(brand.texts)
        ),
        templates_folder=brand.templates or "",
    )
