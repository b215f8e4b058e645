"""TLS to upstreams by the route file's rules: whose signature counts, for which name, and who we are."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.core.errors import ConfigError
from gateway.routefile import parse
from tests.authority import authority, spelt
from tests.conftest import LOOPBACK, House, OpenHouse, Recorder, reason_of

ROUTES = """
routes:
  - {id: all, match: {path: '/**'}, auth: public, upstream: secure}
  - {id: other, match: {path: /other}, upstream: legacy}
"""
FILE = """
version: 1
descope: {project_id: P2demo0000000000000000000000}
server: {public_urls: ["https://app.example.com"]}
upstreams: {legacy: {url: "https://legacy.internal", tls: %s}}
routes: [{id: all, match: {path: "/**"}, upstream: legacy}]
"""


@asynccontextmanager
async def secured(
    built: OpenHouse, pair: tuple[Path, Path], tls: str, *, clients: Path | None = None, more: str = ""
) -> AsyncIterator[tuple[House, Recorder, list[str | None]]]:
    """A house in front of an https service; clients: whose certificates the service wants. Names asked for, too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
    context.load_cert_chain(*pair)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    service = Recorder()
    server = await asyncio.start_server(service, LOOPBACK, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        top = f"  secure: {{url: 'https://{LOOPBACK}:{port}', tls: {tls}{more}}}"
        async with built(routes=ROUTES, top=top) as house:
            yield house, service, names
    finally:
        server.close()


async def test_a_private_authority_is_believed_where_it_is_named(built: OpenHouse, tmp_path: Path) -> None:
    signer = authority(tmp_path)
    async with secured(built, signer.issue(tmp_path, LOOPBACK), f"{{ca: {signer.file}}}") as (house, service, _):
        replies = [await house.get("/x") for _ in range(2)]

        assert [reply.status for reply in replies] == [200, 200]
        assert service.connections == 1


async def test_a_named_authority_is_the_only_one(
    built: OpenHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer, other = authority(tmp_path), authority(tmp_path, "other")
    async with secured(built, signer.issue(tmp_path, LOOPBACK), f"{{ca: {other.file}}}") as (house, service, _):
        monkeypatch.setenv("SSL_CERT_FILE", str(signer.file))  # the machine would believe it

        reply = await house.get("/x")

        assert (reply.status, reason_of(reply)) == (502, "upstream_unreachable")
        assert service.seen == []


async def test_the_name_that_is_said_is_asked_for_and_verified(built: OpenHouse, tmp_path: Path) -> None:
    signer = authority(tmp_path)
    tls = f"{{ca: {signer.file}, server_name: legacy.internal}}"
    async with secured(built, signer.issue(tmp_path, "legacy.internal"), tls) as (house, _, names):
        assert (await house.get("/x")).status == 200
        assert names == ["legacy.internal"]


@pytest.mark.parametrize(
    ("issued", "server_name"),
    [
        pytest.param("other.internal", ", server_name: legacy.internal", id="another name"),
        pytest.param(LOOPBACK, ", server_name: legacy.internal", id="the address, where a name is said"),
        pytest.param("legacy.internal", "", id="a name, where none is said"),
    ],
)
async def test_a_certificate_for_another_name_gets_nothing(
    built: OpenHouse, tmp_path: Path, issued: str, server_name: str
) -> None:
    signer = authority(tmp_path)
    tls = f"{{ca: {signer.file}{server_name}}}"
    async with secured(built, signer.issue(tmp_path, issued), tls) as (house, service, _):
        reply = await house.get("/x")

        assert (reply.status, reason_of(reply)) == (502, "upstream_unreachable")
        assert service.seen == []


async def test_we_show_our_certificate_to_a_service_that_wants_one(built: OpenHouse, tmp_path: Path) -> None:
    signer, clients = authority(tmp_path), authority(tmp_path, "clients")
    cert, key = clients.issue(tmp_path, "gateway.internal")
    tls = f"{{ca: {signer.file}, cert: {cert}, key: {key}}}"
    async with secured(built, signer.issue(tmp_path, LOOPBACK), tls, clients=clients.file) as (house, service, _):
        assert (await house.get("/x")).status == 200
        assert len(service.seen) == 1


async def test_certificate_and_key_may_stand_in_one_file(built: OpenHouse, tmp_path: Path) -> None:
    signer = authority(tmp_path)
    cert, key = signer.issue(tmp_path, "gateway.internal")
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    tls = f"{{ca: {signer.file}, cert: {both}}}"
    async with secured(built, signer.issue(tmp_path, LOOPBACK), tls, clients=signer.file) as (house, _, _names):
        assert (await house.get("/x")).status == 200


async def test_without_our_certificate_a_service_that_wants_one_gets_nothing(built: OpenHouse, tmp_path: Path) -> None:
    signer = authority(tmp_path)
    pair = signer.issue(tmp_path, LOOPBACK)
    async with secured(built, pair, f"{{ca: {signer.file}}}", clients=signer.file) as (house, service, _):
        reply = await house.get("/x")

        assert reply.status == 502
        assert service.seen == []


async def test_where_tls_was_asked_for_nothing_is_ever_sent_plain(built: OpenHouse, tmp_path: Path) -> None:
    came = bytearray()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.extend(await reader.read(65_536))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(plain, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    signer = authority(tmp_path)
    top = f"  secure: {{url: 'https://{LOOPBACK}:{port}', tls: {{ca: {signer.file}}}}}"
    try:
        async with built(routes=ROUTES, top=top) as house:
            reply = await house.get("/secret-path")
    finally:
        server.close()

    assert (reply.status, reason_of(reply)) == (502, "upstream_unreachable")
    assert came.startswith(b"\x16\x03")  # a TLS handshake, and nothing else
    assert b"secret-path" not in came


async def test_checks_speak_tls_by_the_same_rules(built: OpenHouse, tmp_path: Path) -> None:
    signer = authority(tmp_path)
    pair = signer.issue(tmp_path, "legacy.internal")
    tls, more = f"{{ca: {signer.file}, server_name: legacy.internal}}", ", health: {path: /healthz, interval: 10ms}"
    async with secured(built, pair, tls, more=more) as (_, service, names):
        async with asyncio.timeout(5):
            while len(service.seen) < 2:
                await asyncio.sleep(0.01)

        assert service.last.line == "GET /healthz HTTP/1.1"
        assert set(names) == {"legacy.internal"}


# --- when the file is read --------------------------------------------------------------------------------------------


def problems(tls: str) -> Sequence[str]:
    with pytest.raises(ConfigError) as told:
        parse(FILE % tls, "routes.yaml", {})
    return told.value.problems


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates and keys, good and bad."""
    made = tmp_path_factory.mktemp("tls")
    signer = authority(made, "ca")
    signer.issue(made, "ours")
    signer.issue(made, "theirs")
    (made / "text.pem").write_text("no certificate")
    (made / "locked.key").write_bytes(spelt(signer.key, b"password"))
    return made


@pytest.mark.parametrize(
    ("tls", "key", "words"),
    [
        pytest.param("{ca: FOLDER/none.pem}", "ca", "cannot be read: No such file", id="a file that is not there"),
        pytest.param("{cert: FOLDER}", "cert", "cannot be read: Is a directory", id="a folder"),
        pytest.param("{ca: FOLDER/text.pem}", "ca", "no certificate in the form PEM", id="a text"),
        pytest.param("{cert: FOLDER/text.pem}", "cert", "not both there in the form PEM", id="a text as certificate"),
        pytest.param("{cert: FOLDER/ours.pem}", "cert", "not both there", id="a certificate without its key"),
        pytest.param("{key: FOLDER/ours.key}", "key", "add cert", id="a key without its certificate"),
        pytest.param("{cert: FOLDER/ours.pem, key: FOLDER/theirs.key}", "key", "not that of", id="another's key"),
        pytest.param("{cert: FOLDER/ours.pem, key: FOLDER/text.pem}", "key", "not both there", id="a text as key"),
        pytest.param("{cert: FOLDER/ca.pem, key: FOLDER/locked.key}", "key", "password", id="a key under a password"),
        pytest.param("{ca: ca.pem}", "ca", "absolute path", id="a relative path"),
        pytest.param("{server_name: '*.internal'}", "server_name", "whole names", id="a name with a star"),
        pytest.param("{verify: false}", "verify", "is no key here", id="verification cannot be switched off"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_when_the_route_file_is_read(
    folder: Path, tls: str, key: str, words: str
) -> None:
    (problem,) = problems(tls.replace("FOLDER", str(folder)))

    assert f"upstreams.legacy.tls.{key}: " in problem
    assert words in problem


def test_files_that_can_be_used_are_no_problem(folder: Path) -> None:
    tls = f"{{ca: {folder}/ca.pem, server_name: legacy.internal, cert: {folder}/ours.pem, key: {folder}/ours.key}}"
    (upstream,) = parse(FILE % tls, "routes.yaml", {}).upstreams

    rules = upstream.tls_rules
    assert (rules.ca, rules.server_name) == (f"{folder}/ca.pem", "legacy.internal")
    assert (rules.cert, rules.key) == (f"{folder}/ours.pem", f"{folder}/ours.key")


@pytest.mark.parametrize("url", ["http://legacy.internal", "unix:/run/app.sock"])
def test_rules_for_tls_where_none_is_spoken_are_an_error(url: str) -> None:
    written = (FILE % "{server_name: legacy.internal}").replace("https://legacy.internal", url)
    with pytest.raises(ConfigError) as told:
        parse(written, "routes.yaml", {})

    assert "only https is spoken with TLS" in str(told.value)
