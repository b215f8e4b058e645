"""A request as the endpoints see it and what they answer; nothing here knows the web server."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from gateway.emulator.emulator import Emulator
from gateway.emulator.errors import BAD_REQUEST, ApiError, invalid, missing, unauthenticated
from gateway.emulator.traffic import Operation

DS = "DS"
DSR = "DSR"


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    path: str
    query: Mapping[str, str]
    raw_body: bytes = field(repr=False)
    raw_authorization: str = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)
    address: str
    base_url: str
    flow_nonce: str = field(default="", repr=False)

    def fields(self) -> "Fields":
        """The JSON object in the body; an empty body is an empty object."""
        try:
            body = json.loads(self.raw_body or b"{}")
        except (ValueError, RecursionError) as err:
            raise ApiError(400, "The body is not JSON", code=BAD_REQUEST) from err
        if not isinstance(body, dict):
            raise ApiError(400, "The body must be a JSON object", code=BAD_REQUEST)
        return Fields(body)

    def queried(self) -> "Fields":
        """The query's parameters, read as fields are."""
        return Fields(self.query)

    def form(self) -> "Fields":
        """The fields of a posted form; of several with one name the last."""
        try:
            posted = parse_qs(self.raw_body.decode("utf-8"), keep_blank_values=True, max_num_fields=50)
        except ValueError as err:
            raise ApiError(400, "The body is not a form", code=BAD_REQUEST) from err
        return Fields({name: values[-1] for name, values in posted.items()})

    def secret(self, project_id: str) -> str:
        """What follows the project id in the bearer, without an auth management key; "" when nothing does.

        The form is `projectId[:refresh token or key][:auth management key]`.
        """
        scheme, _, bearer = self.raw_authorization.partition(" ")
        project, _, rest = bearer.strip().partition(":")
        if scheme.lower() != "bearer" or not project:
            raise unauthenticated("The Authorization header must be 'Bearer' and the project id")
        if project != project_id:
            raise unauthenticated("There is no such project here")
        return rest.partition(":")[0]


@dataclass(frozen=True, slots=True)
class SetCookie:
    """A cookie to set; a life of 0 takes it away."""

    name: str
    value: str = field(repr=False)
    max_age_s: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send back: JSON, or text of another type."""

    body: object = field(default_factory=dict, repr=False)
    status: int = 200
    cookies: tuple[SetCookie, ...] = ()
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Serve = Callable[[Emulator, Call], Answer]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers on a path. The control surface and the root page have no operation: never logged, never faulty."""

    serve: Serve
    operation: Operation | None


Endpoints = Mapping[tuple[str, str], Endpoint]  # by method and path


class Fields:
    """A JSON object read by name and type; null is absent, unknown names do not matter, a wrong type is ApiError."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {name: value for name, value in values.items() if value is not None}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def given(self) -> dict[str, Any]:
        """All that is there, unread."""
        return dict(self._values)

    def text(self, name: str) -> str:
        """A text that must be there and not be empty."""
        value = self.maybe_text(name)
        if not value:
            raise missing(name)
        return value

    def maybe_text(self, name: str) -> str:
        """A text, or "" when absent."""
        return str(self._typed(name, str, "a text", ""))

    def texts(self, name: str) -> list[str]:
        """A list of texts, or an empty one."""
        values: list[Any] = self._typed(name, list, "a list of texts", [])
        if not all(isinstance(value, str) for value in values):
            raise invalid(f"The field {name!r} must be a list of texts")
        return list(dict.fromkeys(values))

    def mapping(self, name: str) -> dict[str, Any]:
        """An object, or an empty one."""
        return dict(self._typed(name, dict, "an object", {}))

    def part(self, name: str) -> "Fields":
        """The fields of an object within."""
        return Fields(self.mapping(name))

    def parts(self, name: str) -> "list[Fields]":
        """The fields of each object in a list."""
        values: list[Any] = self._typed(name, list, "a list of objects", [])
        if not all(isinstance(value, dict) for value in values):
            raise invalid(f"The field {name!r} must be a list of objects")
        return [Fields(value) for value in values]

    def flag(self, name: str) -> bool:
        """True or false; absent is false."""
        return bool(self._typed(name, bool, "true or false", False))

    def number(self, name: str) -> int:
        """A whole number that is not negative; absent is 0."""
        value: int = self._typed(name, int, "a whole number", 0)
        if isinstance(value, bool) or value < 0:
            raise invalid(f"The field {name!r} must be a whole number, 0 or more")
        return value

    def _typed(self, name: str, kind: type, wanted: str, absent: Any) -> Any:
        value = self._values.get(name, absent)
        if not isinstance(value, kind):
            raise invalid(f"The field {name!r} must be {wanted}")
        return value
