"""What an endpoint under `/.auth/` answers, and how it reads what was sent to it."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote

from gateway.core.errors import IdentityProviderBusy, IdentityProviderError
from gateway.core.limits import NS_PER_S, whole_seconds
from gateway.core.model import Reason, Refuse, RequestFacts
from gateway.doors.answers import Answer, is_navigation

# Two tokens, each as large as any may be.
BODY_BYTES = 40 * 1024

Body = Callable[[], Awaitable[bytes | Reason]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer or a refusal, with the cookies that go out beside either and what to do once they have.

    reason: why an answer is a refusal nonetheless, shown as a page with its form or spelt as others' clients read it.
    """

    answer: Answer | Refuse
    cookies: tuple[bytes, ...] = ()
    written: Callable[[], None] = lambda: None
    subject: str = ""
    reason: Reason | None = None


Endpoint = Callable[[RequestFacts, Body], Awaitable[Outcome]]
Endpoints = Mapping[str, Mapping[str, Endpoint]]
"""By path below `/.auth/`, then by method; GET serves HEAD."""


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a posted form, a JSON object or a query; texts only."""

    fields: Mapping[str, str] = field(repr=False)

    def text(self, name: str) -> str:
        return self.fields.get(name, "")


async def read_form(facts: RequestFacts, body: Body) -> Form | Refuse:
    """The fields of a POST: a form's, or the texts of a JSON object."""
    raw = await body()
    if isinstance(raw, Reason):
        return Refuse(raw)
    kind = _media_type(facts)
    try:
        text = raw.decode("utf-8")
        if kind == b"application/json":
            document = json.loads(text)
            fields = {k: v for k, v in document.items() if isinstance(v, str)}
        elif kind == b"application/x-www-form-urlencoded":
            fields = {k: v[-1] for k, v in parse_qs(text, keep_blank_values=True, max_num_fields=50).items()}
        else:
            detail = "Send application/x-www-form-urlencoded or application/json."
            return Refuse(Reason.BAD_REQUEST, detail=detail)
    except (ValueError, AttributeError, RecursionError):
        return Refuse(Reason.BAD_REQUEST, detail="The body is not what its Content-Type says.")
    return Form(fields)


def read_query(facts: RequestFacts) -> Form | Refuse:
    try:
        return fields_of(facts.target.query or "")
    except ValueError:
        return Refuse(Reason.BAD_REQUEST, detail="The query has too many fields.")


def fields_of(query: str) -> Form:
    """The last of each field; raises ValueError for more fields than any address of ours has."""
    fields = parse_qs(query, keep_blank_values=True, max_num_fields=20)
    return Form({name: values[-1] for name, values in fields.items()})


def wants_page(facts: RequestFacts) -> bool:
    """A browser that goes somewhere or posts a form, as opposed to a script's or a program's request."""
    mode = facts.one(b"sec-fetch-mode")
    if _media_type(facts) == b"application/json":
        return False
    return is_navigation(facts) or (mode or b"").lower() == b"navigate" or b"text/html" in (facts.one(b"accept") or b"")


def is_from_browser(facts: RequestFacts) -> bool:
    """Whether any page may have sent this; browsers put Fetch Metadata or an Origin on every post."""
    return any(facts.one(name) is not None for name in (b"sec-fetch-site", b"sec-fetch-mode", b"origin"))


def goes_to(place: str) -> Answer:
    """A 303 to a path on this site."""
    return Answer(303, (b"Location: " + location(place), b"Cache-Control: no-store"))


def location(place: str) -> bytes:
    """A path on this site as header lines spell it."""
    return quote(place.encode("latin-1"), safe="/?%:@!$&'()*+,;=-._~|[]{}^`\"\\").encode("ascii")


def refused_by(fault: IdentityProviderError) -> Refuse:
    """The refusal that a fault of Descope's becomes."""
    busy = isinstance(fault, IdentityProviderBusy)
    reason = Reason.IDENTITY_PROVIDER_BUSY if busy else Reason.IDENTITY_PROVIDER_UNAVAILABLE
    return Refuse(reason, retry_after_s=max(whole_seconds(int((fault.retry_after_s or 1.0) * NS_PER_S)), 1))


def _media_type(facts: RequestFacts) -> bytes:
    return (facts.one(b"content-type") or b"").partition(b";")[0].strip().lower()
