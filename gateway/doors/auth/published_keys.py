"""The keys that assertions are verified with, for whoever asks."""

import json

from gateway.assertion_keys import PUBLISHED_MAY_BE_KEPT_S, AssertionKeys
from gateway.core.model import RequestFacts
from gateway.doors.answers import Answer
from gateway.doors.auth.outcome import Body, Endpoints, Outcome


class PublishedKeys:
    def __init__(self, keys: AssertionKeys) -> None:
        self._keys = keys
        self.endpoints: Endpoints = {"jwks.json": {"GET": self._serve}}

    async def _serve(self, facts: RequestFacts, body: Body) -> Outcome:
        lines = (
            b"Content-Type: application/json",
            b"Cache-Control: public, max-age=%d" % PUBLISHED_MAY_BE_KEPT_S,
            b"X-Content-Type-Options: nosniff",
        )
        return Outcome(Answer(200, lines, json.dumps(self._keys.published()).encode("ascii")))
