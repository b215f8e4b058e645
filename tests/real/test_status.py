"""The status page in a browser: readable by everybody, light and dark, on a phone, and without a script."""

from typing import Any

import pytest

from tests.real.browser import Visits, findings, is_too_wide
from tests.real.conftest import OpenFront


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
async def test_the_status_page_can_be_read_by_everybody(
    open_front: OpenFront, visits: Visits, scheme: str, width: int
) -> None:
    options: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    async with (
        open_front(top="limits: {person: {rate: 2/s, burst: 4, per: subject}}", status=True) as front,
        visits.person(bypass_csp=True, **options) as person,
    ):
        for path in ("/admin/x", "/t/a-tenant-with-a-rather-long-name/docs/of-something-long-in-one-word", "/public"):
            await front.get(path)
        front.emulator.fault("refresh", status=429, headers={"Retry-After": "60"})
        await front.get("/app", cookies={"DSR": front.cookies("bob@example.com")["DSR"]})
        page = await person.new_page()
        await page.goto(f"http://{front.gateway.status_address}/")

        assert await page.get_by_role("heading", name="Routes").is_visible()
        assert await findings(page) == []
        assert not await is_too_wide(page)


async def test_the_status_page_comes_anew_by_itself(open_front: OpenFront, visits: Visits) -> None:
    async with open_front(status=True) as front, visits.person() as person:
        page = await person.new_page()
        await page.goto(f"http://{front.gateway.status_address}/")
        assert await page.get_by_text("None since the start").is_visible()
        await front.get("/admin/x")

        await page.get_by_text("/admin/x").wait_for(timeout=10_000)
