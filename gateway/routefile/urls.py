"""URLs, hosts and networks as the route file writes them, in their only spelling. ValueError carries the remedy."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network
from urllib.parse import SplitResult, urlsplit

from gateway.core.model import Network
from gateway.core.patterns import canonical_host

_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL_TEXT = re.compile(r"[!-~]+")
_PATH_TEXT = re.compile(r"(/([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*")


def exact_host(text: str) -> str:
    host = canonical_host(text)
    if not host or host.startswith("*."):
        raise ValueError(
            "whole names stand here, such as app.example.com; wildcards belong into a route's `match.host`"
        )
    return host


def network(text: str) -> Network:
    """`10.0.0.0/8`, `::1`, an address alone being a network of one."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        loose = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("a network is an address with the length of its prefix, such as 10.0.0.0/8") from None
    raise ValueError(f"the address has bits behind its prefix; did you mean {loose}?")


def trusted_network(text: str) -> Network:
    found = network(text)
    if found.prefixlen == 0:
        raise ValueError(
            "this trusts everybody, so that anyone could claim any address; name the addresses of your proxies"
        )
    return found


# --- URLs -----------------------------------------------------------------------------------------------------------


def _split(text: str, example: str) -> tuple[SplitResult, int | None]:
    """An absolute http or https URL with a host. What is wrong is said without quoting it: it may hold a password."""
    if not _URL_TEXT.fullmatch(text) or "\\" in text:
        raise ValueError(f"a URL has no blanks, controls, backslashes or letters beyond ASCII; write it like {example}")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError(f"the host or port of this URL cannot be read; write it like {example}") from None
    if url.scheme not in _DEFAULT_PORTS or not url.hostname:
        raise ValueError(f"this is no http or https URL with a host; write it like {example}")
    if "@" in url.netloc:
        raise ValueError("a URL with user name and password is not accepted; take the part before the @ away")
    if "?" in text or "#" in text:
        raise ValueError("a URL with a query or a fragment is not accepted; end it before the ? or #")
    if port == 0 or url.netloc.endswith(":"):
        raise ValueError(f"the port of this URL is none; write it like {example}")
    canonical_host(f"[{url.hostname}]" if ":" in url.hostname else url.hostname)
    return url, port


def _authority(url: SplitResult, port: int | None) -> str:
    """Host and port as clients send them: in lower case, the scheme's own port left out."""
    host = canonical_host(f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or "")
    return host if port in (None, _DEFAULT_PORTS[url.scheme]) else f"{host}:{port}"


def origin(text: str) -> str:
    """`https://app.example.com[:port]` as browsers spell it in `Origin`."""
    url, port = _split(text, "https://app.example.com")
    spelt = f"{url.scheme}://{_authority(url, port)}"
    if url.path:
        raise ValueError(f"an origin has no path, not even a slash; write {spelt}")
    return spelt


def cors_origin(text: str) -> str:
    if text == "*":
        return text
    if text.lower() == "null":
        raise ValueError("`null` is the origin of every sandboxed page of anybody; name the origins that you mean")
    return origin(text)


def base_url(text: str) -> str:
    """Where Descope is asked, without trailing slash; "" leaves it to the SDK's own rule."""
    if not text:
        return ""
    url, port = _split(text, "https://api.descope.com")
    return f"{url.scheme}://{_authority(url, port)}{_base_path(url.path)}"


def login_url(text: str) -> str:
    """A path on this site, or the whole URL of a sign-in page somewhere else."""
    if not text.startswith("/"):
        bare = re.split(r"[?#]", text, maxsplit=1)[0]
        _split(bare, "https://login.example.com/ or /.auth/login")
        return text
    if text.startswith("//") or "\\" in text or not _URL_TEXT.fullmatch(text):
        raise ValueError("a path on this site begins with one slash and has no blanks or backslashes: /.auth/login")
    return text


def local_path(text: str) -> str:
    """A path on this site."""
    if not text.startswith("/") or text.startswith("//") or "\\" in text or not _URL_TEXT.fullmatch(text):
        raise ValueError("a path on this site begins with one slash and has no blanks or backslashes: /static/logo.svg")
    return text


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    authority: str
    address: str = ""
    port: int = 0
    socket_path: str = ""
    tls: bool = False
    base_path: str = ""


def upstream_address(text: str) -> UpstreamAddress:
    """`http://host:port/base`, `https://host` or `unix:/run/app.sock`."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        # 107: what fits into a socket address (unix(7)), its final NUL apart.
        if not path.startswith("/") or not path.isprintable() or len(path.encode("utf-8")) > 107:
            raise ValueError("a Unix socket is an absolute path of at most 107 bytes, such as unix:/run/app.sock")
        return UpstreamAddress(authority="localhost", socket_path=path)
    url, port = _split(text, "http://127.0.0.1:9000 or unix:/run/app.sock")
    host = (url.hostname or "").lower()
    return UpstreamAddress(
        authority=_authority(url, port),
        address=str(IPv6Address(host)) if ":" in host else host,
        port=port or _DEFAULT_PORTS[url.scheme],
        tls=url.scheme == "https",
        base_path=_base_path(url.path),
    )


def _base_path(path: str) -> str:
    base = path.rstrip("/")
    segments = base.split("/")[1:]
    plain = [segment.lower().replace("%2e", ".") for segment in segments]
    if (
        not _PATH_TEXT.fullmatch(base)
        or "" in plain
        or "." in plain
        or ".." in plain
        or re.search(r"%(2f|5c|00)", base, re.IGNORECASE)
    ):
        raise ValueError("the path of this URL has `//`, `.` or `..` segments or characters that need an escape")
    return base
