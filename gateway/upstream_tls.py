"""How TLS is spoken to upstreams: certificates and names are verified, always."""

import ssl

from gateway.core.model import TlsRules


class EncryptedKey(Exception):
    """The private key asks for a password, and nobody is there to give one."""


def tls_context(rules: TlsRules) -> ssl.SSLContext:
    """What verifies upstreams, and names us to them; raises OSError (ssl.SSLError among them) or EncryptedKey."""
    context = ssl.create_default_context(cafile=rules.ca or None)
    if rules.cert:
        context.load_cert_chain(rules.cert, rules.key or None, password=_no_password)
    return context


def _no_password() -> str:
    raise EncryptedKey
