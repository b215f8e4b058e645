"""The way back from a provider (T-10, T-23): once, for whoever left, and for nobody who only looks."""

import asyncio
import io
import json

import pytest

from tests.conftest import OpenHouse, cookie_header, reason_of
from tests.signin.asking import NAVIGATION, RETURNING, Browser, consent, left, parameter

OAUTH = "login: {methods: [password, oauth], oauth: {providers: [google, github]}}"
START = "/.auth/oauth/start?provider=google&rd=/deep?x=1"
ADA, BOB = "ada@example.com", "bob@example.com"


async def returning(browser: Browser, email: str = ADA) -> str:
    """The path that a browser which has signed in at the provider comes back to."""
    return await consent(browser.house, await left(browser), email=email)


# --- once -------------------------------------------------------------------------------------------------------------


async def test_t10_of_several_callbacks_at_once_with_one_journey_one_is_asked_for(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        back = await returning(browser)
        copies = [Browser(house, dict(browser.cookies)) for _ in range(5)]
        replies = await asyncio.gather(*(copy.get(back, RETURNING) for copy in copies))

        assert sorted(reply.status for reply in replies) == [303, 400, 400, 400, 400]
        assert house.emulator.count("oauth_exchange") == 1


async def test_t10_a_journey_is_over_when_its_code_was_refused(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        back = await returning(browser)
        copied = Browser(house, dict(browser.cookies))
        wrong = await browser.get(f"/.auth/oauth/callback?journey={parameter(back, 'journey')}&code=made-up", RETURNING)
        replies = [await one.get(back, RETURNING) for one in (browser, copied)]

        assert (wrong.status, "made-up" in wrong.text, browser.journeys) == (401, False, [])
        assert [reply.status for reply in replies] == [400, 400]
        assert house.emulator.count("oauth_exchange") == 1


async def test_t10_a_journey_is_over_when_it_was_cancelled(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        back = await returning(browser)
        copied = Browser(house, dict(browser.cookies))
        cancelled = await browser.get(
            f"/.auth/oauth/callback?journey={parameter(back, 'journey')}&err=denied", RETURNING
        )
        again = await copied.get(back, RETURNING)

        assert (cancelled.status, again.status) == (401, 400)
        assert house.emulator.count("oauth_exchange") == 0


async def test_t10_what_another_site_says_was_cancelled_ends_no_sign_in(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        back = await returning(browser)
        await browser.get("/.auth/oauth/callback?err=access_denied", RETURNING)

        assert (await browser.get(back, RETURNING)).status == 303


@pytest.mark.parametrize(
    "fault", [{"status": 429, "headers": {"Retry-After": "7"}}, {"status": 500}], ids=["busy", "broken"]
)
async def test_while_descope_is_away_nothing_is_decided_and_the_same_address_is_the_retry(
    built: OpenHouse, fault: dict[str, object]
) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        back = await returning(browser)
        house.emulator.fault("oauth_exchange", **fault, times=1)
        away = await browser.get(back, RETURNING)
        house.clock.offset_s += 8
        reply = await browser.get(back, RETURNING)

        assert (away.status, "Retry-After" in away.headers) == (503, True)
        assert (reply.status, reply.headers["Location"]) == (303, "/deep?x=1")


@pytest.mark.parametrize("code", ["a%20b", "%C3%A9", "x" * 4097], ids=["a blank", "not ASCII", "too long"])
async def test_what_cannot_be_a_code_is_not_asked_for(built: OpenHouse, code: str) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        journey = parameter(await returning(browser), "journey")
        reply = await browser.get(f"/.auth/oauth/callback?journey={journey}&code={code}", RETURNING)

        assert reply.status == 401
        assert house.emulator.count("oauth_exchange") == 0


async def test_t19_codes_are_tried_no_faster_than_anything_else(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        back = await returning(browser)
        for _ in range(19):
            await Browser(house).get(START)
        slowed = await browser.get(back, RETURNING)
        house.clock.offset_s += 4
        later = await browser.get(back, RETURNING)

        assert (slowed.status, later.status) == (429, 303)


# --- late, and by whom ------------------------------------------------------------------------------------------------


async def test_going_back_to_a_callback_goes_on_once_more_to_the_same_place(built: OpenHouse) -> None:
    """A browser's history has the callback in it."""
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        back = await returning(browser)
        await browser.get(back, RETURNING)
        again = await browser.get(back, RETURNING)
        somebody_else = await Browser(house, house.cookies(BOB)).get(back, RETURNING)

        assert (again.status, again.headers["Location"]) == (303, "/deep?x=1")
        assert (somebody_else.status, somebody_else.headers["Location"]) == (303, "/")
        assert house.emulator.count("oauth_exchange") == 1


async def test_a_late_callback_of_somebody_signed_in_goes_on_and_ends_its_journey(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        back = await returning(browser)
        house.put_forward(606)
        browser.cookies |= house.cookies(BOB)
        late = await browser.get(back, RETURNING)

        assert (late.status, late.headers["Location"]) == (303, "/deep?x=1")
        assert browser.journeys == []
        assert house.emulator.count("oauth_exchange") == 0


async def test_a_late_callback_hands_out_what_a_renewal_on_the_way_has_brought(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        house.emulator.configure(refresh_rotation="on")
        browser = Browser(house, house.cookies(BOB))
        old = dict(browser.cookies)
        del browser.cookies["DS"]
        late = await browser.get("/.auth/oauth/callback?journey=x&code=y", RETURNING)

        assert late.status == 303
        assert browser.cookies["DSR"] != old["DSR"]


async def test_strict_cookies_come_with_a_page_of_ours_in_between(built: OpenHouse) -> None:
    async with built(top=OAUTH, cookies="{secure: false, same_site: strict}") as house:
        browser = Browser(house)
        reply = await browser.get(await returning(browser), RETURNING)

        assert reply.status == 200
        assert 'content="0; url=/deep?x=1"' in reply.text
        assert {"DS", "DSR"} <= browser.cookies.keys()


async def test_a_return_that_counts_for_nothing_is_logged_as_refused(built: OpenHouse) -> None:
    stream = io.StringIO()
    async with built(top=OAUTH, log_form="json", log_stream=stream) as house:
        await Browser(house).get("/.auth/oauth/callback?journey=secret-journey&code=secret-code", RETURNING)
        house.gateway.request_log.flush()
        (line,) = [json.loads(one) for one in stream.getvalue().splitlines() if '"/.auth/oauth' in one]

        assert (line["status"], line["outcome"], line["reason"]) == (400, "refused", "login_state_invalid")
        assert "secret" not in json.dumps(line)


# --- away -------------------------------------------------------------------------------------------------------------


async def test_the_way_back_is_the_public_url_whatever_headers_say(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher"}
        reply = await Browser(house).get(START, NAVIGATION | evil)
        back = await consent(house, reply.headers["Location"], email=ADA)  # says so if it is another

        assert back.startswith("/.auth/oauth/callback?journey=")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("javascript:alert(1)", id="a script"),
        pytest.param("//evil.example/", id="no scheme"),
        pytest.param("/somewhere", id="a path"),
        pytest.param("https:///path", id="no host"),
        pytest.param("https://[::1", id="half an address"),
        pytest.param("https://good@evil.example/", id="a name before the host"),
        pytest.param("https://evil.example\\@good/", id="a backslash"),
        pytest.param("https://example.com/\r\nSet-Cookie: DS=x", id="a line break"),
        pytest.param("https://example.com/é", id="not ASCII"),
        pytest.param("https://example.com/" + "x" * 8192, id="too long"),
        pytest.param(7, id="no text"),
    ],
)
async def test_t09_a_browser_is_sent_to_nothing_but_a_web_address(built: OpenHouse, url: object) -> None:
    async with built(top=OAUTH) as house:
        house.emulator.fault("oauth_start", status=200, body={"url": url}, times=1)
        browser = Browser(house)
        reply = await browser.get(START)

        assert (reply.status, "Location" in reply.headers, browser.journeys) == (503, False, [])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403, id="a picture"),
        pytest.param({"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 403, id="a script"),
        pytest.param({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403, id="a frame"),
        pytest.param({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 303, id="a link"),
    ],
)
async def test_t23_another_site_begins_a_sign_in_by_a_link_alone(
    built: OpenHouse, headers: dict[str, str], status: int
) -> None:
    async with built(top=OAUTH) as house:
        reply = await house.get(START, headers=headers | {"Sec-Fetch-Site": "cross-site", "Accept": "text/html"})

        assert reply.status == status
        assert house.emulator.count("oauth_start") == (1 if status == 303 else 0)


async def test_t23_whoever_only_looks_begins_and_ends_nothing(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        browser = Browser(house)
        back = await returning(browser)
        looks = [
            await house.send("HEAD", path, headers=RETURNING | cookie_header(browser.cookies)) for path in (START, back)
        ]
        posts = [await house.send("POST", path, json={}) for path in (START, back)]

        assert [reply.status for reply in (*looks, *posts)] == [405] * 4
        assert (house.emulator.count("oauth_start"), house.emulator.count("oauth_exchange")) == (1, 0)
        assert (await browser.get(back, RETURNING)).status == 303


async def test_a_program_that_is_signed_in_hears_of_a_journey_that_is_none(built: OpenHouse) -> None:
    async with built(top=OAUTH) as house:
        reply = await house.get("/.auth/oauth/callback?journey=x&code=y", headers=cookie_header(house.cookies(BOB)))

        assert reason_of(reply) == "login_state_invalid"
