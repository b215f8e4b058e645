"""Every sign-in method in a real browser: signed in, wrong input, the way back to a deep link, without JavaScript."""

from typing import Any

import pyotp
import pytest
from playwright.async_api import Page, expect

from tests.conftest import House
from tests.real.browser import Visits, findings, is_too_wide, sign_in
from tests.real.conftest import OpenFront

LOGIN = """
login:
  methods: [password, otp, magic_link, enchanted_link, oauth, sso, totp]
  otp: {channels: [email, sms, voice, whatsapp]}
  oauth: {providers: [google, github]}
  sso: {domains: {acme.example.com: acme}}
  sign_up: true
"""
ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@acme.example.com"
BOBS_KEY = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
DEEP = "/deep/link?x=1&y=%2F"


def told(front: House, address: str) -> Any:
    return front.emulator.inbox.last(address)


async def begin(page: Page, front: House, way: str) -> None:
    """Go to a page that needs a session, and choose how to get one."""
    await page.goto(f"{front.url}{DEEP}")
    await page.get_by_role("link", name=way, exact=True).click()


async def arrived(page: Page, front: House) -> None:
    await page.wait_for_url(f"{front.url}{DEEP}")
    assert await page.evaluate("document.cookie") == ""


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def scripts(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_a_code_by_sms_after_a_wrong_one(open_front: OpenFront, visits: Visits, scripts: bool) -> None:
    async with open_front(top=LOGIN) as front, visits.page(java_script_enabled=scripts) as page:
        await begin(page, front, "With a one-time code")
        await page.get_by_label("text message").check()
        await page.get_by_label("E-mail address or phone number").fill("+12025550101")
        await page.get_by_role("button", name="Send a code").click()
        await page.get_by_label("Code").fill("12")
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text("The code is wrong")
        await page.get_by_label("Code").fill(told(front, "+12025550101").code)
        await page.get_by_role("button", name="Sign in", exact=True).click()

        await page.wait_for_url(f"{front.url}{DEEP}")


async def test_a_wait_for_another_code_is_counted_down(open_front: OpenFront, visits: Visits) -> None:
    async with open_front(top=LOGIN) as front, visits.page() as page:
        front.emulator.configure(send_wait_s=2.0)
        await begin(page, front, "With a one-time code")
        await page.get_by_label("E-mail address or phone number").fill(BOB)
        await page.get_by_role("button", name="Send a code").click()
        await page.get_by_role("button", name="Send another code").click()
        await expect(page.get_by_role("button", name="Send another code")).to_be_disabled()
        await expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_enabled()
        await expect(page.get_by_role("button", name="Send another code")).to_be_enabled()
        await page.get_by_label("Code").fill(told(front, BOB).code)
        await page.get_by_role("button", name="Sign in", exact=True).click()

        await arrived(page, front)


async def test_a_link_in_a_message(open_front: OpenFront, visits: Visits, scripts: bool) -> None:
    async with open_front(top=LOGIN) as front, visits.page(java_script_enabled=scripts) as page:
        await begin(page, front, "With a link in a message")
        await page.get_by_label("E-mail address").fill(BOB)
        await page.get_by_role("button", name="Send a link").click()
        await expect(page.get_by_text("b**@e******.com")).to_be_visible()
        await page.goto(told(front, BOB).link)
        await page.get_by_role("button", name="Sign in", exact=True).click()

        await page.wait_for_url(f"{front.url}{DEEP}")


async def test_a_link_with_a_number_opened_on_another_device(open_front: OpenFront, visits: Visits) -> None:
    async with open_front(top=LOGIN) as front, visits.page() as page, visits.page() as phone:
        await begin(page, front, "With a link and a number")
        await page.get_by_label("E-mail address").fill(BOB)
        await page.get_by_role("button", name="Send a link").click()
        message = told(front, BOB)
        await expect(page.get_by_text(message.link_id, exact=True)).to_be_visible()
        await phone.goto(message.link)
        await phone.get_by_role("button", name="The number is right").click()
        await expect(phone.get_by_role("heading")).to_contain_text("Go back")

        await arrived(page, front)
        assert await phone.context.cookies() == []
        polled = front.emulator.count("enchanted_link_poll")
        await page.reload()
        assert front.emulator.count("enchanted_link_poll") == polled


async def test_a_link_with_a_number_without_scripts(open_front: OpenFront, visits: Visits) -> None:
    async with open_front(top=LOGIN) as front, visits.page(java_script_enabled=False) as page, visits.page() as phone:
        await begin(page, front, "With a link and a number")
        await page.get_by_label("E-mail address").fill(BOB)
        await page.get_by_role("button", name="Send a link").click()
        await page.get_by_role("button", name="I have opened it").click()
        await expect(page.get_by_role("alert")).to_contain_text("has not been opened yet")
        await phone.goto(told(front, BOB).link)
        await phone.get_by_role("button", name="The number is right").click()
        front.clock.offset_s += 4
        await page.get_by_role("button", name="I have opened it").click()

        await page.wait_for_url(f"{front.url}{DEEP}")


async def test_another_service(open_front: OpenFront, visits: Visits, scripts: bool) -> None:
    async with open_front(top=LOGIN) as front, visits.page(java_script_enabled=scripts) as page:
        await begin(page, front, "Continue with GitHub")
        await page.get_by_role("button", name="Refuse").click()
        await expect(page.get_by_role("alert")).to_contain_text("was not completed there")
        await page.get_by_role("link", name="Continue with GitHub").click()
        await page.get_by_label("(bob@example.com)").check()
        await page.get_by_role("button", name="Continue").click()

        await page.wait_for_url(f"{front.url}{DEEP}")


async def test_two_tabs_at_two_providers_both_arrive(open_front: OpenFront, visits: Visits) -> None:
    async with open_front(top=LOGIN) as front, visits.person() as person:
        tabs = [await person.new_page(), await person.new_page()]
        for tab, provider in zip(tabs, ("Google", "GitHub"), strict=True):
            await begin(tab, front, f"Continue with {provider}")
            await tab.get_by_label("(bob@example.com)").check()
        for tab in reversed(tabs):
            await tab.get_by_role("button", name="Continue").click()
            await arrived(tab, front)


async def test_single_sign_on_by_the_address_at_work(open_front: OpenFront, visits: Visits, scripts: bool) -> None:
    async with open_front(top=LOGIN) as front, visits.page(java_script_enabled=scripts) as page:
        await begin(page, front, "With single sign-on")
        await page.get_by_label("E-mail address at work").fill("eve@elsewhere.example")
        await page.get_by_role("button", name="Go on").click()
        await expect(page.get_by_role("alert")).to_contain_text("no single sign-on")
        await page.get_by_label("E-mail address at work").fill(EVE)
        await page.get_by_role("button", name="Go on").click()
        await page.get_by_role("button", name="Continue").click()

        await page.wait_for_url(f"{front.url}{DEEP}")
        await page.goto(f"{front.url}{DEEP}")
        assert front.upstream.last.value("x-auth-tenant") == "acme"


async def test_an_app_is_added_and_signs_in(open_front: OpenFront, visits: Visits, scripts: bool) -> None:
    async with open_front(top=LOGIN) as front, visits.page(java_script_enabled=scripts) as page:
        await page.goto(f"{front.url}/.auth/account")
        await sign_in(page, ADA, "ada-demo-password")
        await page.get_by_role("link", name="Add an authenticator app").click()
        await page.get_by_role("button", name="Show the key").click()
        picture = page.get_by_role("img", name="QR code")
        assert await picture.evaluate("image => image.complete && image.naturalWidth > 100") or not scripts
        key = (await page.locator(".key").inner_text()).replace(" ", "")
        await page.get_by_label("Code that the app shows").fill(pyotp.TOTP(key).at(int(front.clock.now_s())))
        await page.get_by_role("button", name="Confirm").click()
        await page.wait_for_url(f"{front.url}/.auth/account")
        await page.get_by_role("button", name="Sign out", exact=True).click()
        front.put_forward(60)
        await begin(page, front, "With an authenticator app")
        await page.get_by_label("Login").fill(ADA)
        await page.get_by_label("Code").fill("000000")
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text("wrong")
        await page.get_by_label("Code").fill(pyotp.TOTP(key).at(int(front.clock.now_s())))
        await page.get_by_role("button", name="Sign in", exact=True).click()

        await page.wait_for_url(f"{front.url}{DEEP}")


async def test_a_new_account_with_a_password_that_is_good_enough(open_front: OpenFront, visits: Visits) -> None:
    async with open_front(top=LOGIN) as front, visits.page(java_script_enabled=False) as page:
        await page.goto(f"{front.url}{DEEP}")
        await page.get_by_role("link", name="New account").click()
        await page.get_by_label("Login or e-mail address").fill("dora@example.com")
        await page.get_by_label("New password").fill("a-long-password")
        await page.get_by_role("button", name="Make the account").click()

        await page.wait_for_url(f"{front.url}{DEEP}")


async def test_a_forgotten_password_is_replaced_by_the_link(
    open_front: OpenFront, visits: Visits, scripts: bool
) -> None:
    async with open_front(top=LOGIN) as front, visits.page(java_script_enabled=scripts) as page:
        await page.goto(f"{front.url}{DEEP}")
        await page.get_by_role("link", name="Forgotten password").click()
        await page.get_by_label("Login").fill(BOB)
        await page.get_by_role("button", name="Send the message").click()
        await page.goto(told(front, BOB).link)
        await page.get_by_label("New password").fill("another-password")
        await page.get_by_role("button", name="Set it and sign in").click()
        await page.goto(f"{front.url}/.auth/account")
        await page.get_by_role("button", name="Sign out", exact=True).click()
        await page.goto(f"{front.url}{DEEP}")
        await sign_in(page, BOB, "another-password")

        await page.wait_for_url(f"{front.url}{DEEP}")


async def test_a_tenant_is_chosen_and_switched_and_the_service_sees_it(open_front: OpenFront, visits: Visits) -> None:
    routes = "routes: [{id: all, match: {path: /**}, require: {tenant: selected}, upstream: legacy}]"
    async with open_front(top=LOGIN, routes=routes) as front, visits.page() as page:
        await page.goto(f"{front.url}{DEEP}")
        await sign_in(page, "cleo@example.com", "cleo-demo-password")
        await page.get_by_role("button", name="Globex Corporation").click()
        await arrived(page, front)
        chosen = front.upstream.last.value("x-auth-tenant")
        await page.goto(f"{front.url}/.auth/account")
        await page.get_by_role("button", name="Go to Acme Corporation").click()
        await page.goto(f"{front.url}{DEEP}")

        assert (chosen, front.upstream.last.value("x-auth-tenant")) == ("globex", "acme")


async def test_descope_away_is_told_with_a_wait_and_the_form_stays(open_front: OpenFront, visits: Visits) -> None:
    async with open_front(top=LOGIN) as front, visits.page() as page:
        front.emulator.fault("signin", status=429, headers={"Retry-After": "2"}, times=1)
        await page.goto(f"{front.url}{DEEP}")
        await sign_in(page)
        await expect(page.get_by_role("alert")).to_contain_text("busy")
        await expect(page.get_by_label("Login")).to_have_value(BOB)
        await page.get_by_label("Password", exact=True).fill("bob-demo-password")
        await page.get_by_role("button", name="Sign in", exact=True).click()

        await arrived(page, front)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_pages_on_the_way_can_be_read_by_everybody(
    open_front: OpenFront, visits: Visits, scheme: str
) -> None:
    options: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": 320, "height": 640}, "bypass_csp": True}
    async with open_front(top=LOGIN) as front, visits.page(**options) as page:

        async def is_good(name: str) -> None:
            assert await findings(page) == [], name
            assert not await is_too_wide(page), name

        for path in ("otp/send", "magiclink/send", "enchantedlink/send", "sso/start", "totp/verify", "totp/signup"):
            await page.goto(f"{front.url}/.auth/{path}")
            await is_good(path)
        for path, button in (("otp/send", "a code"), ("magiclink/send", "a link"), ("enchantedlink/send", "a link")):
            await page.goto(f"{front.url}/.auth/{path}")
            await page.get_by_label("E-mail address").last.fill(ADA if path == "otp/send" else BOB)
            front.emulator.inbox.forget()
            await page.get_by_role("button", name=f"Send {button}").click()
            await is_good(f"{path}, sent")
        await page.goto(told(front, BOB).link)
        await is_good("the page of a link")
        for name, value in front.cookies(ADA).items():
            await page.context.add_cookies([{"name": name, "value": value, "url": str(front.url)}])
        await page.goto(f"{front.url}/.auth/totp/enrol")
        await is_good("before an app is added")
        await page.get_by_role("button", name="Show the key").click()
        await is_good("an app is added")
