"""Descope's error shape, `{errorCode, errorDescription, errorMessage}`, and the few codes that are public.

Where Descope's own code is not known, the emulator answers `EMU` and the status, so that nobody takes a made-up code
for one of Descope's.
"""

from http import HTTPStatus

BAD_REQUEST = "E011001"
INVALID_ARGUMENT = "E011002"
NOT_VALID = "E011003"
MISSING_ARGUMENT = "E011004"
WRONG_CODE = "E061102"
TOO_MANY_CODES = "E061103"
CODE_EXPIRED = "E061104"
ALREADY_EXISTS = "E062107"
UNKNOWN_PERSON = "E062108"  # seen in clients' sources, not in Descope's own list
LINK_PENDING = "E062503"
LINK_EXPIRED = "E062504"
PASSWORD_EXPIRED = "E062909"  # noqa: S105 - a code
LINK_UNKNOWN = "E063010"
FLOW_IS_OLD = "E102004"
FLOW_TIMED_OUT = "E103205"
FLOW_NONCE = "E108201"
NO_SUCH_PERSON = "E112102"  # to management
RATE_LIMITED = "E130429"


class ApiError(Exception):
    """One answer of the API other than success; `description` is sent to the client and never holds a credential."""

    def __init__(self, status: int, description: str, *, code: str = "", retry_after_s: int | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.code = code or own_code(status)
        self.retry_after_s = retry_after_s


def own_code(status: int) -> str:
    """The code for what Descope's own code is not known for."""
    return RATE_LIMITED if status == HTTPStatus.TOO_MANY_REQUESTS else f"EMU{status}"


def error_body(status: int, code: str, description: str) -> dict[str, object]:
    """The body of an error as Descope's clients read it."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unassigned status"
    return {"errorCode": code, "errorDescription": description, "errorMessage": phrase}


def invalid(description: str) -> ApiError:
    """An argument that is there and wrong."""
    return ApiError(400, description, code=INVALID_ARGUMENT)


def not_valid(description: str) -> ApiError:
    """An argument that is well-formed and refused by a rule, such as a password against the policy."""
    return ApiError(400, description, code=NOT_VALID)


def missing(name: str) -> ApiError:
    """An argument that has to be there and is not."""
    return ApiError(400, f"The field {name!r} is missing", code=MISSING_ARGUMENT)


def unauthenticated(description: str, code: str = "") -> ApiError:
    """A credential that is absent, unknown, spent or expired."""
    return ApiError(401, description, code=code)


def already_exists() -> ApiError:
    """A login id that somebody has."""
    return ApiError(400, "The user exists already", code=ALREADY_EXISTS)
