"""Certificates with their keys, as files hold them: the one that we show, and what may be wrong with any.

The certificate of the public listener is looked at again and again, and taken up when its files have changed and fit
each other. Connections that are open go on with the one they began with.
"""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from gateway.core.errors import ConfigError
from gateway.core.model import ListenerTls
from gateway.files import Mark, mark
from gateway.telemetry import log

LOOK_EVERY_S = 15.0
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_BEGIN = "-----BEGIN CERTIFICATE-----, -----BEGIN PRIVATE KEY-----"


class UnusablePair(Exception):
    """Certificate and key are not fit for use; the text says what is wrong and quotes nothing. key: `cert` or `key`."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


class _Locked(Exception):
    pass


def load(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Have `context` show the certificate of a PEM file; key: "" where it is in the same one. Raises UnusablePair."""
    for which, file in (("cert", cert), ("key", key)):
        try:
            if file:
                Path(file).read_bytes()
        except OSError as err:
            raise UnusablePair(which, f"the file cannot be read: {err.strerror or type(err).__name__}") from None
    where = "key" if key else "cert"
    try:
        context.load_cert_chain(cert, key or None, password=_no_password)
    except _Locked:
        sentence = "the private key asks for a password, and nobody is there to give it; store it without one"
        raise UnusablePair(where, sentence) from None
    except ssl.SSLError as err:
        if err.reason == "KEY_VALUES_MISMATCH":
            raise UnusablePair(where, "the private key is not that of the certificate") from None
        sentence = f"certificate and private key are not both there in the form PEM ({_BEGIN})"
        raise UnusablePair(where, sentence) from None


def _no_password() -> str:
    raise _Locked


class ServerCertificate:
    """What the public listener shows. context: for the listener, whatever is taken up later. expires: in UTC.

    Raises UnusablePair.
    """

    def __init__(self, rules: ListenerTls) -> None:
        self._rules = rules
        self._seen = self._mark()
        self.context = self._shown = _context(rules)
        self.context.sni_callback = self._show
        self.expires = self._read().not_valid_after_utc

    def doubts(self, hosts: Sequence[str], now: datetime) -> list[str]:
        """What browsers will have against it at these hosts."""
        certificate = self._read()
        names = _names(certificate)
        found = [
            f"the certificate is not for {host}, but for {', '.join(sorted(names)) or 'nobody'}; browsers refuse it"
            for host in hosts
            if not any(_covers(name, host) for name in names)
        ]
        if certificate.not_valid_after_utc <= now:
            found.append(f"the certificate ran out on {certificate.not_valid_after_utc:%Y-%m-%d}; browsers refuse it")
        elif certificate.not_valid_before_utc > now:
            found.append(f"the certificate counts from {certificate.not_valid_before_utc:%Y-%m-%d} on only")
        return found

    def expires_s(self) -> float:
        """When it runs out, in Unix time."""
        return self.expires.timestamp()

    async def keep_watch(self, every_s: float = LOOK_EVERY_S) -> None:
        """Runs as long as the gateway."""
        while True:
            await asyncio.sleep(every_s)
            self.look()

    def look(self) -> None:
        """Take the certificate up if its files have changed; a pair that is not fit is told once and left alone."""
        found = self._mark()
        if found == self._seen:
            return
        self._seen = found
        try:
            fresh, expires = _context(self._rules), self._read().not_valid_after_utc
        except (UnusablePair, OSError) as err:
            log.error("certificate not taken up, the old one serves on", cause=str(err), file=self._rules.cert)
        else:
            self._shown, self.expires = fresh, expires
            log.info("certificate taken up", file=self._rules.cert, expires=self.expires.isoformat())

    def _show(self, connection: ssl.SSLObject | ssl.SSLSocket, _host: str | None, _context: ssl.SSLContext) -> None:
        """Called for every handshake. One context holds a certificate for each kind of key, and would go on to show an
        old one for RSA beside its successor for ECDSA; so the new one has a context of its own."""
        connection.context = self._shown

    def _mark(self) -> Mark:
        return mark(file for file in (self._rules.cert, self._rules.key) if file)

    def _read(self) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(Path(self._rules.cert).read_bytes())
        except ValueError:
            raise UnusablePair("cert", f"the file has no certificate in the form PEM ({_BEGIN})") from None


def server_certificate(rules: ListenerTls) -> ServerCertificate:
    """The same; raises ConfigError."""
    try:
        return ServerCertificate(rules)
    except UnusablePair as err:
        raise ConfigError((f"server.tls.{err.key}: {err}",)) from None


def now() -> datetime:
    return datetime.now(UTC)


def _context(rules: ListenerTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[rules.min_version]
    context.set_alpn_protocols(["http/1.1"])
    load(context, rules.cert, rules.key)
    return context


def _names(certificate: x509.Certificate) -> set[str]:
    """Hosts and addresses that it is for; the common name counts for no browser any more."""
    try:
        said = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    hosts = {name.lower() for name in said.get_values_for_type(x509.DNSName)}
    return hosts | {str(address) for address in said.get_values_for_type(x509.IPAddress)}


def _covers(name: str, host: str) -> bool:
    """RFC 6125 section 6.4.3: a star stands for the first label alone."""
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])
