"""What can be switched while the emulator runs, as pydantic models that say what they accept."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Algorithm = Literal["RS256", "ES256"]
FOUR_WEEKS_S = 4 * 7 * 24 * 3600


class Strict(BaseModel):
    """A value read from a file or a request: no unknown names, no silent conversions, no changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Settings(Strict):
    """How sessions are made and delivered."""

    session_ttl_s: int = Field(default=600, ge=1, le=FOUR_WEEKS_S)
    refresh_ttl_s: int = Field(default=FOUR_WEEKS_S, ge=1, le=10 * FOUR_WEEKS_S)
    # on: each refresh token renews once. grace: a spent one still answers, with its successor, for `grace_s`.
    refresh_rotation: Literal["off", "on", "grace"] = "off"
    grace_s: float = Field(default=10.0, ge=0, le=3600)
    # cookies: the tokens travel as Set-Cookie alone and the body has none.
    delivery: Literal["body", "cookies"] = "body"
    algorithm: Algorithm = "RS256"
    # id: `iss` is the bare project id, Descope's default. url: the form of its AWS API Gateway template.
    issuer: Literal["id", "url"] = "id"
    session_audience: str | None = None
    refresh_audience: str | None = None


class PasswordPolicy(Strict):
    """What a new password has to have."""

    min_length: int = Field(default=8, ge=1, le=128)
    lowercase: bool = False
    uppercase: bool = False
    number: bool = False
    non_alphanumeric: bool = False


def problems(error: ValidationError) -> list[str]:
    """Each problem as `field: what is accepted`, without the value that was given."""
    found = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        where = ".".join(str(part) for part in problem["loc"]) or "the whole"
        found.append(f"{where}: {problem['msg'].removeprefix('Value error, ')}")
    return found
