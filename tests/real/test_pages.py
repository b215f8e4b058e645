"""The pages, as a person's browser finds them."""

from playwright.async_api import Page

from tests.conftest import House
from tests.real.browser import sign_in


async def test_sign_in_leads_back_to_the_deep_link_with_its_query(front: House, page: Page) -> None:
    await page.goto(f"{front.url}/deep/link?q=a%20b&x=%C3%A9")
    assert page.url.startswith(f"{front.url}/.auth/login?rd=")
    await sign_in(page)
    await page.wait_for_url(f"{front.url}/deep/link?q=a%20b&x=%C3%A9")

    assert await page.inner_text("body") == "ok"
    assert "/deep/link?q=a%20b&x=%C3%A9" in [seen.path for seen in front.upstream.seen]
