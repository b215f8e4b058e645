"""Authenticator apps at the gateway."""

import base64
import json

import pyotp
import pytest

from gateway.idp_call import SignInCall
from tests.conftest import House, OpenHouse, reason_of
from tests.signin.asking import Browser

TOTP = "login: {methods: [totp, password]}"
BOB, NOBODY, BOBS_KEY = "bob@example.com", "nobody@example.com", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def code_of(house: House, key: str = BOBS_KEY) -> str:
    return pyotp.TOTP(key).at(int(house.clock.now_s()))


async def test_a_code_of_the_app_signs_in(built: OpenHouse) -> None:
    async with built(top=TOTP) as house:
        browser = Browser(house)
        page = await browser.get("/.auth/totp/verify?rd=/deep")
        arrived = await browser.post("totp/verify", login_id=BOB, code=code_of(house), rd="/deep")

        assert page.status == 200
        assert (arrived.status, arrived.headers["Location"]) == (303, "/deep")
        assert (await browser.get("/x")).status == 200


async def test_t19_a_wrong_code_is_told_like_an_unknown_login(built: OpenHouse) -> None:
    async with built(top=TOTP) as house:
        replies = [await Browser(house).tell("totp/verify", login_id=one, code="000000") for one in (BOB, NOBODY)]
        wrong, unknown = [json.loads(reply.body) | {"request_id": ""} for reply in replies]

        assert wrong == unknown


async def test_somebody_signed_in_adds_an_app_and_signs_in_with_it(built: OpenHouse) -> None:
    async with built(top=TOTP) as house:
        browser = Browser(house, house.cookies("ada@example.com"))
        intro = await browser.get("/.auth/totp/enrol")
        offer = await browser.post("totp/enrol")
        key = offer.text.partition('class="key">')[2].partition("<")[0]
        picture = base64.b64decode(offer.text.partition("data:image/png;base64,")[2].partition('"')[0])
        confirmed = await browser.post(
            "totp/confirm", login_id="ada@example.com", code=code_of(house, key.replace(" ", "")), rd="/.auth/account"
        )

        assert intro.status == 200
        assert house.emulator.count("totp_update") == 1
        assert picture.startswith(b"\x89PNG")
        assert 'href="otpauth://totp/' in offer.text
        assert "img-src data:" in offer.headers["Content-Security-Policy"]
        assert offer.headers["Cache-Control"] == "no-store"
        assert (confirmed.status, confirmed.headers["Location"]) == (303, "/.auth/account")


async def test_opening_the_page_makes_no_key(built: OpenHouse) -> None:
    async with built(top=TOTP) as house:
        await Browser(house, house.cookies(BOB)).get("/.auth/totp/enrol")

        assert house.emulator.count("totp_update") == 0


async def test_a_wrong_first_code_asks_again_and_repeats_no_key(built: OpenHouse) -> None:
    async with built(top=TOTP) as house:
        browser = Browser(house, house.cookies("ada@example.com"))
        offer = await browser.post("totp/enrol")
        key = offer.text.partition('class="key">')[2].partition("<")[0]
        again = await browser.post("totp/confirm", login_id="ada@example.com", code="000000")

        assert (again.status, "The code is wrong" in again.text) == (401, True)
        assert key not in again.text


async def test_nobody_adds_an_app_without_a_session(built: OpenHouse) -> None:
    async with built(top=TOTP) as house:
        page = await Browser(house).get("/.auth/totp/enrol")
        reply = await Browser(house).tell("totp/enrol")

        assert (page.status, page.headers["Location"]) == (303, "/.auth/login?rd=/.auth/totp/enrol")
        assert reason_of(reply) == "no_credentials"


async def test_accounts_with_an_app_are_made_only_where_sign_up_is_on(built: OpenHouse) -> None:
    async with built(top=TOTP) as house:
        off = await Browser(house).tell("totp/signup", login_id="new@example.com")
    async with built(top="login: {methods: [totp], sign_up: true}") as house:
        browser = Browser(house)
        made = json.loads((await browser.tell("totp/signup", login_id="new@example.com")).body)
        arrived = await browser.tell("totp/confirm", login_id="new@example.com", code=code_of(house, made["key"]))

        assert off.status == 404
        assert made["url"].startswith("otpauth://totp/")
        assert arrived.status == 200


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            {"image": "PHN2Zz4=", "key": BOBS_KEY, "provisioningURL": "otpauth://totp/x"}, id="a picture that is none"
        ),
        pytest.param(
            {"image": "iVBORw0KGgo=", "key": "<b>", "provisioningURL": "otpauth://totp/x"}, id="a key that is none"
        ),
        pytest.param(
            {"image": "iVBORw0KGgo=", "key": BOBS_KEY, "provisioningURL": "javascript:alert(1)"}, id="a link elsewhere"
        ),
    ],
)
async def test_an_enrolment_that_cannot_be_shown_safely_is_a_fault(built: OpenHouse, answer: dict[str, str]) -> None:
    async with built(top=TOTP) as house:
        house.emulator.fault("totp_update", status=200, body=answer, times=None)
        reply = await Browser(house, house.cookies(BOB)).tell("totp/enrol")

        assert reason_of(reply) == "identity_provider_unavailable"


def test_a_call_shows_no_secret_when_printed() -> None:
    assert "secret" not in repr(SignInCall("x", "/p", len, {"password": "secret"}, {"a": "secret"}, "secret", "secret"))  # type: ignore[arg-type]
