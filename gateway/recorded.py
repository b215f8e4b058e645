"""`gateway explain --request-id`: asks a running gateway what it decided."""

import json
import re
from http.client import HTTPConnection, HTTPException
from typing import Any

from gateway.core.errors import ConfigError
from gateway.settings import Listen

_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_FIELDS = frozenset(
    {"time", "request_id", "outcome", "reason", "status", "route"}
    | {"method", "host", "path", "client", "subject", "upstream"}
)


def is_request_id(text: str) -> bool:
    """Whether a gateway may have given a request this id."""
    return _PLAIN_ID.fullmatch(text) is not None


def recorded(request_id: str, host: str, listen: Listen) -> list[dict[str, Any]]:
    """What the gateway with this admin listener remembers of a request; ConfigError where it cannot be asked."""
    connection = HTTPConnection(host, listen.port, timeout=5)
    try:
        connection.request("GET", f"/decisions/{request_id}")
        reply = connection.getresponse()
        body = reply.read()
    except (OSError, HTTPException) as err:
        raise ConfigError(
            (f"no gateway answers at {listen} ({err}); is its admin listener there? name it with --admin",)
        ) from None
    finally:
        connection.close()
    try:
        found = json.loads(body)["decisions"] if reply.status == 200 else None
        if isinstance(found, list) and all(isinstance(one, dict) and one.keys() >= _FIELDS for one in found):
            return found
    except (ValueError, LookupError, TypeError):
        pass
    raise ConfigError((f"{listen} answers as no admin listener of a gateway; name another with --admin",))
