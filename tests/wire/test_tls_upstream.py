"""Upstreams over TLS: certificates are checked, by name and by who signed them."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import LOOPBACK, House, OpenHouse, reason_of

ROUTES = """
routes:
  - {id: all, match: {path: '/**'}, auth: public, upstream: secure}
  - {id: other, match: {path: /other}, upstream: legacy}
"""


def certificate(folder: Path, address: str) -> Path:
    """A key and a certificate for `address`, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "upstream")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{address}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


@asynccontextmanager
async def secured(built: OpenHouse, file: Path) -> AsyncIterator[House]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    house: House | None = None

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert house is not None
        await house.upstream(reader, writer)

    server = await asyncio.start_server(answer, LOOPBACK, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        async with built(routes=ROUTES, top=f"  secure: {{url: 'https://{LOOPBACK}:{port}'}}") as opened:
            house = opened
            yield opened
    finally:
        server.close()


async def test_an_upstream_with_a_certificate_that_is_trusted_is_reached(
    built: OpenHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate(tmp_path, LOOPBACK)
    async with secured(built, file) as house:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))

        replies = [await house.get("/x") for _ in range(2)]

        assert [reply.status for reply in replies] == [200, 200]
        assert house.upstream.connections == 1


@pytest.mark.parametrize(
    ("address", "trusted"),
    [pytest.param(LOOPBACK, False, id="signed by nobody"), pytest.param("192.0.2.1", True, id="for another address")],
)
async def test_an_upstream_with_a_wrong_certificate_gets_nothing(
    built: OpenHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, trusted: bool
) -> None:
    file = certificate(tmp_path, address)
    async with secured(built, file) as house:
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(file))

        reply = await house.get("/x")

        assert (reply.status, reason_of(reply)) == (502, "upstream_unreachable")
        assert house.upstream.seen == []
