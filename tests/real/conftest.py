"""Fixtures for tests with a real browser: one Chromium for all of them, a fresh profile for each.

A browser belongs to the event loop that it was started on, so these tests and their houses run on the loop of the
whole session. `front` is a house that a browser can go to, `open_front` one with routes and rules of its own, `visits`
makes profiles. A test fails when a page had the browser complain.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.conftest import House
from tests.real import browser as real
from tests.real.browser import Complaints, Visits

OpenFront = Callable[..., Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = __name__.rpartition(".")[0]
    for item in items:
        if isinstance(item, pytest.Function) and item.function.__module__.startswith(here):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(60))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await real.launched(playwright)
        yield running
        await running.close()


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """A test that provokes a complaint empties `told`, having looked at it."""
    heard = Complaints()
    yield heard
    assert heard.told == []


@pytest.fixture
def visits(browser: Browser, complaints: Complaints) -> Visits:
    return Visits(browser, complaints)


@pytest_asyncio.fixture(loop_scope="session")
async def person(visits: Visits) -> AsyncIterator[BrowserContext]:
    """One person's browser."""
    async with visits.person() as context:
        yield context


@pytest_asyncio.fixture(loop_scope="session")
async def page(person: BrowserContext) -> Page:
    """One tab of it."""
    return await person.new_page()


@pytest_asyncio.fixture(loop_scope="session")
async def front(signing_keys: Any) -> AsyncIterator[House]:
    """The usual house, with a public URL that a browser can go to."""
    async with real.open_front(signing_keys) as house:
        yield house


@pytest.fixture
def open_front(signing_keys: Any) -> OpenFront:
    """A house of one's own: `async with open_front(routes=..., top=..., host=...) as front`."""

    def build(**options: Any) -> Any:
        return real.open_front(signing_keys, **options)

    return build
