"""TLS on the public listener: what is served over it, and how its certificate is looked after."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.core.errors import ConfigError
from gateway.routefile import parse
from tests.authority import Authority, authority, spelt
from tests.conftest import LOOPBACK, House, OpenHouse, Seen, cookie_header, read_body
from tests.wire.test_exchanges import UPGRADE, echo_socket

NAME = "app.example.com"
FILE = """
version: 1
descope: {project_id: P2demo0000000000000000000000}
server: {public_urls: ["%s://app.example.com"], tls: %s}
upstreams: {legacy: {url: "http://127.0.0.1:9"}}
routes: [{id: all, match: {path: "/**"}, upstream: legacy}]
"""


@pytest.fixture
def signer(tmp_path: Path) -> Authority:
    return authority(tmp_path, "ca")


@asynccontextmanager
async def encrypted(
    built: OpenHouse, cert: Path, key: Path, more: str = "", cookies: str = "{secure: true}"
) -> AsyncIterator[House]:
    tls = f"  tls: {{cert: {cert}, key: {key}{more}}}"
    async with built(server=tls, public_url=f"https://{NAME}", cookies=cookies) as house:
        yield house


def believing(signer: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(signer.file))


@asynccontextmanager
async def connected(
    house: House, context: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(LOOPBACK, house.url.port, ssl=context, server_hostname=NAME)
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()


def serial(writer: asyncio.StreamWriter) -> int:
    """Which certificate the other side has shown."""
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(shown).serial_number


def serial_of(cert: Path) -> int:
    return x509.load_pem_x509_certificate(cert.read_bytes()).serial_number


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bytes:
    writer.write(head)
    return await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2)


GET = b"GET /public/x HTTP/1.1\r\nHost: app.example.com\r\n\r\n"


async def test_what_comes_over_tls_is_https_to_the_service(built: OpenHouse, signer: Authority, tmp_path: Path) -> None:
    async with encrypted(built, *signer.issue(tmp_path, NAME)) as house:
        async with connected(house, believing(signer)) as (reader, writer):
            replies = [await asked(reader, writer, GET) for _ in range(2)]
        seen = house.upstream.last

    assert [reply[:12] for reply in replies] == [b"HTTP/1.1 200"] * 2
    assert seen.value("x-forwarded-proto") == "https"


async def test_a_session_counts_over_tls_as_anywhere(built: OpenHouse, signer: Authority, tmp_path: Path) -> None:
    async with encrypted(built, *signer.issue(tmp_path, NAME)) as house:
        url = f"https://{LOOPBACK}:{house.url.port}/admin/x"
        headers = {"Host": NAME, **cookie_header(house.cookies("ada@example.com"))}
        kwargs: dict[str, Any] = {"ssl": believing(signer), "server_hostname": NAME}
        async with house.http.get(url, headers=headers, **kwargs) as known:
            assert known.status == 200
        async with house.http.get(url, headers={"Host": NAME}, **kwargs) as nobody:
            assert nobody.status == 401


async def test_bodies_and_sockets_cross_whole(built: OpenHouse, signer: Authority, tmp_path: Path) -> None:
    large = os.urandom(3_000_000)

    async def answer(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        body = await read_body(seen, reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return True

    async with encrypted(built, *signer.issue(tmp_path, NAME)) as house:
        house.upstream.reply = answer
        async with connected(house, believing(signer)) as (reader, writer):
            head = b"POST /public/x HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: %d\r\n\r\n" % len(large)
            writer.write(head + large)
            await reader.readuntil(b"\r\n\r\n")
            back = await reader.readexactly(len(large))
        house.upstream.reply = echo_socket
        async with connected(house, believing(signer)) as (reader, writer):
            writer.write(UPGRADE % b"Origin: https://app.example.com\r\n")
            await reader.readuntil(b"hello")
            writer.write(b"two")
            echoed = await reader.readexactly(3)

    assert back == large
    assert echoed == b"two"


async def test_a_client_that_ends_its_connection_ends_the_request(
    built: OpenHouse, signer: Authority, tmp_path: Path
) -> None:
    left = asyncio.Event()

    async def never(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.read()
        left.set()
        return False

    async with encrypted(built, *signer.issue(tmp_path, NAME)) as house:
        house.upstream.reply = never
        async with connected(house, believing(signer)) as (_, writer):
            writer.write(GET)
            while not house.upstream.seen:
                await asyncio.sleep(0.01)
        await asyncio.wait_for(left.wait(), 5)


async def test_who_speaks_plain_there_is_told_nothing(built: OpenHouse, signer: Authority, tmp_path: Path) -> None:
    async with encrypted(built, *signer.issue(tmp_path, NAME)) as house:
        answer = await house.raw(GET, until_closed=True)

        assert b"HTTP" not in answer
        assert house.upstream.seen == []


@pytest.mark.parametrize(("asked_for", "spoken"), [("1.2", "TLSv1.2"), ("1.3", "")])
async def test_no_version_older_than_the_route_file_says_is_spoken(
    built: OpenHouse, signer: Authority, tmp_path: Path, asked_for: str, spoken: str
) -> None:
    older = believing(signer)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    async with encrypted(built, *signer.issue(tmp_path, NAME), f', min_version: "{asked_for}"') as house:
        try:
            async with connected(house, older) as (_, writer):
                assert writer.get_extra_info("ssl_object").version() == spoken
        except (ssl.SSLError, ConnectionResetError):
            assert not spoken


# --- another certificate ----------------------------------------------------------------------------------------------


def renewed(signer: Authority, folder: Path, name: str) -> tuple[Path, Path]:
    (folder / name).mkdir()
    return signer.issue(folder / name, NAME)


async def test_a_renewed_certificate_is_taken_up_and_open_connections_go_on(
    built: OpenHouse, signer: Authority, tmp_path: Path
) -> None:
    old, new = renewed(signer, tmp_path, "old"), renewed(signer, tmp_path, "new")
    links = tmp_path / "tls.crt", tmp_path / "tls.key"
    for link, file in zip(links, old, strict=True):
        link.symlink_to(file)
    async with encrypted(built, *links) as house:
        certificate = house.gateway.certificate
        assert certificate is not None
        async with connected(house, believing(signer)) as (reader, writer):
            assert serial(writer) == serial_of(old[0])
            for link, file in zip(links, new, strict=True):
                swapped = link.with_suffix(".next")
                swapped.symlink_to(file)
                swapped.replace(link)
            certificate.look()
            async with connected(house, believing(signer)) as (_, later):
                assert serial(later) == serial_of(new[0])
            assert (await asked(reader, writer, GET)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("host", [NAME, None], ids=["a client that names the host", "one that does not"])
async def test_a_certificate_for_another_kind_of_key_takes_the_place_of_the_old_one(
    built: OpenHouse, signer: Authority, tmp_path: Path, host: str | None
) -> None:
    cert, key = signer.issue(tmp_path, NAME, key=rsa.generate_private_key(65537, 2048))
    only_rsa, any_kind = believing(signer), believing(signer)
    only_rsa.maximum_version = ssl.TLSVersion.TLSv1_2
    only_rsa.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    async with encrypted(built, cert, key) as house:
        for context in (only_rsa, any_kind):
            context.check_hostname = host is not None
            _, writer = await asyncio.open_connection(LOOPBACK, house.url.port, ssl=context, server_hostname=host or "")
            assert serial(writer) == serial_of(cert)
            writer.close()
        signer.issue(tmp_path, NAME)
        assert house.gateway.certificate is not None
        house.gateway.certificate.look()

        _, writer = await asyncio.open_connection(LOOPBACK, house.url.port, ssl=any_kind, server_hostname=host or "")
        assert serial(writer) == serial_of(cert)
        writer.close()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(LOOPBACK, house.url.port, ssl=only_rsa, server_hostname=host or "")


async def test_half_a_renewal_is_told_once_and_spoils_nothing(
    built: OpenHouse, signer: Authority, tmp_path: Path
) -> None:
    cert, key = renewed(signer, tmp_path, "old")
    new_cert, new_key = renewed(signer, tmp_path, "new")
    async with encrypted(built, cert, key) as house:
        certificate = house.gateway.certificate
        assert certificate is not None
        old, expires = serial_of(cert), certificate.expires
        cert.write_bytes(new_cert.read_bytes())
        with structlog.testing.capture_logs() as lines:
            certificate.look()
            certificate.look()
        async with connected(house, believing(signer)) as (_, writer):
            assert serial(writer) == old
        assert [line["event"] for line in lines] == ["certificate not taken up, the old one serves on"]
        assert lines[0]["cause"] == "the private key is not that of the certificate"
        assert certificate.expires == expires

        key.write_bytes(new_key.read_bytes())
        certificate.look()
        async with connected(house, believing(signer)) as (_, writer):
            assert serial(writer) == serial_of(new_cert)


async def test_a_file_that_has_gone_spoils_nothing(built: OpenHouse, signer: Authority, tmp_path: Path) -> None:
    cert, key = signer.issue(tmp_path, NAME)
    async with encrypted(built, cert, key) as house:
        old = serial_of(cert)
        cert.unlink()
        assert house.gateway.certificate is not None
        house.gateway.certificate.look()
        async with connected(house, believing(signer)) as (_, writer):
            assert serial(writer) == old


async def test_when_the_certificate_runs_out_is_a_metric(built: OpenHouse, signer: Authority, tmp_path: Path) -> None:
    async with encrypted(built, *signer.issue(tmp_path, NAME)) as house:
        assert house.gateway.certificate is not None
        async with house.http.get(house.admin / "metrics") as scraped:
            line = next(
                line for line in (await scraped.text()).splitlines() if line.startswith("gateway_certificate_expiry")
            )

        assert float(line.split()[1]) == house.gateway.certificate.expires.timestamp()


# --- when the file is read --------------------------------------------------------------------------------------------


def problems(tls: str, scheme: str = "https") -> str:
    with pytest.raises(ConfigError) as told:
        parse(FILE % (scheme, tls), "routes.yaml", {})
    return str(told.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates and keys, good and bad."""
    made = tmp_path_factory.mktemp("tls")
    signer = authority(made, "ca")
    signer.issue(made, NAME)
    signer.issue(made, "other.example.com")
    signer.issue(made, "*.example.com", days=-2)
    signer.issue(made, "*.com")
    (made / "text.pem").write_text("no certificate")
    (made / "locked.key").write_bytes(spelt(signer.key, b"password"))
    return made


@pytest.mark.parametrize(
    ("tls", "key", "words"),
    [
        ("{}", "server.tls.cert", "this key is missing"),
        ("{cert: FOLDER/none.pem}", "server.tls.cert", "cannot be read: No such file"),
        ("{cert: FOLDER/text.pem}", "server.tls.cert", "not both there in the form PEM"),
        ("{cert: FOLDER/app.example.com.pem}", "server.tls.cert", "not both there"),
        (
            "{cert: FOLDER/app.example.com.pem, key: FOLDER/other.example.com.key}",
            "server.tls.key",
            "the private key is not that of the certificate",
        ),
        ("{cert: FOLDER/ca.pem, key: FOLDER/locked.key}", "server.tls.key", "asks for a password"),
        ("{cert: FOLDER/app.example.com.pem, key: FOLDER/none.key}", "server.tls.key", "cannot be read"),
        ("{cert: app.pem}", "server.tls.cert", "absolute path"),
        (
            '{cert: FOLDER/ca.pem, min_version: "1.1"}',
            "server.tls.min_version",
            "'1.1' is none of 1.2, 1.3; did you mean",
        ),
    ],
    ids=["nothing", "no file", "a text", "no key", "another's key", "a password", "no key file", "relative", "old"],
)
def test_a_certificate_that_cannot_be_used_is_named(folder: Path, tls: str, key: str, words: str) -> None:
    told = problems(tls.replace("FOLDER", str(folder)))

    assert key in told
    assert words in told


def pair(folder: Path, name: str) -> str:
    return f"{{cert: '{folder}/{name}.pem', key: '{folder}/{name}.key'}}"


def test_a_public_url_that_is_plain_is_a_mistake(folder: Path) -> None:
    assert "server.public_urls: http://app.example.com is plain" in problems(pair(folder, NAME), "http")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (NAME, ""),
        ("other.example.com", "the certificate is not for app.example.com, but for other.example.com"),
        ("*.com", "the certificate is not for app.example.com, but for *.com"),
        ("*.example.com", "the certificate ran out on "),
    ],
)
def test_what_browsers_will_refuse_is_a_warning(folder: Path, name: str, words: str) -> None:
    warnings = parse(FILE % ("https", pair(folder, name)), "routes.yaml", {}).warnings

    assert [words in warning for warning in warnings] == [True] * bool(words)
