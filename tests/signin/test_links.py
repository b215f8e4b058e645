"""Magic links, enchanted links and password resets at the gateway."""

import json

import pytest

from tests.conftest import House, OpenHouse, reason_of
from tests.signin.asking import Browser, message_to, parameter

MAGIC = "login: {methods: [magic_link], magic_link: {channels: [email, sms, voice, whatsapp]}}"
ENCHANTED = "login: {methods: [enchanted_link], enchanted_link: {channels: [email, sms]}}"
BOB, ADAS_PHONE = "bob@example.com", "+12025550101"


async def clicked(browser: Browser, link: str) -> None:
    """The browser opens a link and presses its button."""
    page = await browser.get(link)
    assert page.status == 200
    path = link.partition("?")[0].removeprefix("/.auth/")
    await browser.post(path, t=parameter(link, "t"))


# --- magic links ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "login_id"),
    [("email", BOB), ("sms", ADAS_PHONE), ("voice", ADAS_PHONE), ("whatsapp", ADAS_PHONE)],
)
async def test_a_link_signs_in_by_every_channel_and_returns_to_where_the_browser_was_going(
    built: OpenHouse, channel: str, login_id: str
) -> None:
    async with built(top=MAGIC) as house:
        browser = Browser(house)
        sent = await browser.post("magiclink/send", login_id=login_id, channel=channel, rd="/deep?x=1")
        _, link, _ = message_to(house, login_id)
        page = await browser.get(link)
        arrived = await browser.post("magiclink/verify", t=parameter(link, "t"), journey=parameter(link, "journey"))

        assert sent.status == 200
        assert "This button signs this browser in" in page.text
        assert (arrived.status, arrived.headers["Location"]) == (303, "/deep?x=1")
        assert browser.journeys == []
        assert (await browser.get("/x")).status == 200


async def test_opening_a_link_spends_nothing(built: OpenHouse) -> None:
    async with built(top=MAGIC) as house:
        await Browser(house).post("magiclink/send", login_id=BOB)
        _, link, _ = message_to(house, BOB)
        for _ in range(3):
            scanned = await Browser(house).get(link)
            assert "Set-Cookie" not in scanned.headers
        assert house.emulator.count("magic_link_verify") == 0
        arrived = await Browser(house).post("magiclink/verify", t=parameter(link, "t"))

        assert arrived.status == 303


async def test_another_browser_is_signed_in_and_goes_to_the_front_page(built: OpenHouse) -> None:
    async with built(top=MAGIC) as house:
        await Browser(house).post("magiclink/send", login_id=BOB, rd="/deep")
        _, link, _ = message_to(house, BOB)
        other = Browser(house)
        arrived = await other.post("magiclink/verify", t=parameter(link, "t"), journey=parameter(link, "journey"))

        assert (arrived.status, arrived.headers["Location"]) == (303, "/")


async def test_a_second_click_of_somebody_signed_in_goes_on_and_of_anybody_else_is_told(built: OpenHouse) -> None:
    async with built(top=MAGIC) as house:
        browser = Browser(house)
        await browser.post("magiclink/send", login_id=BOB)
        token = parameter(message_to(house, BOB)[1], "t")
        await browser.post("magiclink/verify", t=token)
        again = await browser.post("magiclink/verify", t=token)
        other = await Browser(house).post("magiclink/verify", t=token)
        program = await Browser(house).tell("magiclink/verify", t=token)

        assert (again.status, again.headers["Location"]) == (303, "/")
        assert (other.status, "used already" in other.text) == (401, True)
        assert token not in other.text
        assert reason_of(program) == "sign_in_refused"


async def test_an_embedded_link_lands_on_the_same_page(built: OpenHouse) -> None:
    async with built(top=MAGIC) as house:
        await Browser(house).post("magiclink/send", login_id=BOB)
        token = parameter(message_to(house, BOB)[1], "t")
        page = await Browser(house).get(f"/.auth/magiclink/verify?t={token}")

        assert f'value="{token}"' in page.text
        assert page.headers["Referrer-Policy"] == "strict-origin"
        assert page.headers["Cache-Control"] == "no-store"


async def test_t23_another_site_spends_no_link(built: OpenHouse) -> None:
    async with built(top=MAGIC) as house:
        await Browser(house).post("magiclink/send", login_id=BOB)
        token = parameter(message_to(house, BOB)[1], "t")
        reply = await house.send(
            "POST", "/.auth/magiclink/verify", data={"t": token}, headers={"Origin": "https://e.example"}
        )

        assert reason_of(reply) == "cross_site"
        assert house.emulator.count("magic_link_verify") == 0


@pytest.mark.parametrize(("top", "path"), [(MAGIC, "magiclink/send"), (ENCHANTED, "enchantedlink/send")])
async def test_t19_asking_for_a_link_tells_nobody_whether_there_is_an_account(
    built: OpenHouse, top: str, path: str
) -> None:
    async with built(top=top) as house:
        known, unknown = Browser(house), Browser(house)
        told = json.loads((await known.tell(path, login_id=BOB)).body)
        untold = json.loads((await unknown.tell(path, login_id="bib@example.com")).body)

        assert told.keys() == untold.keys()
        assert told["sent_to"] == untold["sent_to"]
        assert len(told.get("link_id", "")) == len(untold.get("link_id", ""))
        (one,), (other,) = known.cookies.values(), unknown.cookies.values()
        assert abs(len(one) - len(other)) <= 2


# --- enchanted links --------------------------------------------------------------------------------------------------


async def test_the_page_that_waits_is_signed_in_once_the_right_link_is_opened_elsewhere(built: OpenHouse) -> None:
    async with built(top=ENCHANTED) as house:
        waiting, elsewhere = Browser(house), Browser(house)
        told = json.loads((await waiting.tell("enchantedlink/send", login_id=BOB, rd="/deep")).body)
        _, link, number = message_to(house, BOB)
        before = await waiting.tell("enchantedlink/poll", journey=told["journey"])
        await clicked(elsewhere, link)
        house.clock.offset_s += 4
        after = await waiting.tell("enchantedlink/poll", journey=told["journey"])

        assert told["link_id"] == number
        assert (before.status, json.loads(before.body)) == (202, {"status": "pending"})
        assert after.status == 200
        assert (await waiting.get("/x")).status == 200
        assert waiting.journeys == []
        assert elsewhere.cookies == {}


async def test_the_waiting_page_works_without_scripts(built: OpenHouse) -> None:
    async with built(top=ENCHANTED) as house:
        browser = Browser(house)
        page = await browser.post("enchantedlink/send", login_id=BOB, rd="/deep?x=1")
        _, link, number = message_to(house, BOB)
        journey = browser.journeys[0].removeprefix("gateway-journey-")
        waiting = await browser.post("enchantedlink/poll", journey=journey)
        await clicked(Browser(house), link)
        house.clock.offset_s += 4
        arrived = await browser.post("enchantedlink/poll", journey=journey)

        assert f">{number}</p>" in page.text
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert "has not been opened yet" in waiting.text
        assert f">{number}</p>" in waiting.text
        assert (arrived.status, arrived.headers["Location"]) == (303, "/deep?x=1")


async def test_what_is_waited_with_stays_in_a_cookie_that_no_script_reads(built: OpenHouse) -> None:
    async with built(top=ENCHANTED) as house:
        browser = Browser(house)
        page = await browser.post("enchantedlink/send", login_id=BOB)
        (line,) = page.headers.getall("Set-Cookie")

        assert "HttpOnly" in line
        assert page.text.count(browser.journeys[0].removeprefix("gateway-journey-")) == 1
        assert line.partition("=")[2].partition(";")[0] not in page.text


async def test_t10_nobody_polls_for_another_browsers_link(built: OpenHouse) -> None:
    async with built(top=ENCHANTED) as house:
        told = json.loads((await Browser(house).tell("enchantedlink/send", login_id=BOB)).body)
        await clicked(Browser(house), message_to(house, BOB)[1])
        stranger = await Browser(house).tell("enchantedlink/poll", journey=told["journey"])

        assert reason_of(stranger) == "login_state_invalid"
        assert house.emulator.count("enchanted_link_poll") == 0


async def test_polls_more_often_than_one_in_four_seconds_do_not_reach_descope(built: OpenHouse) -> None:
    async with built(top=ENCHANTED) as house:
        browser = Browser(house)
        told = json.loads((await browser.tell("enchantedlink/send", login_id=BOB)).body)
        replies = [await browser.tell("enchantedlink/poll", journey=told["journey"]) for _ in range(5)]

        assert [reply.status for reply in replies] == [202] * 5
        assert house.emulator.count("enchanted_link_poll") == 1


async def test_the_wait_ends_after_ten_minutes(built: OpenHouse) -> None:
    async with built(top=ENCHANTED) as house:
        browser = Browser(house)
        told = json.loads((await browser.tell("enchantedlink/send", login_id=BOB)).body)
        house.clock.offset_s += 601
        page = await browser.post("enchantedlink/poll", journey=told["journey"], rd="/deep")

        assert (page.status, "The wait is over" in page.text) == (400, True)
        assert 'value="/deep"' in page.text


# --- password resets --------------------------------------------------------------------------------------------------


async def reset(house: House, method: str) -> tuple[Browser, str]:
    """Somebody who forgot a password, and what the page says."""
    house.emulator.configure(reset_method=method)
    browser = Browser(house)
    page = await browser.post("password/reset", login_id=BOB, rd="/deep?x=1")
    assert page.status == 200
    return browser, page.text


async def works(house: House, password: str) -> bool:
    reply = await Browser(house).tell("password/signin", login_id=BOB, password=password)
    return reply.status == 200


async def test_a_reset_link_ends_on_a_form_for_a_new_password_and_signs_in(house: House) -> None:
    browser, page = await reset(house, "magiclink")
    _, link, _ = message_to(house, BOB)
    form = await browser.get(link)
    short = await browser.post("password/new", t=parameter(link, "t"), password="short")
    arrived = await browser.post("password/new", t=parameter(link, "t"), password="another-password")

    assert "a link was sent to it" in page
    assert (form.status, "New password" in form.text) == (200, True)
    assert (short.status, "at least 8 characters" in short.text) == (400, True)
    assert arrived.status == 303
    assert (await works(house, "bob-demo-password"), await works(house, "another-password")) == (False, True)
    assert (await browser.get("/x")).status == 200


async def test_a_reset_code_sets_the_new_password_and_returns(house: House) -> None:
    browser, page = await reset(house, "otp")
    code, _, _ = message_to(house, BOB)
    arrived = await browser.post("password/new", login_id=BOB, code=code, password="another-password", rd="/deep?x=1")

    assert 'autocomplete="one-time-code"' in page
    assert (arrived.status, arrived.headers["Location"]) == (303, "/deep?x=1")
    assert await works(house, "another-password")


async def test_a_reset_by_a_link_with_a_number_goes_on_in_the_page_that_waits(house: House) -> None:
    browser, page = await reset(house, "enchantedlink")
    _, link, number = message_to(house, BOB)
    journey = browser.journeys[0].removeprefix("gateway-journey-")
    early = await browser.post("password/new", journey=journey, password="another-password")
    elsewhere = Browser(house)
    opened = await elsewhere.post("password/new", t=parameter(link, "t"), password="whatever-it-is")
    arrived = await browser.post("password/new", journey=journey, password="another-password")

    assert number in page
    assert (early.status, "has not been opened yet" in early.text) == (401, True)
    assert ("Go back" in opened.text, elsewhere.cookies) == (True, {})
    assert arrived.status == 303
    assert await works(house, "another-password")


async def test_t19_a_reset_tells_nobody_whether_there_is_an_account(house: House) -> None:
    replies = [await Browser(house).tell("password/reset", login_id=one) for one in (BOB, "bib@example.com")]
    known, unknown = (json.loads(reply.body) | {"journey": ""} for reply in replies)

    assert known == unknown


async def test_a_reset_link_is_good_once(house: House) -> None:
    await reset(house, "magiclink")
    token = parameter(message_to(house, BOB)[1], "t")
    await Browser(house).post("password/new", t=token, password="another-password")
    again = await Browser(house).post("password/new", t=token, password="third-password")

    assert (again.status, "was used already" in again.text) == (401, True)
    assert not await works(house, "third-password")
