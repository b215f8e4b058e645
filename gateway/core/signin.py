"""What the route file says about signing in: which methods, for whom, and how the pages look."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

# Where Descope keeps the screens of flows, for projects without a domain of their own.
DESCOPE_STATIC_URL = "https://static.descope.com/pages"


class Method(StrEnum):
    """A way to sign in; its value is its name in `login.methods`."""

    PASSWORD = "password"  # noqa: S105
    OTP = "otp"
    MAGIC_LINK = "magic_link"
    ENCHANTED_LINK = "enchanted_link"
    OAUTH = "oauth"
    SSO = "sso"
    TOTP = "totp"
    FLOW = "flow"


class Channel(StrEnum):
    """How a code or a link travels."""

    EMAIL = "email"
    SMS = "sms"
    VOICE = "voice"
    WHATSAPP = "whatsapp"


# What the pages say where the route file says nothing else (`login.brand.texts`).
TEXTS: Mapping[str, str] = {
    "sign_in": "Sign in",
    "lead": "",
    "footer": "",
    "login": "Login",
    "password": "Password",
    "forgotten_password": "Forgotten password",
    "new_account": "New account",
    "other_ways": "Other ways to sign in",
    "by_password": "With a password",
    "by_otp": "With a one-time code",
    "by_magic_link": "With a link in a message",
    "by_enchanted_link": "With a link and a number",
    "by_oauth": "Continue with",
    "by_sso": "With single sign-on",
    "by_totp": "With an authenticator app",
    "by_flow": "Step by step",
    "signed_out": "You are signed out.",
    "sign_in_again": "Sign in again",
    "refused_hint": "Whoever runs this service can find out more with the request's number.",
}


@dataclass(frozen=True, slots=True)
class Template:
    """Which of the project's message templates Descope uses. All empty: the project's own choice."""

    id: str = ""
    locale: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Brand:
    """Title, logo, colours and texts of the pages. logo: a path on this site. texts: by names that `TEXTS` has."""

    title: str = ""
    logo: str = ""
    accent: str = ""
    accent_dark: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FlowRules:
    """The flow that `<descope-wc>` runs. form, client: inputs as JSON texts."""

    id: str = "sign-up-or-in"
    theme: str = ""
    tenant: str = ""
    form: str = ""
    client: str = ""
    debug: bool = False
    validate_on_blur: bool = False
    auto_refresh: bool = False


@dataclass(frozen=True, slots=True)
class LoginRules:
    """How people sign in here.

    url: where those without a session are sent; a path here, or a whole URL elsewhere. sign_up: whether accounts may be
    made here. deliver_body: whether programs get tokens in a body. sso_domains: tenant by e-mail domain, lower case.
    templates_folder: where replaced templates lie; "" for none.
    """

    url: str = "/.auth/login"
    methods: tuple[Method, ...] = (Method.PASSWORD,)
    sign_up: bool = False
    deliver_body: bool = False
    otp_channels: tuple[Channel, ...] = (Channel.EMAIL,)
    magic_link_channels: tuple[Channel, ...] = (Channel.EMAIL,)
    enchanted_link_channels: tuple[Channel, ...] = (Channel.EMAIL,)
    oauth_providers: tuple[str, ...] = ()
    sso_tenants: tuple[str, ...] = ()
    sso_domains: Mapping[str, str] = field(default_factory=dict)
    template: Template = field(default_factory=Template)
    flow: FlowRules = field(default_factory=FlowRules)
    brand: Brand = field(default_factory=Brand)
    templates_folder: str = ""

    def offers(self, method: Method) -> bool:
        return method in self.methods
