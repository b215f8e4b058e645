"""An emulator on a loopback port for each test, and the unmodified SDKs pointed at it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from descope import DescopeClient, DescopeClientAsync

from gateway.emulator import Emulator, Seed, load_seed, serve

SEED_FILE = Path(__file__).parents[2] / "config" / "emulator.yaml"


@pytest.fixture(scope="session")
def seed() -> Seed:
    return load_seed(SEED_FILE)


@pytest.fixture
def emulator(seed: Seed) -> Emulator:
    return Emulator(seed)


@pytest.fixture
async def base_url(emulator: Emulator) -> AsyncIterator[str]:
    async with serve(emulator, "127.0.0.1", 0) as url:
        yield url


class Api:
    """Plain HTTP with the bearer that Descope's clients send."""

    def __init__(self, emulator: Emulator, http: httpx.AsyncClient, management_key: str) -> None:
        self.http = http
        self.project_id = emulator.project_id
        self.management_key = management_key

    async def post(self, path: str, body: object = None, *, secret: str = "", **more: Any) -> httpx.Response:
        return await self.http.post(path, json={} if body is None else body, headers=self.bearer(secret), **more)

    async def get(self, path: str, *, secret: str = "", **more: Any) -> httpx.Response:
        return await self.http.get(path, headers=self.bearer(secret), **more)

    async def manage(self, path: str, body: object = None) -> Any:
        answer = await self.post(f"/v1/mgmt{path}", body, secret=self.management_key)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def sign_in(self, name: str) -> Any:
        body = {"loginId": f"{name}@example.com", "password": f"{name}-demo-password"}
        answer = await self.post("/v1/auth/password/signin", body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refresh(self, token: str) -> httpx.Response:
        return await self.post("/v1/auth/refresh", secret=token)

    async def exchange(self, key: str, body: object = None) -> httpx.Response:
        return await self.post("/v1/auth/accesskey/exchange", body, secret=key)

    def bearer(self, secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.project_id}:{secret}" if secret else f"Bearer {self.project_id}"}


@pytest.fixture
async def api(emulator: Emulator, seed: Seed, base_url: str) -> AsyncIterator[Api]:
    async with httpx.AsyncClient(base_url=base_url, verify=False) as http:
        yield Api(emulator, http, seed.management_key.get_secret_value())


class Sdk:
    """Either Python client behind one way of asking: `await sdk(lambda client: client.me(token))`."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def __call__(self, ask: Callable[[Any], Any]) -> Any:
        if isinstance(self.client, DescopeClientAsync):
            return await ask(self.client)
        return await asyncio.to_thread(ask, self.client)


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a single certificate authority.

    An SDK client reads all authorities it trusts three times as it is made: a fifth of a second for nothing.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody's authority")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    path = tmp_path_factory.mktemp("trust") / "authority.pem"
    path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(params=["sync", "async"])
async def sdk(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    one_authority: Path,
    emulator: Emulator,
    seed: Seed,
    base_url: str,
) -> AsyncIterator[Sdk]:
    monkeypatch.setenv("SSL_CERT_FILE", str(one_authority))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    key = seed.management_key.get_secret_value()
    if request.param == "sync":
        # Off the loop: the constructor asks the emulator for the project's license and waits for it.
        yield Sdk(await asyncio.to_thread(DescopeClient, emulator.project_id, management_key=key, base_url=base_url))
        return
    client = DescopeClientAsync(emulator.project_id, management_key=key, base_url=base_url)
    yield Sdk(client)
    await client.aclose()
