"""One-time codes at the gateway."""

import json

import pytest

from gateway.doors.auth.sending import masked
from tests.conftest import House, OpenHouse, reason_of
from tests.signin.asking import Browser, message_to

OTP = "login: {methods: [otp], otp: {channels: [email, sms, voice, whatsapp]}}"
BOB, ADA, ADAS_PHONE, NOBODY = "bob@example.com", "ada@example.com", "+12025550101", "nobody@example.com"


def no_waiting(house: House) -> None:
    house.emulator.configure(send_wait_s=0.0)


@pytest.mark.parametrize(
    ("channel", "login_id"),
    [("email", BOB), ("sms", ADAS_PHONE), ("voice", ADAS_PHONE), ("whatsapp", ADAS_PHONE)],
)
async def test_a_code_signs_in_by_every_channel_and_returns_to_where_the_browser_was_going(
    built: OpenHouse, channel: str, login_id: str
) -> None:
    async with built(top=OTP) as house:
        browser = Browser(house)
        form = await browser.get("/.auth/login?rd=/deep?x=1")
        asked = await browser.post("otp/send", login_id=login_id, channel=channel, rd="/deep?x=1")
        code, _, _ = message_to(house, login_id)
        arrived = await browser.post("otp/verify", login_id=login_id, channel=channel, code=code, rd="/deep?x=1")

        assert (form.status, asked.status) == (200, 200)
        assert masked(login_id) in asked.text
        assert code not in asked.text
        assert (arrived.status, arrived.headers["Location"]) == (303, "/deep?x=1")
        assert (await browser.get("/deep?x=1")).status == 200


async def test_a_program_signs_in_with_a_code(built: OpenHouse) -> None:
    async with built(top=OTP) as house:
        program = Browser(house)
        asked = await program.tell("otp/send", login_id=BOB)
        code, _, _ = message_to(house, BOB)
        arrived = await program.tell("otp/verify", login_id=BOB, code=f" {code[:3]} {code[3:]} ")

        assert json.loads(asked.body) == {"sent_to": "b**@e******.com", "channel": "email"}
        assert json.loads(arrived.body)["subject"].startswith("U")
        assert b"eyJ" not in arrived.body


async def test_a_wrong_code_is_told_and_the_right_one_still_counts(built: OpenHouse) -> None:
    async with built(top=OTP) as house:
        browser = Browser(house)
        await browser.post("otp/send", login_id=BOB)
        code, _, _ = message_to(house, BOB)
        wrong = await browser.post("otp/verify", login_id=BOB, code="000000" if code != "000000" else "1")
        told = await browser.tell("otp/verify", login_id=BOB, code="000000" if code != "000000" else "1")
        right = await browser.post("otp/verify", login_id=BOB, code=code)
        again = await Browser(house).tell("otp/verify", login_id=BOB, code=code)

        assert (wrong.status, "The code is wrong" in wrong.text) == (401, True)
        assert (reason_of(told), json.loads(told.body)["idp_code"]) == ("sign_in_refused", "E061102")
        assert right.status == 303
        assert again.status == 401


async def test_t19_asking_for_a_code_tells_nobody_whether_there_is_an_account(built: OpenHouse) -> None:
    async with built(top=OTP) as house:
        known, unknown = [await Browser(house).post("otp/send", login_id=one) for one in (BOB, "bib@example.com")]
        told, untold = [await Browser(house).tell("otp/send", login_id=one) for one in (ADA, "adi@example.com")]

        assert (known.status, known.text.replace(BOB, "")) == (
            unknown.status,
            unknown.text.replace("bib@example.com", ""),
        )
        assert (told.status, told.body) == (untold.status, untold.body)


async def test_nobody_makes_an_account_by_a_code_where_sign_up_is_off(built: OpenHouse) -> None:
    async with built(top=OTP) as house:
        await Browser(house).post("otp/send", login_id=NOBODY)

        with pytest.raises(LookupError):
            message_to(house, NOBODY)


async def test_a_code_makes_an_account_where_sign_up_is_on(built: OpenHouse) -> None:
    async with built(top="login: {methods: [otp], sign_up: true}") as house:
        browser = Browser(house)
        await browser.post("otp/send", login_id=NOBODY)
        arrived = await browser.post("otp/verify", login_id=NOBODY, code=message_to(house, NOBODY)[0])

        assert arrived.status == 303


async def test_the_wait_before_another_code_is_shown_and_only_that_address_waits(built: OpenHouse) -> None:
    async with built(top=OTP) as house:
        house.emulator.configure(send_wait_s=30.0)
        browser = Browser(house)
        await browser.post("otp/send", login_id=BOB)
        too_soon = await browser.post("otp/send?again", login_id=BOB, channel="email")
        another = await browser.post("otp/send", login_id=ADA)

        assert too_soon.status == 503
        assert 0 < int(too_soon.headers["Retry-After"]) <= 30
        assert "Enter the code" in too_soon.text
        assert "data-seconds=" in too_soon.text
        assert another.status == 200


async def test_when_two_addresses_are_asked_to_wait_all_do(built: OpenHouse) -> None:
    async with built(top=OTP) as house:
        house.emulator.configure(send_wait_s=30.0)
        for address in (BOB, BOB, ADA, ADA):
            await Browser(house).post("otp/send", login_id=address)
        asked = house.emulator.count("otp_send")
        third = await Browser(house).post("otp/send", login_id="cleo@example.com")

        assert third.status == 503
        assert house.emulator.count("otp_send") == asked


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"login_id": ""}, id="nobody"),
        pytest.param({"login_id": "x\ny"}, id="a line break"),
        pytest.param({"login_id": BOB, "channel": "pigeon"}, id="no such channel"),
    ],
)
async def test_what_cannot_be_sent_is_told(built: OpenHouse, fields: dict[str, str]) -> None:
    async with built(top=OTP) as house:
        page = await Browser(house).post("otp/send", **fields)

        assert page.status == 400
        assert house.emulator.count("otp_send") == 0


async def test_a_channel_that_is_not_offered_is_refused(built: OpenHouse) -> None:
    async with built(top="login: {methods: [otp]}") as house:
        sent = await Browser(house).post("otp/send", login_id=ADAS_PHONE, channel="sms")
        verified = await Browser(house).tell("otp/verify", login_id=ADAS_PHONE, channel="sms", code="123456")

        assert (sent.status, verified.status) == (400, 400)


async def test_the_projects_template_is_asked_for(built: OpenHouse) -> None:
    template = "login: {methods: [otp], templates: {id: T1, locale: de, options: {team: Blue}}}"
    async with built(top=template) as house:
        sent = await Browser(house).post("otp/send", login_id=BOB)

        assert sent.status == 200
        assert message_to(house, BOB)[0]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("bob@example.com", "b**@e******.com"),
        ("+12025550101", "**********01"),
        ("bob", "b**"),
        ("b@x", "b@x"),
        ("7", "7"),
    ],
)
def test_an_address_is_shown_as_typed_and_starred(typed: str, shown: str) -> None:
    assert masked(typed) == shown
