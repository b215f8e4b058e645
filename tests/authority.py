"""Certificates for tests, signed by an authority of their own."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Authority:
    """Whoever signs certificates; its own is in `file`."""

    key: ec.EllipticCurvePrivateKey
    name: x509.Name
    file: Path

    def issue(self, folder: Path, name: str, days: float = 1, key: Key | None = None) -> tuple[Path, Path]:
        """A certificate for a host or an address, and its key; it runs out in so many days."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        try:
            said: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            said = x509.DNSName(name)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = _drawn(subject, self.name, key, days).add_extension(x509.SubjectAlternativeName([said]), critical=False)
        cert, private = folder / f"{name}.pem", folder / f"{name}.key"
        cert.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        private.write_bytes(spelt(key))
        return cert, private


def _drawn(subject: x509.Name, issuer: x509.Name, key: Key, days: float = 1) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=30))
        .not_valid_after(now + dt.timedelta(days=days))
    )


def spelt(key: Key, password: bytes = b"") -> bytes:
    """A private key as PEM."""
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def authority(folder: Path, word: str = "authority") -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, word)])
    made = _drawn(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    file = folder / f"{word}.pem"
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return Authority(key, name, file)
