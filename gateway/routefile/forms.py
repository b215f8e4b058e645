"""The leaves of the route file's shape: texts held to their small language by pydantic, and the base of its models."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from gateway.routefile import urls, values


@dataclass(frozen=True, slots=True)
class Form:
    """Asks `read` whether a value is well formed. types: what the value may be in JSON, where it is no text."""

    read: Callable[[Any], object]
    pattern: str = ""
    types: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._asked if self.types else self._checked)

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: object) -> JsonSchemaValue:
        if self.types:
            return {"type": list(self.types)}
        return {"type": "string", "pattern": self.pattern} if self.pattern else {"type": "string"}

    def _asked(self, value: object) -> object:
        self.read(value)
        return value

    def _checked(self, value: object) -> object:
        if isinstance(value, str):
            return self._asked(value)
        if not isinstance(value, int | float):
            raise ValueError("one text is wanted here")  # noqa: TRY004  # pydantic collects this one
        self.read(str(value).lower())  # says what is missing, where it is more than quotes
        raise ValueError("a text is wanted here; put it in quotes")


@dataclass(frozen=True, slots=True)
class Declared:
    """A name that the file declares under `kind`; the validation's context has the names, unless they are in doubt."""

    kind: Literal["upstreams", "limits"]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self._known)

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: object) -> JsonSchemaValue:
        return {"type": "string"}

    def _known(self, value: object, info: core_schema.ValidationInfo[Any]) -> object:
        names: frozenset[str] | None = (info.context or {}).get(self.kind)
        if isinstance(value, str) and (names is None or value in names):
            return value
        names = names or frozenset()
        near = get_close_matches(str(value), names, 1)
        hint = f"; did you mean {near[0]!a}?" if near else ""
        raise ValueError(f"{str(value)[:60]!a} is not declared under `{self.kind}`{hint}")


def _claim_value(value: object) -> None:
    if not isinstance(value, str | int):
        raise ValueError("a claim is compared with a text, a whole number, true or false")  # noqa: TRY004  # for pydantic


# `${...}` is put in before these are judged, so an editor has to let it stand.
_OR_VARIABLE = r"|.*\$\{.*"
_DURATION = rf"^([0-9]+(ms|s|m|h|d){_OR_VARIABLE})$"

Text = Annotated[str, Field(min_length=1)]
Duration = Annotated[str, Form(values.duration_s, _DURATION)]
Wait = Annotated[str, Form(values.wait_s, _DURATION)]
Size = Annotated[str, Form(values.size_bytes, rf"^([0-9]+(B|KiB|MiB|GiB){_OR_VARIABLE})$")]
Percent = Annotated[str, Form(values.share, rf"^([0-9]{{1,3}}%{_OR_VARIABLE})$")]
RateText = Annotated[str, Form(values.rate, rf"^([0-9]+/(s|m|h){_OR_VARIABLE})$")]
Network = Annotated[str, Form(urls.network)]
Origin = Annotated[str, Form(urls.cors_origin)]
Method = Annotated[str, Form(values.method)]
HeaderName = Annotated[str, Form(values.header_name)]
OwnHeader = Annotated[str, Form(values.own_header)]
SetHeader = Annotated[str, Form(values.set_header)]
ClaimName = Annotated[str, Form(values.claim_name)]
ClaimValue = Annotated[Any, Form(_claim_value, types=("string", "integer", "boolean"))]
ProjectId = Annotated[str, Form(values.project_id, rf"^(P[A-Za-z0-9]{{19,63}}{_OR_VARIABLE})$")]
Name = Annotated[str, Form(values.name, r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
KeyId = Annotated[str, Form(values.key_id)]


class Section(BaseModel):
    """A mapping of the file: unknown keys are refused, nothing is converted."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )
