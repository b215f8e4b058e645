"""How the pages look: our templates, or those of `login.brand.templates` in their place, and the brand's colours.

Colours come from outside and are made readable here: the writing on a button is black or white, whichever can be read
on it, and links are written in the accent only where that can be read on the page.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jinja2

from gateway.core.signin import TEXTS, Brand, LoginRules, Method
from gateway.telemetry import log

STYLE_PATH = "/.auth/style.css"
WAIT_PATH = "/.auth/wait.js"
# Below `/.auth/`: where each method begins. OAuth begins at its providers instead.
METHOD_PAGES = {
    Method.PASSWORD: "password/signin",
    Method.OTP: "otp/send",
    Method.MAGIC_LINK: "magiclink/send",
    Method.ENCHANTED_LINK: "enchantedlink/send",
    Method.SSO: "sso/start",
    Method.TOTP: "totp/verify",
    Method.FLOW: "flow",
}
# As style.css has them: what links are written on.
LIGHT_PAPER, DARK_PAPER = "#ffffff", "#1b212b"
_READABLE = 4.5  # WCAG 2.2, 1.4.3
_FOLDER = Path(__file__).parent / "templates"
_SPELLINGS = {"github": "GitHub", "gitlab": "GitLab", "linkedin": "LinkedIn"}
# What a template that is not ours may fail with while it is filled in.
_TEMPLATE_FAULTS = (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Look:
    """Fills in pages. style: the style sheet as it is served."""

    brand: Brand
    style: bytes
    _ours: jinja2.Environment = field(repr=False)
    _theirs: jinja2.Environment | None = field(default=None, repr=False)

    def page(self, template: str, **values: object) -> str:
        """A template of the folder that fails gives way to ours: nobody is kept from signing in by it."""
        if self._theirs is not None:
            try:
                return self._theirs.get_template(template).render(values)
            except _TEMPLATE_FAULTS as err:
                log.error("a template of login.brand.templates fails", template=template, cause=type(err).__name__)
        return self._ours.get_template(template).render(values)


def look_of(login: LoginRules) -> Look:
    ours: jinja2.BaseLoader = jinja2.FileSystemLoader(_FOLDER)
    loader, theirs = ours, None
    if login.templates_folder:
        # A template of theirs may extend ours of the same name, by its name below `ours/`.
        prefixed = jinja2.PrefixLoader({"ours": ours})
        loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(login.templates_folder), ours, prefixed])
        theirs = _pages(loader, login.brand)
    plain = _pages(ours, login.brand)
    sheet, _, _ = loader.get_source(plain, "style.css")
    return Look(login.brand, (sheet + _colours(login.brand)).encode(), plain, theirs)


@cache
def plain_look() -> Look:
    """Ours alone, for what has no route file to say otherwise."""
    return look_of(LoginRules())


def _pages(loader: jinja2.BaseLoader, brand: Brand) -> jinja2.Environment:
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    texts = {**TEXTS, **brand.texts}
    pages.globals |= {
        "brand": brand,
        "say": texts.__getitem__,
        "style_path": STYLE_PATH,
        "wait_path": WAIT_PATH,
        "method_pages": METHOD_PAGES,
        "provider_name": lambda provider: _SPELLINGS.get(provider, provider[:1].upper() + provider[1:]),
    }
    return pages


def _colours(brand: Brand) -> str:
    if not brand.accent:
        return ""
    dark = _accent(brand.accent_dark or brand.accent, DARK_PAPER)
    light = _accent(brand.accent, LIGHT_PAPER)
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"


def _accent(accent: str, paper: str) -> str:
    on_accent = max("#ffffff", "#000000", key=lambda ink: contrast(ink, accent))
    link = accent if contrast(accent, paper) >= _READABLE else "var(--ink)"
    return f"--accent: {accent}; --on-accent: {on_accent}; --link: {link};"


def contrast(one: str, other: str) -> float:
    """How well one colour can be read on another, from 1 to 21 (WCAG 2.2)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
