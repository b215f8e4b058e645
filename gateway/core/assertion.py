"""The claims of the signed assertion: what an upstream can believe of a request without believing the network.

Each request has an assertion of its own, for it names the request. What is the same for every request of one caller to
one upstream is spelt once and remembered.
"""

import json
from json.encoder import encode_basestring_ascii as _quoted

from gateway.core.about import told_of
from gateway.core.model import Admit, Identity, Kind, Person

LIFE_S = 60
_CLAIMS = {"subject": "sub"}  # the others are called as we call them
_ALWAYS = frozenset({"subject", "roles", "permissions", "method"})
_LEFT_OUT = frozenset({"username"})


class Claims:
    """Writes the claims of assertions. Its memory is bounded, about 700 bytes for each caller and upstream."""

    def __init__(self, issuer: str, most: int = 10_000) -> None:
        self._issuer = issuer
        self._most = most
        self._standing: dict[tuple[str, bytes, Kind, str | None, bool, Person], str] = {}

    def text(self, identity: Identity, admit: Admit, request_id: str, now_s: int) -> bytes:
        """The payload as JSON in ASCII, good for `LIFE_S` seconds from `now_s` on."""
        route = admit.match.route
        audience, by_tenant = route.upstream.assertion, route.tenant_from is not None
        key = (audience, identity.digest, identity.kind, admit.tenant, by_tenant, admit.person)
        standing = self._standing.get(key)
        if standing is None:
            if len(self._standing) >= self._most:
                self._standing.clear()
            standing = self._standing[key] = self._spelt(identity, admit, audience)
        own = f',"request_id":{_quoted(request_id)},"iat":{now_s},"exp":{now_s + LIFE_S}}}'
        return (standing + own).encode("ascii")

    def _spelt(self, identity: Identity, admit: Admit, audience: str) -> str:
        """Everything but what one request has of its own, the last brace left out."""
        about = {
            _CLAIMS.get(noun, noun): value
            for noun, value in told_of(identity, admit).items()
            if (value or noun in _ALWAYS) and noun not in _LEFT_OUT
        }
        return json.dumps({"iss": self._issuer, "aud": audience, **about}, separators=(",", ":"))[:-1]
