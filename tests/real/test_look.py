"""How the pages look: brand, replaced templates, light and dark, narrow screens, what axe-core finds."""

from typing import Any

import pytest
from playwright.async_api import Page

from tests.conftest import House
from tests.real.browser import Visits, findings, is_too_wide
from tests.real.conftest import OpenFront

EVERY = "methods: [password, otp, magic_link, enchanted_link, oauth, sso, totp, flow]"
REST = "oauth: {providers: [google, github]}, sso: {tenants: [acme], domains: {example.com: acme}}, sign_up: true"
LOGIN = f"login: {{{EVERY}, {REST}, otp: {{channels: [email, sms]}}, brand: {{title: Legacy at Acme}}}}"
# Pages that anybody can open, by what they are.
PAGES = {
    "sign-in": "/.auth/login?rd=/deep",
    "password sign-in": "/.auth/password/signin",
    "password sign-up": "/.auth/password/signup",
    "password reset": "/.auth/password/reset",
    "password replacement": "/.auth/password/replace",
    "new password": "/.auth/password/new?t=abc",
    "a circle": "/.auth/login?rd=/deep&turn=2",
    "a code": "/.auth/otp/send",
    "a link": "/.auth/magiclink/send",
    "a link, opened": "/.auth/magiclink/verify?t=abc",
    "a link with a number": "/.auth/enchantedlink/send",
    "a link with a number, opened": "/.auth/enchantedlink/verify?t=abc",
    "single sign-on": "/.auth/sso/start",
    "an app": "/.auth/totp/verify",
    "an account by an app": "/.auth/totp/signup",
    "a flow": "/.auth/flow",
    "nothing here": "/.auth/nowhere",
}
# Those that somebody signed in has.
OWN = {
    "account": "/.auth/account",
    "tenant": "/.auth/tenant",
    "change the password": "/.auth/password/update",
    "add an app": "/.auth/totp/enrol",
}
METHODS = ["password", "otp", "magic_link", "enchanted_link", "oauth", "sso", "totp", "flow"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_can_be_read_by_everybody(open_front: OpenFront, visits: Visits, scheme: str) -> None:
    options: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": 320, "height": 640}}
    async with open_front(top=LOGIN) as front, visits.person(bypass_csp=True, **options) as person:
        page = await person.new_page()
        for name, path in PAGES.items():
            await page.goto(f"{front.url}{path}")
            assert await findings(page) == [], name
            assert not await is_too_wide(page), name
        for name, value in front.cookies("cleo@example.com").items():
            await person.add_cookies([{"name": name, "value": value, "url": str(front.url)}])
        for name, path in (OWN | {"a role is missing": "/admin/x"}).items():
            await page.goto(f"{front.url}{path}")
            assert await findings(page) == [], name
            assert not await is_too_wide(page), name


@pytest.mark.parametrize("first", METHODS)
async def test_the_sign_in_page_begins_with_the_first_method_and_leads_to_all_others(
    open_front: OpenFront, visits: Visits, first: str
) -> None:
    methods = [first, *(one for one in METHODS if one != first)]
    login = LOGIN.replace(EVERY, f"methods: [{', '.join(methods)}]")
    async with (
        open_front(top=login) as front,
        visits.page(bypass_csp=True, viewport={"width": 320, "height": 640}) as page,
    ):
        await page.goto(f"{front.url}/.auth/login?rd=/deep")
        links = [await link.get_attribute("href") or "" for link in await page.locator("nav a").all()]

        assert await findings(page) == []
        assert not await is_too_wide(page)
        assert [_method(link) for link in links] == [
            *(name for one in methods[1:] for name in (["google", "github"] if one == "oauth" else [one]))
        ]
        # Flows have their component there, or the word that it is not installed.
        assert await page.locator("main > form, main > .ways, #flow, main > [role=alert]").count() >= 1


def _method(link: str) -> str:
    """Which method a link of the page leads to; for OAuth, which provider."""
    assert "/deep" in link
    pages = {
        "password/signin": "password",
        "otp/send": "otp",
        "magiclink/send": "magic_link",
        "enchantedlink/send": "enchanted_link",
        "oauth/start?provider=google": "google",
        "oauth/start?provider=github": "github",
        "sso/start": "sso",
        "totp/verify": "totp",
        "flow": "flow",
    }
    return next(name for path, name in pages.items() if link.startswith((f"/.auth/{path}?", f"/.auth/{path}&")))


# --- brand ------------------------------------------------------------------------------------------------------------

BRAND = (
    "login: {brand: {title: Legacy <b>, logo: /public/logo.svg, accent: '#f2c200', "
    "texts: {sign_in: Anmelden, footer: 'Fragen: Raum 4'}}}"
)
LOGO = b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><circle cx="20" cy="20" r="18"/></svg>'


async def test_title_logo_colours_and_texts_are_those_of_the_route_file(open_front: OpenFront, visits: Visits) -> None:
    async with open_front(top=BRAND) as front, visits.page() as page:
        front.upstream.reply = (
            b"HTTP/1.1 200 OK\r\nContent-Type: image/svg+xml\r\nContent-Length: %d\r\n\r\n" % len(LOGO) + LOGO
        )
        await page.goto(f"{front.url}/.auth/login")
        button = page.get_by_role("button", name="Anmelden")

        assert await page.title() == "Anmelden · Legacy <b>"
        assert await page.locator("header img").evaluate("image => image.naturalWidth") == 40
        assert await button.evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(242, 194, 0)"
        assert await button.evaluate("one => getComputedStyle(one).color") == "rgb(0, 0, 0)"
        # Yellow on white cannot be read.
        assert await page.locator("main a").evaluate("one => getComputedStyle(one).color") == "rgb(28, 36, 48)"
        assert await page.inner_text("footer") == "Fragen: Raum 4"
        await page.goto(f"{front.url}/.auth/nowhere")
        assert await page.inner_text("header") == "Legacy <b>"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_bright_accent_leaves_the_pages_readable(open_front: OpenFront, visits: Visits, scheme: str) -> None:
    async with open_front(top=BRAND) as front, visits.page(bypass_csp=True, color_scheme=scheme) as page:
        await page.goto(f"{front.url}/.auth/login")

        assert await findings(page) == []


# --- waits ------------------------------------------------------------------------------------------------------------


async def test_a_wait_is_counted_down_and_what_was_typed_stays(front: House, page: Page) -> None:
    await page.clock.install()
    await page.goto(f"{front.url}/.auth/login")
    make_busy(front)
    await page.get_by_label("Login").fill("bob@example.com")
    await page.get_by_label("Password", exact=True).fill("bob-demo-password")
    button = page.get_by_role("button", name="Sign in", exact=True)
    await button.click()
    timer = page.get_by_role("timer")
    await timer.get_by_text("Try again in").wait_for()

    assert await page.get_by_role("alert").inner_text() == "Sign-in is busy just now."
    assert await button.is_disabled()
    await page.clock.fast_forward(15_000)
    assert int(await timer.locator("span").inner_text()) <= 25
    await page.clock.fast_forward(26_000)
    assert await timer.inner_text() == "You can try again now."
    assert await button.is_enabled()
    assert await page.get_by_label("Login").input_value() == "bob@example.com"


async def test_without_javascript_the_wait_is_told_and_the_button_stays(front: House, visits: Visits) -> None:
    async with visits.page(java_script_enabled=False) as page:
        await page.goto(f"{front.url}/.auth/login")
        make_busy(front)
        await page.get_by_label("Login").fill("bob@example.com")
        await page.get_by_label("Password", exact=True).fill("bob-demo-password")
        async with page.expect_navigation() as gone:
            await page.get_by_role("button", name="Sign in", exact=True).click()
        reply = await gone.value

        assert reply is not None
        assert (reply.status, reply.headers["retry-after"]) == (503, "40")
        assert "Try again in 40 seconds." in await page.inner_text("main")
        assert await page.get_by_role("button", name="Sign in", exact=True).is_enabled()


def make_busy(front: House) -> None:
    front.emulator.fault("signin", status=429, headers={"Retry-After": "40"}, times=None)
