"""The emulator's own pages, the inbox and the pretend provider, and what the inbox gives to tests."""

import logging
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.emulator import Emulator
from gateway.emulator.inbox import KEPT_MESSAGES
from gateway.emulator.web_addresses import is_web_address, with_parameter

VERIFY = "https://app.example.com/verify?a=1&b=%2Fc#top"
PAGES = ("/_emulator/inbox", "/_emulator/provider?state=unknown")


@pytest.fixture(autouse=True)
def _nobody_waits(emulator: Emulator) -> None:
    emulator.configure(send_wait_s=0.0)


async def _send_code(api: Any, login_id: str) -> None:
    answer = await api.post("/v1/auth/otp/signin/email", {"loginId": login_id})
    assert answer.status_code == 200, answer.text


async def _provider_page(api: Any) -> str:
    answer = await api.post("/v1/auth/oauth/authorize?provider=google&redirectURL=https://app.example.com/", {})
    return str(answer.json()["url"])


class _Elements(HTMLParser):
    """The elements of a page: names with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


async def test_the_inbox_shows_what_was_sent_newest_first(api: Any, emulator: Emulator) -> None:
    await _send_code(api, "ada@example.com")
    await api.post("/v1/auth/magiclink/signin/sms", {"loginId": "ada@example.com", "URI": VERIFY})
    await api.post("/v1/auth/enchantedlink/signin/email", {"loginId": "bob@example.com", "URI": VERIFY})

    shown = (await api.http.get("/_emulator/inbox")).text
    given = (await api.http.get("/_emulator/messages")).json()["messages"]

    enchanted, magic, code = given
    assert shown.index("bob@example.com") < shown.index("+12025550101") < shown.index("ada@example.com")
    assert [one["channel"] for one in given] == ["email", "sms", "email"]
    assert code["code"] in shown
    links = [link["href"] for link in _Elements(shown).all("a") if link["href"]]
    assert set(links) == {magic["link"], enchanted["link"], *(decoy["link"] for decoy in enchanted["decoys"])}
    assert f"<strong>{enchanted['linkId']}</strong>" in shown
    assert emulator.inbox.last("BOB@example.com").link == enchanted["link"]


async def test_what_people_are_called_cannot_become_markup(api: Any, emulator: Emulator) -> None:
    evil = "<img/src=x>@example.com"
    await api.post("/v1/auth/otp/signup-in/email", {"loginId": evil})
    person = emulator.directory.person_by_login("ada@example.com")
    assert person is not None
    person.profile["name"] = "<script>alert(1)</script>"

    for path in ("/_emulator/inbox", await _provider_page(api)):
        shown = (await api.http.get(path)).text
        assert not [tag for tag, _ in _Elements(shown).found if tag in {"script", "img"}]
        assert "&lt;" in shown


async def test_the_inbox_is_emptied_by_page_and_by_call(api: Any, emulator: Emulator) -> None:
    await _send_code(api, "ada@example.com")
    cleared = await api.http.post("/_emulator/inbox")
    assert (cleared.status_code, cleared.headers["Location"]) == (303, "/_emulator/inbox")
    assert "Nothing has been sent" in (await api.http.get("/_emulator/inbox")).text

    await _send_code(api, "ada@example.com")
    assert (await api.http.delete("/_emulator/messages")).json() == {"messages": []}
    with pytest.raises(LookupError, match=r"ada@example\.com"):
        emulator.inbox.last("ada@example.com")


async def test_an_emptied_inbox_lets_everybody_be_sent_to_again(api: Any, emulator: Emulator) -> None:
    emulator.configure(send_wait_s=60.0)
    await _send_code(api, "ada@example.com")
    assert (await api.post("/v1/auth/otp/signin/email", {"loginId": "ada@example.com"})).status_code == 429

    await api.http.delete("/_emulator/messages")

    await _send_code(api, "ada@example.com")


async def test_a_clock_set_back_makes_nobody_wait_longer(api: Any, emulator: Emulator) -> None:
    emulator.configure(send_wait_s=60.0)
    emulator.advance(3600)
    await _send_code(api, "ada@example.com")

    emulator.set_offset(0)

    await _send_code(api, "ada@example.com")


async def test_the_inbox_keeps_a_bounded_number(api: Any, emulator: Emulator) -> None:
    for number in range(KEPT_MESSAGES + 5):
        emulator.inbox.put(0.0, f"{number}@example.com", "email", "Hello", code="000000")

    messages = (await api.http.get("/_emulator/messages")).json()["messages"]

    assert len(messages) == KEPT_MESSAGES
    assert messages[0]["to"] == f"{KEPT_MESSAGES + 4}@example.com"


async def test_t23_codes_and_links_stand_in_no_log_and_no_record_of_requests(
    api: Any, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # The client of this test writes down where it goes; what matters is what the emulator does.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    await _send_code(api, "ada@example.com")
    await api.post("/v1/auth/magiclink/signin/email", {"loginId": "ada@example.com", "URI": VERIFY})
    link, code = (message["link"] or message["code"] for message in map(_as_json, emulator.inbox))
    (token,) = parse_qs(urlsplit(link).query)["t"]
    page = await _provider_page(api)
    (state,) = parse_qs(urlsplit(page).query)["state"]
    await api.http.get(page)
    await api.post("/v1/auth/otp/verify/email", {"loginId": "ada@example.com", "code": code})
    await api.post("/v1/auth/magiclink/verify", {"token": token})

    kept = caplog.text + str(emulator.requests) + repr(list(emulator.inbox))
    requests = (await api.http.get("/_emulator/requests")).text

    assert emulator.count("otp_verify") == emulator.count("magic_link_verify") == 1
    for secret in (token, state):
        assert secret not in kept + requests
    # Six digits may stand in a time; as a word of their own they must not.
    assert re.search(rf"\b{code}\b", kept + requests) is None


def _as_json(message: Any) -> dict[str, Any]:
    shown: dict[str, Any] = message.as_json()
    return shown


@pytest.mark.parametrize("path", PAGES)
async def test_pages_take_nothing_from_elsewhere_and_run_no_script(api: Any, path: str) -> None:
    answer = await api.http.get(path)
    elements = _Elements(answer.text)

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
    assert answer.headers["Cache-Control"] == "no-store"
    assert [link["href"] for link in elements.all("link")] == ["/_emulator/pages.css"]
    assert elements.all("script") == []
    assert not [tag for tag, attributes in elements.found if "style" in attributes or "src" in attributes]
    assert (elements.all("html")[0]["lang"], len(elements.all("h1")), len(elements.all("main"))) == ("en", 1, 1)
    style = await api.http.get("/_emulator/pages.css")
    assert style.headers["Content-Type"] == "text/css; charset=utf-8"
    assert "light dark" in style.text


async def test_every_field_of_the_provider_has_a_name_to_be_read(api: Any) -> None:
    elements = _Elements((await api.http.get(await _provider_page(api))).text)

    buttons = [button["value"] for button in elements.all("button")]
    radios = [one for one in elements.all("input") if one["type"] == "radio"]
    assert buttons == ["allow", "refuse"]
    assert len(radios) == len(elements.all("label")) == 5
    assert [one["value"] for one in radios if "checked" in one] == [""]
    assert [one.get("aria-label") for one in elements.all("input") if one["type"] == "email"] == ["E-mail address"]


@pytest.mark.parametrize(
    ("hint", "chosen", "typed"),
    [
        pytest.param("bob@example.com", "Bob", "", id="somebody-known"),
        pytest.param("zoe@example.com", "", "zoe@example.com", id="somebody-new"),
        pytest.param("no address", "", "", id="nonsense"),
    ],
)
async def test_a_login_hint_fills_the_form(api: Any, emulator: Emulator, hint: str, chosen: str, typed: str) -> None:
    answer = await api.post(
        "/v1/auth/oauth/authorize",
        {},
        params={"provider": "google", "redirectURL": "https://app.example.com/", "loginHint": hint},
    )
    elements = _Elements((await api.http.get(answer.json()["url"])).text)

    (checked,) = (one["value"] for one in elements.all("input") if one["type"] == "radio" and "checked" in one)
    person = emulator.directory.people.get(checked or "")
    assert (person.profile["name"] if person else "") == chosen
    assert [one["value"] for one in elements.all("input") if one["type"] == "email"] == [typed]


async def test_the_providers_form_says_what_is_wrong_and_can_be_sent_again(api: Any) -> None:
    page = await _provider_page(api)
    (state,) = parse_qs(urlsplit(page).query)["state"]
    form = {"state": state, "decision": "allow", "email": "no address"}

    wrong = await api.http.post("/_emulator/provider", data=form)
    right = await api.http.post("/_emulator/provider", data=form | {"email": "ada@example.com"})

    assert (wrong.status_code, 'role="alert"' in wrong.text) == (400, True)
    assert right.status_code == 303


async def test_another_sites_form_decides_nothing_at_the_provider(api: Any) -> None:
    page = await _provider_page(api)
    (state,) = parse_qs(urlsplit(page).query)["state"]
    form = {"state": state, "decision": "allow", "email": "ada@example.com"}

    for origin in ("https://evil.example", "null"):
        answer = await api.http.post("/_emulator/provider", data=form, headers={"Origin": origin})
        assert answer.status_code == 403


async def test_the_provider_is_reached_where_the_setting_says(api: Any, emulator: Emulator) -> None:
    assert (await _provider_page(api)).startswith(str(api.http.base_url).rstrip("/") + "/_emulator/provider?state=")
    emulator.configure(public_url="https://descope.test:8443/")

    assert (await _provider_page(api)).startswith("https://descope.test:8443/_emulator/provider?state=")


async def test_a_sign_in_at_a_provider_is_over_after_ten_minutes(api: Any, emulator: Emulator) -> None:
    page = await _provider_page(api)

    emulator.advance(600)

    assert (await api.http.get(page)).status_code == 400


async def test_the_root_page_leads_to_the_inbox(api: Any) -> None:
    assert "/_emulator/inbox" in [link["href"] for link in _Elements((await api.http.get("/")).text).all("a")]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("https://a.example", "https://a.example?t=x%2Fy", id="bare"),
        pytest.param("https://a.example/p?q=%2F", "https://a.example/p?q=%2F&t=x%2Fy", id="a-query"),
        pytest.param("https://a.example/p#f", "https://a.example/p?t=x%2Fy#f", id="a-fragment"),
    ],
)
def test_a_parameter_is_added_and_the_rest_stays_as_written(url: str, expected: str) -> None:
    assert with_parameter(url, "t", "x/y") == expected


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("https://a.example/p?q#f", True),
        ("http://127.0.0.1:8080/.auth/x", True),
        ("http://[::1]:8080/", True),
        ("", False),
        ("/path", False),
        ("//a.example/", False),
        ("javascript:alert(1)", False),
        ("https://", False),
        ("https://u@a.example/", False),
        ("https://a.example:port/", False),
        ("https://a.example/\r\nX: y", False),
        ("https://a.example/" + "a" * 2048, False),
    ],
    ids=lambda value: str(value)[:24],
)
def test_t09_people_are_sent_to_web_addresses_only(url: str, is_one: bool) -> None:
    assert is_web_address(url) is is_one
