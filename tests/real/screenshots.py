"""Takes the pictures of the pages for the documentation: `make screenshots`. Look at them before you keep them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from playwright.async_api import Browser, Page, async_playwright

from gateway.emulator import fresh_key
from tests.conftest import ROOT, House
from tests.real.browser import launched, open_front, sign_in

IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT = 480, 400
LOGIN = """login:
  methods: [password, otp, magic_link, enchanted_link, oauth, sso, totp, flow]
  oauth: {providers: [google, github]}
  sso: {tenants: [acme], domains: {example.com: acme}}
  sign_up: true
"""
BRAND = """login:
  methods: [otp, password]
  otp: {channels: [email, sms]}
  brand: {title: Legacy at Acme, accent: "#7a1fa2", texts: {lead: Use the account that you have at Acme.}}
"""


class Album:
    def __init__(self, browser: Browser, front: House) -> None:
        self._browser = browser
        self._front = front

    @asynccontextmanager
    async def page(self, **options: Any) -> AsyncIterator[Page]:
        context = await self._browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, **options)
        yield await context.new_page()
        await context.close()

    async def picture(self, page: Page, name: str, path: str = "") -> None:
        """The page as it is, or as it is at `path`; the caret and the focus are left out."""
        if path:
            await page.goto(f"{self._front.url}{path}")
        await page.evaluate("document.activeElement?.blur()")
        await page.screenshot(path=IMAGES / f"{name}.png", full_page=True, animations="disabled")

    async def everybodys(self) -> None:
        async with self.page() as page:
            await self.picture(page, "sign-in", "/.auth/login?rd=/deep")
            await sign_in(page, password="not-the-password")
            await page.get_by_role("alert").wait_for()
            await self.picture(page, "sign-in-wrong")
            for name in ("signup", "reset", "replace"):
                await self.picture(page, f"password-{name}", f"/.auth/password/{name}?rd=/deep")
            await self.picture(page, "password-new", "/.auth/password/new?t=token")
            await self.picture(page, "circle", "/.auth/login?rd=/deep&turn=2")
            for name, path in (
                ("sso", "sso/start"),
                ("totp", "totp/verify"),
                ("magic-link-opened", "magiclink/verify"),
            ):
                await self.picture(page, name, f"/.auth/{path}?rd=/deep&t=token")
        async with self.page(color_scheme="dark") as page:
            await self.picture(page, "sign-in-dark", "/.auth/login?rd=/deep")

    async def messages(self) -> None:
        """What is shown once a code or a link is on its way."""
        for name, path, button, who in (
            ("otp", "otp/send", "Send a code", "ada"),
            ("magic-link", "magiclink/send", "Send a link", "bob"),
            ("enchanted-link", "enchantedlink/send", "Send a link", "cleo"),
        ):
            async with self.page() as page:
                await page.goto(f"{self._front.url}/.auth/{path}?rd=/deep")
                await page.get_by_label("E-mail address").fill(f"{who}@example.com")
                await page.get_by_role("button", name=button).click()
                await page.wait_for_load_state()
                await self.picture(page, name)

    async def ones_own(self) -> None:
        async with self.page() as page:
            await page.goto(f"{self._front.url}/.auth/login?rd=/.auth/account")
            await sign_in(page, "cleo@example.com", "cleo-demo-password")
            await page.wait_for_url("**/.auth/account")
            await self.picture(page, "account")
            await self.picture(page, "tenant", "/.auth/tenant")
            await self.picture(page, "password-update", "/.auth/password/update")
            await page.goto(f"{self._front.url}/.auth/totp/enrol")
            await page.get_by_role("button", name="Show the key").click()
            await page.get_by_role("img").wait_for()
            await self.picture(page, "totp-enrol")
            await self.picture(page, "refused", "/admin/x")
            await page.goto(f"{self._front.url}/.auth/account")
            await page.get_by_role("button", name="Sign out", exact=True).click()
            await page.get_by_role("heading", name="You are signed out.").wait_for()
            await self.picture(page, "signed-out")

    async def a_wait(self) -> None:
        """Last, for nobody signs in after it."""
        self._front.emulator.fault("signin", status=429, headers={"Retry-After": "40"}, times=None)
        async with self.page() as page:
            await page.goto(f"{self._front.url}/.auth/login?rd=/deep")
            await sign_in(page)
            await page.get_by_role("timer").wait_for()
            await self.picture(page, "wait")


async def take() -> list[Path]:
    IMAGES.mkdir(exist_ok=True)
    keys = {algorithm: fresh_key(algorithm).private for algorithm in ("RS256", "ES256")}
    async with async_playwright() as playwright:
        browser = await launched(playwright)
        async with open_front(keys, top=LOGIN) as front:
            album = Album(browser, front)
            await album.everybodys()
            await album.messages()
            await album.ones_own()
            await album.a_wait()
        async with open_front(keys, top=BRAND) as front:
            album = Album(browser, front)
            async with album.page() as page:
                await album.picture(page, "sign-in-brand", "/.auth/login?rd=/deep")
        await browser.close()
    return sorted(IMAGES.glob("*.png"))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for taken in runner.run(take()):
            print(taken.relative_to(ROOT), taken.stat().st_size)
