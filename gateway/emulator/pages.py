"""The emulator's own pages: plain HTML that works without scripts, with nothing from anywhere else."""

from datetime import UTC, datetime
from pathlib import Path

import jinja2

from gateway.emulator.wire import Answer

STYLE_PATH = "/_emulator/pages.css"
_FOLDER = Path(__file__).parent / "templates"
# No `form-action`: browsers hold it against the redirect after a form, too, which leaves for the application.
# `same-origin`: without a Referrer a form would be posted with `Origin: null`, like another site's.
_HEADERS = (
    ("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
)
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template: str, status: int = 200, **values: object) -> Answer:
    """A page of the emulator's."""
    text = _TEMPLATES.get_template(template).render(values, style_path=STYLE_PATH)
    return Answer(text, status, content_type="text/html", headers=_HEADERS)


def style() -> Answer:
    """The one style sheet."""
    return Answer((_FOLDER / "pages.css").read_text("utf-8"), content_type="text/css")


def gone_to(url: str) -> Answer:
    """A redirect after a form."""
    return Answer("", 303, content_type="text/plain", headers=(("Location", url),))


def _clock(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%H:%M:%S UTC")


_TEMPLATES.filters["clock"] = _clock
