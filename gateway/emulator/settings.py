"""What can be switched while the emulator runs, as pydantic models that say what they accept."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gateway.emulator.web_addresses import is_web_address

Algorithm = Literal["RS256", "ES256"]
DAY_S = 24 * 3600
WEEK_S = 7 * DAY_S
FOUR_WEEKS_S = 4 * WEEK_S


class Strict(BaseModel):
    """A value read from a file or a request: no unknown names, no silent conversions, no changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Settings(Strict):
    """How people sign in, and how sessions are made and delivered."""

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
    # Of the session token after a step-up, the one with `su`.
    step_up_ttl_s: int = Field(default=600, ge=1, le=FOUR_WEEKS_S)
    # One-time codes: how long they live, and after how many wrong ones they are void.
    code_ttl_s: int = Field(default=180, ge=1, le=DAY_S)
    code_attempts: int = Field(default=5, ge=1, le=100)
    # Magic, enchanted and embedded links; an invitation lives longer.
    link_ttl_s: int = Field(default=180, ge=1, le=FOUR_WEEKS_S)
    invitation_ttl_s: int = Field(default=WEEK_S, ge=1, le=FOUR_WEEKS_S)
    # Who was sent something has to wait this long for the next.
    send_wait_s: float = Field(default=1.0, ge=0, le=3600)
    reset_method: Literal["magiclink", "otp", "enchantedlink"] = "magiclink"
    # What a provider's sign-in is exchanged for a session with.
    exchange_code_ttl_s: int = Field(default=60, ge=1, le=3600)
    # Flows: how long one may take, and the version that is published; a browser that began with another starts again.
    flow_ttl_s: int = Field(default=600, ge=1, le=DAY_S)
    flow_version: int = Field(default=1, ge=0)
    # Where people are sent when the request does not say: by links, and back from providers.
    magic_link_url: str = ""
    enchanted_link_url: str = ""
    sign_in_url: str = ""
    # Where browsers reach this emulator, if that is not where its clients do.
    public_url: str = ""

    @field_validator("magic_link_url", "enchanted_link_url", "sign_in_url", "public_url")
    @classmethod
    def _is_empty_or_web_address(cls, url: str) -> str:
        if url and not is_web_address(url):
            raise ValueError("must be an absolute http or https URL, or empty")
        return url


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
