"""The pages, as a person's browser finds them."""

import json
from collections.abc import Mapping
from typing import Any

from playwright.async_api import BrowserContext, Page, expect

from tests.conftest import House
from tests.real.browser import Complaints, Visits, sign_in
from tests.real.conftest import OpenFront

RENEWED_IN_TURN = 20
# Each call is answered by what it was let in with; the page tells how many were.
POLLING = """async () => {
  const calls = Array.from({length: COUNT}, (_, number) => fetch(`/poll/${number}`).then(reply => reply.status));
  return JSON.stringify(await Promise.all(calls));
}""".replace("COUNT", str(RENEWED_IN_TURN))


async def signed_in(front: House, person: BrowserContext, login_id: str = "bob@example.com") -> Page:
    """A tab of somebody who has just signed in by the page."""
    page = await person.new_page()
    await page.goto(f"{front.url}/begun")
    await sign_in(page, login_id, f"{login_id.partition('@')[0]}-demo-password")
    await page.wait_for_url(f"{front.url}/begun")
    return page


async def jar(person: BrowserContext) -> Mapping[str, Any]:
    return {cookie["name"]: cookie for cookie in await person.cookies() if "name" in cookie}


# --- signing in -------------------------------------------------------------------------------------------------------


async def test_sign_in_leads_back_to_the_deep_link_with_its_query(front: House, page: Page) -> None:
    await page.goto(f"{front.url}/deep/link?q=a%20b&x=%C3%A9")
    assert page.url.startswith(f"{front.url}/.auth/login?rd=")
    await sign_in(page)
    await page.wait_for_url(f"{front.url}/deep/link?q=a%20b&x=%C3%A9")

    assert await page.inner_text("body") == "ok"
    assert "/deep/link?q=a%20b&x=%C3%A9" in [seen.path for seen in front.upstream.seen]


async def test_sign_in_works_over_plain_http_where_browsers_send_no_fetch_metadata(
    open_front: OpenFront, page: Page
) -> None:
    async with open_front(host="app.test") as front:
        await page.goto(f"{front.url}/deep")
        await sign_in(page)
        await page.wait_for_url(f"{front.url}/deep")

        assert await page.inner_text("body") == "ok"


async def test_without_javascript_sign_in_leads_back_all_the_same(front: House, visits: Visits) -> None:
    async with visits.page(java_script_enabled=False) as page:
        await page.goto(f"{front.url}/deep?x=1")
        await sign_in(page)
        await page.wait_for_url(f"{front.url}/deep?x=1")

        assert await page.inner_text("body") == "ok"


async def test_a_wrong_password_is_told_and_the_login_stays(front: House, page: Page) -> None:
    await page.goto(f"{front.url}/deep")
    await sign_in(page, password="not-the-password")
    alert = page.get_by_role("alert")
    await alert.wait_for()

    assert "The login or the password is wrong" in await alert.inner_text()
    assert await page.get_by_label("Login").input_value() == "bob@example.com"
    assert await page.get_by_label("Password", exact=True).input_value() == ""
    await expect(page.get_by_label("Password", exact=True)).to_be_focused()
    await sign_in(page)
    await page.wait_for_url(f"{front.url}/deep")


async def test_two_tabs_that_sign_in_at_once_both_arrive(front: House, person: BrowserContext) -> None:
    first, second = await person.new_page(), await person.new_page()
    await first.goto(f"{front.url}/first")
    await second.goto(f"{front.url}/second")
    await sign_in(second)
    await sign_in(first)

    await first.wait_for_url(f"{front.url}/first")
    await second.wait_for_url(f"{front.url}/second")
    assert await first.inner_text("body") == await second.inner_text("body") == "ok"


async def test_a_tab_left_at_the_form_goes_on_when_another_has_signed_in(front: House, person: BrowserContext) -> None:
    waiting = await person.new_page()
    await waiting.goto(f"{front.url}/waiting")
    await signed_in(front, person)
    await waiting.reload()

    assert waiting.url == f"{front.url}/waiting"


async def test_the_keyboard_is_enough(front: House, page: Page) -> None:
    await page.goto(f"{front.url}/deep")
    await expect(page.get_by_label("Login")).to_be_focused()
    await page.keyboard.type("bob@example.com")
    await page.keyboard.press("Tab")
    await page.keyboard.type("bob-demo-password")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Sign in")).to_be_focused()
    outline = await page.get_by_role("button", name="Sign in").evaluate("one => getComputedStyle(one).outlineStyle")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{front.url}/deep")

    assert outline == "solid"


async def test_t16_no_script_of_a_page_sees_a_token(front: House, person: BrowserContext) -> None:
    page = await signed_in(front, person)
    seen = await page.evaluate("[document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage)]")

    assert seen == ["", "{}", "{}"]
    assert {name for name, cookie in (await jar(person)).items() if cookie["httpOnly"]} >= {"DS", "DSR"}


async def test_what_a_page_must_not_do_is_heard_by_these_tests(
    front: House, page: Page, complaints: Complaints
) -> None:
    await page.goto(f"{front.url}/.auth/login")
    async with page.expect_console_message():
        await page.evaluate("document.head.append(Object.assign(document.createElement('script'), {text: 'alert(1)'}))")

    assert "Content Security Policy" in complaints.told[0]
    complaints.told.clear()


# --- sign-up ----------------------------------------------------------------------------------------------------------


async def test_an_account_is_made_where_sign_up_is_on(open_front: OpenFront, page: Page) -> None:
    async with open_front(top="login: {sign_up: true}") as front:
        await page.goto(f"{front.url}/deep?x=1")
        await page.get_by_role("link", name="New account").click()
        await page.get_by_label("Login or e-mail address").fill("dora@example.com")
        await page.get_by_label("New password").fill("a-long-password")
        await page.get_by_role("button", name="Make the account").click()
        await page.wait_for_url(f"{front.url}/deep?x=1")

        assert await page.inner_text("body") == "ok"


# --- staying signed in ------------------------------------------------------------------------------------------------


async def test_a_page_that_polls_in_parallel_stays_signed_in_across_renewals(
    front: House, person: BrowserContext
) -> None:
    front.emulator.configure(refresh_rotation="on")
    page = await signed_in(front, person)
    for turn in range(1, 4):
        front.put_forward(700)
        before = (await jar(person))["DSR"]["value"]
        statuses = json.loads(await page.evaluate(POLLING))

        assert statuses == [200] * RENEWED_IN_TURN
        assert front.emulator.count("refresh") == turn
        assert (await jar(person))["DSR"]["value"] != before
    assert front.emulator.count("reuse_detected") == 0


# --- the account, and leaving -----------------------------------------------------------------------------------------


async def test_another_tenant_is_seen_by_the_upstream(front: House, person: BrowserContext) -> None:
    page = await signed_in(front, person, "cleo@example.com")
    await page.goto(f"{front.url}/.auth/account")
    switch = page.get_by_role("button", name="Go to").first
    name = (await switch.inner_text()).removeprefix("Go to ")
    await switch.click()
    await page.get_by_text("(selected)").wait_for()
    chosen = await page.locator("strong[aria-current]").inner_text()
    await page.goto(f"{front.url}/after")

    assert chosen == name
    after = next(seen for seen in reversed(front.upstream.seen) if seen.path == "/after")
    assert after.value("x-auth-tenant") is not None


async def test_signing_out_ends_the_session_in_every_tab(front: House, person: BrowserContext) -> None:
    page, other = await signed_in(front, person), await person.new_page()
    await other.goto(f"{front.url}/other")
    await page.goto(f"{front.url}/.auth/account")
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await page.get_by_role("heading", name="You are signed out.").wait_for()
    await other.reload()

    assert not {"DS", "DSR"} & (await jar(person)).keys()
    assert other.url.startswith(f"{front.url}/.auth/login?rd=/other")
    await page.get_by_role("link", name="Sign in again").click()
    await expect(page.get_by_label("Login")).to_be_visible()


async def test_signing_out_everywhere_ends_the_session_of_another_browser(front: House, visits: Visits) -> None:
    async with visits.person() as here, visits.person() as there:
        page, far = await signed_in(front, here), await signed_in(front, there)
        front.put_forward(1)
        await page.goto(f"{front.url}/.auth/account")
        await page.get_by_role("button", name="Sign out everywhere").click()
        await page.get_by_role("heading", name="You are signed out.").wait_for()
        await far.goto(f"{front.url}/far")

        assert far.url.startswith(f"{front.url}/.auth/login?rd=/far")


# --- refusals ---------------------------------------------------------------------------------------------------------


async def test_a_page_that_is_refused_says_why_and_leads_nowhere_else(front: House, person: BrowserContext) -> None:
    page = await signed_in(front, person)
    reply = await page.goto(f"{front.url}/admin/x")

    assert reply is not None
    assert (reply.status, page.url) == (403, f"{front.url}/admin/x")
    assert "role_missing" in await page.inner_text("main")


async def test_a_script_is_refused_with_a_problem_and_not_sent_to_sign_in(front: House, page: Page) -> None:
    await page.goto(f"{front.url}/public/x")
    refused = await page.evaluate(
        "fetch('/api').then(async reply => [reply.status, reply.redirected, await reply.json()])"
    )

    assert refused[:2] == [401, False]
    assert refused[2]["reason"] == "no_credentials"


async def test_t23_a_form_on_another_site_is_refused_with_a_page(open_front: OpenFront, page: Page) -> None:
    async with open_front() as front:
        await page.set_content(
            f'<form method="post" action="{front.url}/.auth/login"><input name="login_id" value="bob@example.com">'
            '<input name="password" value="bob-demo-password"><button>Win</button></form>'
        )
        await page.get_by_role("button").click()
        await page.get_by_text("The request was sent by another site.").wait_for()

        assert not {"DS", "DSR"} & (await jar(page.context)).keys()
