"""How TLS is spoken to upstreams: certificates and names are verified, always."""

import ssl

from gateway import certificates
from gateway.core.model import TlsRules


def tls_context(rules: TlsRules) -> ssl.SSLContext:
    """What verifies upstreams, and names us to them; raises OSError (ssl.SSLError among them) or UnusablePair."""
    context = ssl.create_default_context(cafile=rules.ca or None)
    if rules.cert:
        certificates.load(context, rules.cert, rules.key)
    return context
