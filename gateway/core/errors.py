"""The tree of faults: what breaks is raised as one of these; what a rule refuses is a value (`model.Refuse`).

GatewayError
+-- ConfigError                  settings or a route file that cannot be served
+-- IdentityProviderError        Descope could not give an answer
|   +-- IdentityProviderBusy     it said so itself (429), perhaps for how long
+-- UpstreamError                the service behind could not give an answer
    +-- UpstreamBusy             no connection free, and no place to wait for one
    +-- UpstreamUnreachable      no connection
    +-- UpstreamTimeout          a connection, but no reply in time
    +-- UpstreamBadReply         a reply that is no HTTP, or not one we may pass on
"""


class GatewayError(Exception):
    """Something broke; the message names the thing and never quotes a credential."""


class ConfigError(GatewayError):
    """Settings or a route file that cannot be served; `problems` are complete sentences, one a line."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class IdentityProviderError(GatewayError):
    """Descope could not give an answer: silent, broken or out of reach."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class IdentityProviderBusy(IdentityProviderError):
    """Descope answered 429; `retry_after_s` is what it asked for, None where it named nothing usable."""


class UpstreamError(GatewayError):
    """The service behind could not give an answer."""


class UpstreamBusy(UpstreamError):
    """Every connection that the service may have is in use; `retry_after_s` is when a place is free to wait for one."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UpstreamUnreachable(UpstreamError):
    """No connection to the service could be made."""


class UpstreamTimeout(UpstreamError):
    """The service took the request and did not answer in time."""


class UpstreamBadReply(UpstreamError):
    """The service answered with something that may not be passed on."""
