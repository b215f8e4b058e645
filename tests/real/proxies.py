"""Other proxies in front of a house, run with the very configurations that `deploy/` offers."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from tests.conftest import LOOPBACK, ROOT, ROUTES, House, open_house
from tests.real.browser import free_port, without

LIMITED = ROUTES + '  - {id: few, match: {path: "/few"}, auth: public, limit: [two], upstream: legacy}\n'
_PATIENCE = 200  # times a twentieth of a second


def _nginx(folder: Path) -> list[str]:
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;\nevents {{ }}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; {temporary} include {folder}/gateway.conf; }}\n",
        "utf-8",
    )
    return ["-p", str(folder), "-c", "nginx.conf", "-e", "errors"]


def _caddy(folder: Path) -> list[str]:
    site = folder / "Caddyfile"
    site.write_text("{\n\tadmin off\n}\n" + site.read_text("utf-8"), "utf-8")
    return ["run", "--adapter", "caddyfile", "--config", str(site)]


def _envoy(folder: Path) -> list[str]:
    return ["-c", str(folder / "envoy.yaml"), "--disable-hot-restart", "--concurrency", "1", "-l", "error"]


def _haproxy(folder: Path) -> list[str]:
    return ["-db", "-f", str(folder / "haproxy.cfg")]


ARGUMENTS: dict[str, Callable[[Path], list[str]]] = {
    "nginx": _nginx,
    "caddy": _caddy,
    "envoy": _envoy,
    "haproxy": _haproxy,
}
RENEWS = {"nginx": False, "caddy": False, "envoy": True, "haproxy": True}


def program(dialect: str) -> str:
    """Where the proxy's program lies; `make envoy` fetches the one that Debian has not."""
    found = shutil.which(dialect)
    if found is None and dialect == "envoy":
        found = next((str(path) for path in ROOT.glob(".envoy/lib/python3*/site-packages/envoy/_bin/envoy")), None)
    return found or without(f"{dialect} is not installed")


@asynccontextmanager
async def running(
    dialect: str, folder: Path, *, front: int, gateway: int, service: int, changed: tuple[str, str] = ("", "")
) -> AsyncIterator[None]:
    """The proxy, listening on `front` with the configuration under `deploy/` for those two behind it.

    changed: a text in it, and what is to stand there instead.
    """
    path = program(dialect)
    for source in (ROOT / "deploy" / dialect).iterdir():
        text = source.read_text("utf-8")
        for said, meant in ((8000, front), (8080, gateway), (9000, service)):
            text = text.replace(f"{LOOPBACK}:{said}", f"{LOOPBACK}:{meant}")
            text = text.replace(f"address: {LOOPBACK}, port_value: {said}", f"address: {LOOPBACK}, port_value: {meant}")
        text = text.replace(*changed) if changed[0] else text
        (folder / source.name).write_text(text, "utf-8")
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            path, *ARGUMENTS[dialect](folder), cwd=folder, env=os.environ | home, stdout=output, stderr=output
        )
    try:
        await _until_listening(process, front, folder)
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_listening(process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
    for _ in range(_PATIENCE):
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
        if process.returncode is not None:
            break
    pytest.fail(f"it does not listen: {(folder / 'output').read_text('utf-8', 'replace')[-2000:]}")


@dataclass
class Front:
    """A proxy before a house. house: its `url` is the proxy's. renews: whether asking renews."""

    dialect: str
    house: House
    renews: bool
    folder: Path
    gateway_port: int


@asynccontextmanager
async def open_proxied(signing_keys: Any, dialect: str, folder: Path) -> AsyncIterator[Front]:
    """A house behind a proxy; everybody goes in by the proxy."""
    program(dialect)
    port = free_port()
    renews = RENEWS[dialect]
    top = (
        "limits: {two: {rate: 2/h, per: client}}\n"
        f"doors: {{forward_auth: {{dialect: {dialect}, renew: {str(renews).lower()}}}}}\n"
    )
    async with open_house(
        signing_keys,
        LIMITED,
        top,
        '  trusted_proxies: ["127.0.0.1/32"]',
        public_url=f"http://{LOOPBACK}:{port}",
    ) as house:
        gateway = house.url.port
        assert gateway is not None
        async with running(dialect, folder, front=port, gateway=gateway, service=house.upstream.port):
            house.url = URL(f"http://{LOOPBACK}:{port}")
            yield Front(dialect, house, renews, folder, gateway)
