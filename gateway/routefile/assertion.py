"""The `assertion` section: how what is told of a caller is signed, for the upstreams that ask for it."""

from typing import Annotated

from gateway.core.model import AssertionRules, ServerRules
from gateway.routefile import values
from gateway.routefile.forms import Form, Section, Wait
from gateway.routefile.values import duration_s


class Assertion(Section):
    """How assertions are signed."""

    issuer: Annotated[str, Form(values.plain_word)] | None = None
    """Their `iss`; the first public URL where nothing is said."""
    key_file: Annotated[str, Form(values.file_path)] | None = None
    """A PEM file with a private key on P-256, or several: the first signs. Absent: a key is made at start."""
    rotate: Wait = "24h"
    """How long a key that was made signs."""


def assertion_rules(spec: Assertion, server: ServerRules) -> AssertionRules:
    return AssertionRules(spec.issuer or server.public_urls[0], spec.key_file or "", duration_s(spec.rotate))
