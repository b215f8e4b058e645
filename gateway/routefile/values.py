"""The small languages of the route file: durations, rates, header templates and so on. ValueError has the remedy."""

import re
from difflib import get_close_matches
from urllib.parse import quote, urlsplit

from gateway.core.facts import METHOD
from gateway.core.headers import HOP_BY_HOP, folded, is_ours
from gateway.core.model import (
    ConstantTenant,
    HostLabel,
    PathCapture,
    Rate,
    Reason,
    SelectedTenant,
    Target,
    Template,
    TenantSource,
)
from gateway.core.patterns import Rank, pattern_pieces
from gateway.core.target import canonical
from gateway.routefile.urls import exact_host

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_PERIOD_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LONGEST_S = 30 * 86_400.0
_LARGEST_BYTES = 1024**4
_MOST_REQUESTS = 1_000_000

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PROJECT_ID = re.compile(r"P[A-Za-z0-9]{19,63}")
_HEADER_TEXT = re.compile(r"[ -~]*")


def duration_s(text: str) -> float:
    """`500ms`, `30s`, `5m`, `1h`, `2d` in seconds; nothing longer than 30 days."""
    found = re.fullmatch(r"([0-9]{1,9})(ms|s|m|h|d)", text)
    if found is None:
        raise ValueError("a duration is a whole number and a unit (ms, s, m, h, d), such as 30s")
    seconds = int(found[1]) * _SECONDS[found[2]]
    if seconds > _LONGEST_S:
        raise ValueError("a duration is at most 30d")
    return seconds


def wait_s(text: str) -> float:
    """A duration that is not nothing."""
    seconds = duration_s(text)
    if not seconds:
        raise ValueError("this duration has to be longer than nothing; write 1ms or more")
    return seconds


def size_bytes(text: str) -> int:
    """`512B`, `64KiB`, `10MiB`, `1GiB` in bytes; nothing larger than 1024GiB."""
    found = re.fullmatch(r"([0-9]{1,15})(B|KiB|MiB|GiB)", text)
    if found is None:
        near = re.fullmatch(r"([0-9]+) ?([KMG])i?[bB]?", text, re.IGNORECASE)
        hint = f"; did you mean {near[1]}{near[2].upper()}iB?" if near else ""
        raise ValueError(f"a size is a whole number and a unit (B, KiB, MiB, GiB), such as 10MiB{hint}")
    size = int(found[1]) * _BYTES[found[2]]
    if size > _LARGEST_BYTES:
        raise ValueError("a size is at most 1024GiB")
    return size


def rate(text: str, burst: int | None = None) -> Rate:
    """`100/m`, `20/s`, `1000/h`; without `burst` as many at once as the number says."""
    found = re.fullmatch(r"([0-9]{1,9})/(s|m|h)", text)
    if found is None or not 0 < int(found[1]) <= _MOST_REQUESTS:
        raise ValueError(f"a rate is a number from 1 to {_MOST_REQUESTS} and a period (s, m, h), such as 100/m")
    number = int(found[1])
    # Rounded up: rounded down, a few more than the number would get through in a period.
    return Rate(every_ns=-(-_PERIOD_NS[found[2]] // number), burst=burst or number)


def share(text: str) -> float:
    """`20%` as 0.2; from 0% to 100%."""
    found = re.fullmatch(r"([0-9]{1,3})%", text)
    if found is None or int(found[1]) > 100:
        raise ValueError("a share is a whole number from 0 to 100 with its sign, such as 20%")
    return int(found[1]) / 100


def statuses(value: object) -> tuple[int, int]:
    """`200-399`, or one status: the lowest and the highest."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    found = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", text)
    if found is None or int(found[1]) < 200 or int(found[2] or found[1]) < int(found[1]):
        raise ValueError("expected is a status from 200 to 599, or the first and the last of them, such as 200-399")
    return int(found[1]), int(found[2] or found[1])


def check_path(text: str) -> str:
    """What a health check asks for."""
    if not re.fullmatch(r"/[!-\"$-~]*", text):
        raise ValueError("a path begins with a slash and has no blanks, no # and no letters beyond ASCII: /healthz")
    return text


def file_path(text: str) -> str:
    """The place of a file, the same wherever the gateway is started."""
    if not text.startswith("/") or not text.isprintable():
        raise ValueError("a file is named by its absolute path, such as /etc/gateway/ca.pem")
    return text


def plain_word(text: str) -> str:
    """What stands in a token and is compared byte for byte: an issuer, an audience."""
    if not re.fullmatch(r"[!-~]{1,200}", text):
        raise ValueError(
            "this is compared byte for byte: 1 to 200 letters, digits and signs, no blanks, none beyond ASCII"
        )
    return text


def audience(value: object, own_name: str = "") -> str:
    """`true` for the upstream's own name, `false` for none (""), or a text."""
    if isinstance(value, bool):
        return own_name if value else ""
    if not isinstance(value, str):
        raise ValueError("true, false or the audience is wanted here")  # noqa: TRY004  # pydantic collects this one
    if value.lower() in ("true", "false", "yes", "no", "on", "off"):
        raise ValueError(
            f"{value} in quotes, or from a variable, is a text; write true or false plainly, or an audience"
        )
    return plain_word(value)


def project_id(text: str) -> str:
    if not _PROJECT_ID.fullmatch(text):
        raise ValueError(
            "a Descope project id is a P and 19 to 63 letters and digits; the console shows it under Project"
        )
    return text


def name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError("a name is 1 to 64 letters, digits, `.`, `_` and `-`, and begins with a letter or digit")
    return text


# --- headers and templates ------------------------------------------------------------------------------------------


def header_name(text: str) -> str:
    if not TOKEN.fullmatch(text):
        raise ValueError(f"{text[:60]!a} is no header name; it has letters, digits and `-`, such as X-Job-Caller")
    return text


def own_header(text: str) -> str:
    """A header name that a route may set or remove: not one that the gateway or the connection speaks for."""
    raw = folded(header_name(text).lower().encode("ascii"))
    if raw in HOP_BY_HOP:
        raise ValueError(f"{text} belongs to one connection and never travels on; take it away")
    if is_ours(raw):
        raise ValueError(f"{text} is the gateway's own to say; choose another name")
    return text


def set_header(text: str) -> str:
    if own_header(text).lower() == "cookie":
        raise ValueError("Cookie would replace every cookie of the client; send what the service needs in a header")
    return text


_SIMPLE_NAMES = (
    *(
        f"identity.{part}"
        for part in ("subject", "email", "name", "tenant", "method", "key_id", "roles", "permissions")
    ),
    *(f"request.{part}" for part in ("id", "host", "client")),
)


def template(text: str) -> Template:
    """`{identity.subject}` and its kind stand for what is known of a request; `{{` and `}}` are plain braces."""
    if not _HEADER_TEXT.fullmatch(text):
        raise ValueError("a header value has no line ends, controls or letters beyond ASCII")
    if not text or text != text.strip():
        raise ValueError("a header value is not empty and has no blanks around it; to leave a header out use `remove`")
    texts, names = [""], []
    for part in re.split(r"(\{\{|\}\}|\{[^{}]*\})", text):
        if part in ("{{", "}}"):
            texts[-1] += part[0]
        elif part.startswith("{") and part.endswith("}"):
            names.append(_template_name(part[1:-1]))
            texts.append("")
        elif "{" in part or "}" in part:
            raise ValueError("a brace stands alone; write {identity.subject} and its kind, and a plain brace twice: {{")
        else:
            texts[-1] += part
    return Template(tuple(texts), tuple(names))


def _template_name(text: str) -> str:
    known = text in _SIMPLE_NAMES
    known = known or (text.startswith("path.") and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text[5:]) is not None)
    if text.startswith("identity.claims.") and len(text) > 16:
        claim_name(text.removeprefix("identity.claims."))
        known = True
    if known:
        return text
    near = get_close_matches(text, _SIMPLE_NAMES, 1)
    hint = (
        f"did you mean {{{near[0]}}}?"
        if near
        else f"there are {', '.join(_SIMPLE_NAMES)}, identity.claims.NAME, path.NAME"
    )
    raise ValueError(f"{{{text}}} names nothing known; {hint}")


def claim_name(text: str) -> str:
    if not text or text.split(".", maxsplit=1)[0] == "nsec":
        raise ValueError(
            "claims under nsec come from whoever asked for the token, so they prove nothing; use a root claim"
        )
    return text


def tenant_source(text: str) -> TenantSource:
    """`{path.NAME}`, `{host.label.N}`, `selected`, or the id of a tenant."""
    if text == "selected":
        return SelectedTenant()
    found = re.fullmatch(r"\{(?:path\.(?P<path>[A-Za-z_][A-Za-z0-9_]*)|host\.label\.(?P<label>[0-9]{1,2}))\}", text)
    if found is not None:
        return PathCapture(found["path"]) if found["path"] else HostLabel(int(found["label"]))
    if not text or not text.isprintable() or any(c in text for c in "{} "):
        raise ValueError("a tenant is {path.NAME}, {host.label.N}, `selected`, or the id of one tenant")
    return ConstantTenant(text)


# --- requests ---------------------------------------------------------------------------------------------------

# Registered (RFC 9110, RFC 5789, WebDAV) or widely used; others are passed on too, with a warning.
_KNOWN = """
    GET HEAD POST PUT PATCH DELETE OPTIONS QUERY PURGE ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK LOCK
    MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH REBIND REPORT SEARCH
    UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL
"""
KNOWN_METHODS = frozenset(_KNOWN.split())


def method(text: str) -> str:
    if text in ("CONNECT", "TRACE"):
        raise ValueError(f"{text} is never forwarded; take it away")
    if not TOKEN.fullmatch(text):
        raise ValueError("a method is a word such as GET")
    if text != text.upper():
        raise ValueError(f"methods are told apart by case; did you mean {text.upper()}?")
    if not METHOD.fullmatch(text):
        raise ValueError("a method is letters and hyphens, at most 32; no other reaches a route")
    return text


def route_path(text: str) -> str:
    """A path pattern that a route may have."""
    first = pattern_pieces(text)[0]
    if first.rank is Rank.LITERAL and first.text == ".auth":
        raise ValueError("paths under /.auth are the gateway's own and are never forwarded; choose another path")
    return text


def prefix_path(text: str) -> str:
    """What `strip_prefix` takes away, as targets spell it: `/jobs`."""
    raw = quote(text, safe="".join(map(chr, range(0x21, 0x7F)))).encode("ascii")
    target = canonical(raw)
    if (
        not isinstance(target, Target)
        or target.query is not None
        or target.segments[-1] == ""
        or "*" in text
        or "{" in text
    ):
        raise ValueError("a prefix is a plain path that begins with a slash and does not end with one, such as /jobs")
    return target.path


def request_line(text: str) -> tuple[str, str, str]:
    """`GET /path` or `GET http://host/path`: method, target, and the host ("" where there is none)."""
    method_, blank, target = text.partition(" ")
    if not blank or not TOKEN.fullmatch(method_) or not target.isprintable() or " " in target:
        raise ValueError("a request is a method and a path with one blank between them, such as GET /admin/x")
    host = ""
    if target.startswith(("http://", "https://")):
        url = urlsplit(target)
        host = exact_host(url.netloc.rpartition("@")[2].partition(":")[0])
        target = target.split(url.netloc, 1)[1] or "/"
    if not target.startswith("/"):
        raise ValueError("the path of a request begins with a slash, such as GET /admin/x")
    return method_, target, host


def cookie_name(text: str) -> str:
    if not TOKEN.fullmatch(text) or len(text) > 64:
        raise ValueError("a cookie name is 1 to 64 letters, digits, `_`, `-` and `.`")
    return text


def cookie_path(text: str) -> str:
    if not re.fullmatch(r"/[!-:<-~]*", text):
        raise ValueError("a cookie path begins with a slash and has no blanks or `;`, such as /")
    return text


def expected(value: object) -> tuple[int, Reason | None]:
    """`403 role_missing`, `403`, 200 or `admit`: the status and, where it is said, the reason."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if text in ("admit", "200"):
        return 200, None
    status, _, word = text.partition(" ")
    words = {known.value: known for known in Reason}
    reason = words.get(word)
    if word and reason is None:
        near = get_close_matches(word, words, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{word[:60]!a} is no reason{hint}")
    if reason is not None and str(reason.status) != status:
        raise ValueError(f"the status of {word} is {reason.status}; write {reason.status} {word}")
    if status not in {str(known.status) for known in Reason}:
        raise ValueError(
            "expected is `admit`, `200`, or the status of a refusal with or without reason: 403 role_missing"
        )
    return int(status), reason


def key_id(text: str) -> str:
    if not re.fullmatch(r"K[A-Za-z0-9]{1,63}", text):
        raise ValueError("the id of an access key is a K with letters and digits; it is not the key itself")
    return text


_COLOUR = re.compile(r"#([0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})")


def colour(text: str) -> str:
    """`#0b5cad` or `#05a`."""
    if not _COLOUR.fullmatch(text):
        raise ValueError('a colour is # with three or six hexadecimal digits, such as "#0b5cad"')
    return text
