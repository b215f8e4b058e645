"""URLs that people are sent to."""

from urllib.parse import quote, urlsplit

_MAX_CHARS = 2048


def is_web_address(text: str) -> bool:
    """Whether this is an absolute http or https URL without a password in it."""
    if len(text) > _MAX_CHARS or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc


def with_parameter(url: str, name: str, value: str) -> str:
    """The URL with one more parameter in its query; its own parameters stay as they are written."""
    parts = urlsplit(url)
    addition = f"{quote(name, safe='')}={quote(value, safe='')}"
    return parts._replace(query=f"{parts.query}&{addition}" if parts.query else addition).geturl()
