"""A real browser at a real front door: what the tests with Chromium share."""

import contextlib
import json
import os
import random
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, WebError
from yarl import URL

from tests.conftest import LOOPBACK, House, open_house

# Names that browsers do not take for safe by themselves, as they do `localhost`; all of them lead here.
ELSEWHERE = "test"
_PATIENCE_MS = 10_000
_AXE = Path(__file__).parent / "node" / "node_modules" / "axe-core" / "axe.min.js"


def without(reason: str) -> NoReturn:
    """Skip with a reason, or fail where every program is said to be there."""
    if os.environ.get("GATEWAY_REQUIRE_PROGRAMS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


async def launched(playwright: Playwright) -> Browser:
    chromium = shutil.which("chromium")
    if chromium is None:
        without("chromium is not installed")
    return await playwright.chromium.launch(
        executable_path=chromium,
        # The first two: as root, and in containers whose /dev/shm is small.
        args=["--no-sandbox", "--disable-dev-shm-usage", f"--host-resolver-rules=MAP *.{ELSEWHERE} {LOOPBACK}"],
    )


@dataclass
class Complaints:
    """What pages had the browser complain about: errors on the console, violations of the CSP, scripts that failed."""

    told: list[str] = field(default_factory=list)

    def listen(self, context: BrowserContext) -> None:
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)

    def _on_console(self, message: ConsoleMessage) -> None:
        # A page of ours with a status of 4xx or 5xx is an answer, and no fault of the page; nor is it one that browsers
        # ask for a site's icon when a test is over already.
        is_answer = message.text.startswith("Failed to load resource: the server responded")
        if message.type == "error" and not is_answer and "ERR_CONNECTION_REFUSED" not in message.text:
            self.told.append(message.text)

    def _on_error(self, error: WebError) -> None:
        self.told.append(str(error.error))


@dataclass
class Visits:
    """Makes browser profiles: cookies, storage and tabs of one person, apart from everybody else's."""

    browser: Browser
    complaints: Complaints

    @asynccontextmanager
    async def person(self, **options: Any) -> AsyncIterator[BrowserContext]:
        """A fresh profile; options as Playwright's `new_context` takes them, such as `java_script_enabled=False`."""
        context = await self.browser.new_context(**options)
        context.set_default_timeout(_PATIENCE_MS)
        self.complaints.listen(context)
        try:
            yield context
        finally:
            await context.close()

    @asynccontextmanager
    async def page(self, **options: Any) -> AsyncIterator[Page]:
        """One tab in a fresh profile."""
        async with self.person(**options) as context:
            yield await context.new_page()


def free_port() -> int:
    """One below those that the system gives to whoever connects to something, so that nobody takes it meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port


@asynccontextmanager
async def open_front(signing_keys: Any, host: str = "localhost", **options: Any) -> AsyncIterator[House]:
    """A house whose public URL is where it listens, so that a browser can go there; `house.url` is that URL."""
    port = free_port()
    public = f"http://{host}:{port}"
    async with open_house(signing_keys, public_url=public, port=port, **options) as house:
        house.url = URL(public)
        yield house


async def sign_in(page: Page, login_id: str = "bob@example.com", password: str = "bob-demo-password") -> None:
    """Fill the password form that is shown, and send it."""
    await page.get_by_label("Login").fill(login_id)
    await page.get_by_label("Password", exact=True).fill(password)
    await page.get_by_role("button", name="Sign in", exact=True).click()


async def findings(page: Page) -> list[str]:
    """What axe-core has against the page, but for what stands inside Descope's own component."""
    if not _AXE.is_file():
        without("axe-core is not installed; run make node-modules")
    await page.evaluate(_AXE.read_text("utf-8"))
    run = "async () => JSON.stringify(await axe.run({exclude: ['descope-wc']}))"
    told: dict[str, Any] = json.loads(await page.evaluate(run))
    return [f"{one['id']}: {node['html']}" for one in told["violations"] for node in one["nodes"]]


async def is_too_wide(page: Page) -> bool:
    return bool(await page.evaluate("document.documentElement.scrollWidth > innerWidth"))
