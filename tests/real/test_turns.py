"""Sign-ins that end where they began, with a browser that goes round by itself or by a patient person's hand."""

from urllib.parse import quote

from playwright.async_api import Page, Response

from tests.conftest import House
from tests.real.browser import sign_in
from tests.real.conftest import OpenFront


async def reply_to_sign_in(page: Page) -> Response:
    """Sign in by the form that is shown; the reply of the page that this ends on."""
    async with page.expect_navigation() as gone:
        await sign_in(page)
    reply = await gone.value
    assert reply is not None
    return reply


async def test_a_secure_cookie_over_http_is_told_and_ends_on_the_third_turn(open_front: OpenFront, page: Page) -> None:
    async with open_front(host="app.test", cookies="{secure: true}") as front:
        await page.goto(f"{front.url}/deep")
        once = await reply_to_sign_in(page)

        assert once.status == 400
        assert "Open it over https." in await page.get_by_role("alert").inner_text()
        twice = await reply_to_sign_in(page)
        assert twice.status == 400
        text = await page.inner_text("main")
        assert "Sign-in goes round in a circle." in text
        assert "Open it over https." in text
        assert "session_not_kept" in text
        assert not await page.locator("form").count()


async def test_a_domain_that_the_browser_refuses_is_told(open_front: OpenFront, page: Page) -> None:
    # `test` is a whole top-level domain: no site may set cookies for it.
    async with open_front(host="app.test", cookies="{secure: false, domain: test}") as front:
        await page.goto(f"{front.url}/deep")
        await reply_to_sign_in(page)

        assert "They are for test" in await page.get_by_role("alert").inner_text()


async def test_a_path_outside_the_cookies_is_told_and_one_inside_is_reached(open_front: OpenFront, page: Page) -> None:
    async with open_front(cookies="{secure: false, path: /app}") as front:
        await page.goto(f"{front.url}/other")
        await reply_to_sign_in(page)
        assert "below /app" in await page.get_by_role("alert").inner_text()

        await page.context.clear_cookies()
        await page.goto(f"{front.url}/app/deep")
        await reply_to_sign_in(page)
        assert page.url == f"{front.url}/app/deep"
        assert await page.inner_text("body") == "ok"


async def test_a_page_that_takes_no_session_ends_on_the_third_turn_by_itself(front: House, page: Page) -> None:
    await page.goto(f"{front.url}/.auth/login?rd=/deep")
    await reply_to_sign_in(page)
    reply = await page.goto(f"{front.url}/jobs/x")

    assert reply is not None
    assert reply.status == 400
    assert "access key" in await page.inner_text("main")


async def test_a_slow_clock_is_told(front: House, page: Page) -> None:
    await page.goto(f"{front.url}/deep")
    front.clock.offset_s = -3600
    await reply_to_sign_in(page)

    assert "a clock is off" in await page.get_by_role("alert").inner_text()


async def test_a_link_of_another_site_reaches_its_page_though_cookies_are_strict(
    open_front: OpenFront, page: Page
) -> None:
    async with open_front(cookies="{secure: false, same_site: strict}") as front:
        await page.goto(f"{front.url}/deep")
        await reply_to_sign_in(page)
        elsewhere = f'<a href="{front.url}/from-a-mail?x=1">open</a>'
        await page.goto(f"data:text/html,{quote(elsewhere)}")
        await page.get_by_role("link", name="open").click()
        await page.wait_for_url(f"{front.url}/from-a-mail?x=1")

        assert await page.inner_text("body") == "ok"
