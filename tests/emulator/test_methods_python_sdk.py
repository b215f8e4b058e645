"""Every sign-in method as the unmodified Python SDK, sync and async, walks through it."""

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest
from descope import AuthException, DeliveryMethod, LoginOptions, RateLimitException

from gateway.emulator import Emulator

EMAIL = DeliveryMethod.EMAIL
ADA, BOB, CLEO, EVE = (f"{name}@example.com" for name in ("ada", "bob", "cleo", "eve"))
ADAS_PHONE = "+12025550101"
BOBS_KEY = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
VERIFY = "https://app.example.com/verify"
BACK = "https://app.example.com/back?rd=%2Fdeep%3Fa%3D1"

CHANNELS = [
    pytest.param(DeliveryMethod.EMAIL, ADA, "email", "a**@e******.com", id="email"),
    pytest.param(DeliveryMethod.SMS, ADAS_PHONE, "sms", "**********01", id="sms"),
    pytest.param(DeliveryMethod.VOICE, ADAS_PHONE, "tel", "**********01", id="voice"),
    pytest.param(DeliveryMethod.WHATSAPP, ADAS_PHONE, "whatsapp", "**********01", id="whatsapp"),
]


@pytest.fixture(autouse=True)
def _nobody_waits(emulator: Emulator) -> None:
    emulator.configure(send_wait_s=0.0)


def code_to(emulator: Emulator, address: str) -> str:
    return emulator.inbox.last(address).code


def token_in(link: str, name: str = "t") -> str:
    (token,) = parse_qs(urlsplit(link).query)[name]
    return token


def refresh_jwt(signed_in: Any) -> str:
    return str(signed_in["refreshSessionToken"]["jwt"])


def amr(signed_in: Any) -> list[str]:
    return list(signed_in["sessionToken"]["amr"])


async def refused(sdk: Any, ask: Any, code: str = "") -> AuthException:
    with pytest.raises(AuthException) as refusal:
        await sdk(ask)
    if code:
        assert json.loads(str(refusal.value.error_message))["errorCode"] == code
    return refusal.value


async def password_sign_in(sdk: Any, name: str) -> Any:
    return await sdk(lambda client: client.password.sign_in(f"{name}@example.com", f"{name}-demo-password"))


# --- one-time codes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "login_id", "factor", "masked"), CHANNELS)
async def test_a_code_signs_in_by_every_channel(
    sdk: Any, emulator: Emulator, method: DeliveryMethod, login_id: str, factor: str, masked: str
) -> None:
    shown = await sdk(lambda client: client.otp.sign_in(method, login_id))
    message = emulator.inbox.last(login_id)

    signed_in = await sdk(lambda client: client.otp.verify_code(method, login_id, message.code))

    assert shown == masked
    assert message.channel == method.name.lower()
    assert (signed_in["user"]["name"], amr(signed_in), signed_in["firstSeen"]) == ("Ada", [factor], False)
    renewed = await sdk(lambda client: client.refresh_session(refresh_jwt(signed_in)))
    assert amr(renewed) == [factor]


@pytest.mark.parametrize(
    ("method", "login_id", "contact"),
    [
        pytest.param(DeliveryMethod.EMAIL, EVE, "email", id="email"),
        pytest.param(DeliveryMethod.SMS, "+1 202 555 0155", "phone", id="sms"),
        pytest.param(DeliveryMethod.VOICE, "+12025550155", "phone", id="voice"),
        pytest.param(DeliveryMethod.WHATSAPP, "+12025550155", "phone", id="whatsapp"),
    ],
)
async def test_whoever_signs_up_by_code_is_known_once_the_code_came_back(
    sdk: Any, emulator: Emulator, method: DeliveryMethod, login_id: str, contact: str
) -> None:
    await sdk(lambda client: client.otp.sign_up(method, login_id, {"name": "Eve"}))
    assert emulator.directory.person_by_login(login_id) is None

    code = code_to(emulator, login_id)
    signed_in = await sdk(lambda client: client.otp.verify_code(method, login_id, code))

    assert signed_in["firstSeen"] is True
    assert (signed_in["user"]["name"], signed_in["user"][contact]) == ("Eve", login_id)
    assert signed_in["user"][f"verified{contact.title()}"] is True
    await refused(sdk, lambda client: client.otp.sign_up(method, login_id), "E062107")


async def test_sign_up_or_in_takes_the_known_and_the_new(sdk: Any, emulator: Emulator) -> None:
    for login_id, is_new in ((ADA, False), (EVE, True)):
        await sdk(lambda client, who=login_id: client.otp.sign_up_or_in(EMAIL, who))
        code = code_to(emulator, login_id)
        signed_in = await sdk(lambda client, who=login_id, given=code: client.otp.verify_code(EMAIL, who, given))
        assert signed_in["firstSeen"] is is_new


async def test_a_code_is_good_for_one_sign_in_of_one_person_by_one_channel(sdk: Any, emulator: Emulator) -> None:
    await sdk(lambda client: client.otp.sign_in(EMAIL, ADA))
    await sdk(lambda client: client.otp.sign_in(EMAIL, BOB))
    code = code_to(emulator, ADA)
    if code == code_to(emulator, BOB):
        await sdk(lambda client: client.otp.sign_in(EMAIL, BOB))

    await refused(sdk, lambda client: client.otp.verify_code(EMAIL, BOB, code), "E061102")
    await refused(sdk, lambda client: client.otp.verify_code(DeliveryMethod.SMS, ADA, code), "E061102")
    await sdk(lambda client: client.otp.verify_code(EMAIL, ADA, code))
    await refused(sdk, lambda client: client.otp.verify_code(EMAIL, ADA, code), "E061102")


async def test_a_new_code_voids_the_one_before(sdk: Any, emulator: Emulator) -> None:
    codes: list[str] = []
    while len(set(codes)) < 2:
        await sdk(lambda client: client.otp.sign_in(EMAIL, ADA))
        codes.append(code_to(emulator, ADA))

    await refused(sdk, lambda client: client.otp.verify_code(EMAIL, ADA, codes[0]), "E061102")
    await sdk(lambda client: client.otp.verify_code(EMAIL, ADA, codes[-1]))


async def test_too_many_wrong_codes_void_the_right_one(sdk: Any, emulator: Emulator) -> None:
    await sdk(lambda client: client.otp.sign_in(EMAIL, ADA))
    code = code_to(emulator, ADA)
    wrong = f"{(int(code) + 1) % 10**6:06}"

    for _ in range(emulator.settings.code_attempts):
        await refused(sdk, lambda client: client.otp.verify_code(EMAIL, ADA, wrong), "E061102")

    await refused(sdk, lambda client: client.otp.verify_code(EMAIL, ADA, code), "E061103")


async def test_a_code_lives_three_minutes(sdk: Any, emulator: Emulator) -> None:
    # In the past at first: the SDK takes no token from the future.
    emulator.set_offset(-179)
    await sdk(lambda client: client.otp.sign_in(EMAIL, ADA))
    await sdk(lambda client: client.otp.sign_in(EMAIL, BOB))

    emulator.set_offset(0)
    await sdk(lambda client: client.otp.verify_code(EMAIL, ADA, code_to(emulator, ADA)))
    emulator.advance(1)
    await refused(sdk, lambda client: client.otp.verify_code(EMAIL, BOB, code_to(emulator, BOB)), "E061104")


async def test_who_asks_again_too_soon_is_told_how_long_to_wait(sdk: Any, emulator: Emulator) -> None:
    emulator.configure(send_wait_s=30.0)
    await sdk(lambda client: client.otp.sign_in(EMAIL, ADA))

    with pytest.raises(RateLimitException) as limited:
        await sdk(lambda client: client.otp.sign_in(EMAIL, ADA))

    assert str(limited.value.status_code) == "E130429"
    assert limited.value.rate_limit_parameters == {"Retry-After": 30}
    await sdk(lambda client: client.otp.sign_in(EMAIL, BOB))
    emulator.advance(30)
    await sdk(lambda client: client.otp.sign_in(EMAIL, ADA))


async def test_nobody_unknown_or_disabled_or_out_of_reach_is_sent_anything(sdk: Any, emulator: Emulator) -> None:
    await refused(sdk, lambda client: client.otp.sign_in(EMAIL, EVE), "E062108")
    assert (await refused(sdk, lambda client: client.otp.sign_in(EMAIL, "dan@example.com"))).status_code == 403
    await refused(sdk, lambda client: client.otp.sign_in(DeliveryMethod.SMS, CLEO), "E011002")

    assert list(emulator.inbox) == []


async def test_a_code_is_no_good_once_its_person_is_gone(sdk: Any, emulator: Emulator) -> None:
    await sdk(lambda client: client.otp.sign_in(EMAIL, BOB))
    await sdk(lambda client: client.mgmt.user.delete(BOB))

    refusal = await refused(sdk, lambda client: client.otp.verify_code(EMAIL, BOB, code_to(emulator, BOB)))
    assert refusal.status_code == 401


async def test_an_address_is_changed_by_proving_the_new_one(sdk: Any, emulator: Emulator) -> None:
    rt = refresh_jwt(await password_sign_in(sdk, "cleo"))
    phone, email = "+12025550177", "cleo@new.example.com"

    await sdk(lambda client: client.otp.update_user_phone(DeliveryMethod.SMS, CLEO, phone, rt))
    await sdk(lambda client: client.otp.verify_code(DeliveryMethod.SMS, CLEO, code_to(emulator, phone)))
    masked = await sdk(lambda client: client.otp.update_user_email(CLEO, email, rt, add_to_login_ids=True, mfa=True))
    assert (await sdk(lambda client: client.me(rt)))["email"] == CLEO
    changed = await sdk(lambda client: client.otp.verify_code(EMAIL, CLEO, code_to(emulator, email)))

    assert masked == "c***@n**********.com"
    assert (changed["user"]["phone"], changed["user"]["email"]) == (phone, email)
    assert changed["user"]["loginIds"] == [CLEO, email]
    assert amr(changed) == ["pwd", "email", "mfa"]
    await sdk(lambda client: client.otp.sign_in(EMAIL, email))


async def test_nobody_changes_another_persons_address(sdk: Any, emulator: Emulator) -> None:
    adas = refresh_jwt(await password_sign_in(sdk, "ada"))

    await refused(sdk, lambda client: client.otp.update_user_email(BOB, EVE, adas))

    assert list(emulator.inbox) == []


@pytest.mark.parametrize("keep_other", [False, True], ids=["keeps-oneself", "keeps-the-other"])
async def test_who_proves_another_persons_login_id_is_merged_with_them(
    sdk: Any, emulator: Emulator, keep_other: bool
) -> None:
    cleo = await password_sign_in(sdk, "cleo")
    rt, bobs = refresh_jwt(cleo), await password_sign_in(sdk, "bob")

    await sdk(
        lambda client: client.otp.update_user_email(
            CLEO, BOB, rt, add_to_login_ids=True, on_merge_use_existing=keep_other
        )
    )
    merged = await sdk(lambda client: client.otp.verify_code(EMAIL, CLEO, code_to(emulator, BOB)))

    assert merged["userId"] == (bobs if keep_other else cleo)["userId"]
    assert sorted(merged["user"]["loginIds"]) == [BOB, CLEO]
    assert set(merged["tenants"]) == {"acme", "globex"}
    gone = rt if keep_other else refresh_jwt(bobs)
    await refused(sdk, lambda client: client.refresh_session(gone))


# --- magic links ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "login_id", "factor", "masked"), CHANNELS)
async def test_a_magic_link_signs_in_once_by_every_channel(
    sdk: Any, emulator: Emulator, method: DeliveryMethod, login_id: str, factor: str, masked: str
) -> None:
    shown = await sdk(lambda client: client.magiclink.sign_in(method, login_id, BACK))
    link = emulator.inbox.last(login_id).link

    signed_in = await sdk(lambda client: client.magiclink.verify(token_in(link)))

    assert shown == masked
    assert link.startswith(f"{BACK}&t=")
    assert (signed_in["user"]["name"], amr(signed_in)) == ("Ada", [factor])
    await refused(sdk, lambda client: client.magiclink.verify(token_in(link)), "E062504")


async def test_a_magic_link_signs_up(sdk: Any, emulator: Emulator) -> None:
    await sdk(lambda client: client.magiclink.sign_up(EMAIL, EVE, VERIFY, {"name": "Eve"}))
    await sdk(lambda client: client.magiclink.sign_up_or_in(EMAIL, "fay@example.com", VERIFY))
    links = [emulator.inbox.last(who).link for who in (EVE, "fay@example.com")]

    signed_up = [await sdk(lambda client, link=link: client.magiclink.verify(token_in(link))) for link in links]

    assert [(one["firstSeen"], one["user"]["verifiedEmail"]) for one in signed_up] == [(True, True)] * 2
    await refused(sdk, lambda client: client.magiclink.sign_up(EMAIL, EVE, VERIFY), "E062107")


async def test_two_sign_ups_of_one_login_id_make_one_person(sdk: Any, emulator: Emulator) -> None:
    links = []
    for _ in range(2):
        await sdk(lambda client: client.magiclink.sign_up(EMAIL, EVE, VERIFY))
        links.append(emulator.inbox.last(EVE).link)

    await sdk(lambda client: client.magiclink.verify(token_in(links[0])))

    await refused(sdk, lambda client: client.magiclink.verify(token_in(links[1])), "E062107")


async def test_a_magic_link_expires(sdk: Any, emulator: Emulator) -> None:
    await sdk(lambda client: client.magiclink.sign_in(EMAIL, ADA, VERIFY))

    emulator.advance(emulator.settings.link_ttl_s)

    link = emulator.inbox.last(ADA).link
    await refused(sdk, lambda client: client.magiclink.verify(token_in(link)), "E062504")


async def test_a_link_without_an_address_to_go_to_goes_where_the_setting_says(sdk: Any, emulator: Emulator) -> None:
    rt = refresh_jwt(await password_sign_in(sdk, "ada"))
    await sdk(lambda client: client.magiclink.update_user_email(ADA, EVE, rt))
    link = emulator.inbox.last(EVE).link

    changed = await sdk(lambda client: client.magiclink.verify(token_in(link)))

    assert link.startswith(f"{emulator.settings.magic_link_url}?t=")
    assert changed["user"]["email"] == EVE
    emulator.configure(magic_link_url="")
    refusal = await refused(sdk, lambda client: client.magiclink.update_user_email(ADA, BOB, rt), "E011004")
    assert "magic_link_url" in str(refusal.error_message)


async def test_a_phone_is_changed_by_magic_link(sdk: Any, emulator: Emulator) -> None:
    rt, phone = refresh_jwt(await password_sign_in(sdk, "bob")), "+12025550188"
    masked = await sdk(lambda client: client.magiclink.update_user_phone(DeliveryMethod.SMS, BOB, phone, rt))
    link = emulator.inbox.last(phone).link

    changed = await sdk(lambda client: client.magiclink.verify(token_in(link)))

    assert (masked, changed["user"]["phone"], amr(changed)) == ("**********88", phone, ["sms"])


async def test_t09_a_link_leads_to_web_addresses_only(sdk: Any, emulator: Emulator) -> None:
    for url in ("javascript:alert(1)", "//evil.example", "/verify", "https://u:p@evil.example/", "https://a b/"):
        await refused(sdk, lambda client, to=url: client.magiclink.sign_in(EMAIL, ADA, to), "E011002")

    assert list(emulator.inbox) == []


# --- enchanted links ------------------------------------------------------------------------------------------------


async def test_an_enchanted_link_signs_in_whoever_waits_and_only_then(sdk: Any, emulator: Emulator) -> None:
    started = await sdk(lambda client: client.enchantedlink.sign_in(ADA, VERIFY))
    message = emulator.inbox.last(ADA)
    pending = started["pendingRef"]
    early = await refused(sdk, lambda client: client.enchantedlink.get_session(pending), "E062503")

    clicked = await sdk(lambda client: client.enchantedlink.verify(token_in(message.link)))
    signed_in = await sdk(lambda client: client.enchantedlink.get_session(pending))

    assert (started["linkId"], started["maskedEmail"]) == (message.link_id, "a**@e******.com")
    assert (early.status_code, clicked) == (401, None)
    assert (signed_in["user"]["name"], amr(signed_in)) == ("Ada", ["email"])
    await refused(sdk, lambda client: client.enchantedlink.get_session(pending), "E063010")
    await refused(sdk, lambda client: client.enchantedlink.verify(token_in(message.link)), "E062504")


async def test_of_three_enchanted_links_one_works(sdk: Any, emulator: Emulator) -> None:
    started = await sdk(lambda client: client.enchantedlink.sign_in(ADA, VERIFY))
    message = emulator.inbox.last(ADA)

    assert len({number for number, _ in message.links}) == 3
    for _, link in message.decoys:
        await refused(sdk, lambda client, wrong=link: client.enchantedlink.verify(token_in(wrong)), "E062504")
    await refused(sdk, lambda client: client.enchantedlink.get_session(started["pendingRef"]), "E062503")
    await sdk(lambda client: client.enchantedlink.verify(token_in(dict(message.links)[started["linkId"]])))
    await sdk(lambda client: client.enchantedlink.get_session(started["pendingRef"]))


async def test_a_click_serves_only_whom_it_was_sent_for(sdk: Any, emulator: Emulator) -> None:
    adas = await sdk(lambda client: client.enchantedlink.sign_in(ADA, VERIFY))
    bobs = await sdk(lambda client: client.enchantedlink.sign_in(BOB, VERIFY))

    await sdk(lambda client: client.enchantedlink.verify(token_in(emulator.inbox.last(BOB).link)))

    await refused(sdk, lambda client: client.enchantedlink.get_session(adas["pendingRef"]), "E062503")
    signed_in = await sdk(lambda client: client.enchantedlink.get_session(bobs["pendingRef"]))
    assert signed_in["user"]["name"] == "Bob"


async def test_waiting_for_an_enchanted_link_ends(sdk: Any, emulator: Emulator) -> None:
    started = await sdk(lambda client: client.enchantedlink.sign_in(ADA, VERIFY))

    emulator.advance(emulator.settings.link_ttl_s)

    link = emulator.inbox.last(ADA).link
    await refused(sdk, lambda client: client.enchantedlink.verify(token_in(link)), "E062504")
    await refused(sdk, lambda client: client.enchantedlink.get_session(started["pendingRef"]), "E063010")


async def test_magic_and_enchanted_links_are_not_taken_for_each_other(sdk: Any, emulator: Emulator) -> None:
    await sdk(lambda client: client.magiclink.sign_in(EMAIL, ADA, VERIFY))
    magic = token_in(emulator.inbox.last(ADA).link)
    await sdk(lambda client: client.enchantedlink.sign_in(ADA, VERIFY))
    enchanted = token_in(emulator.inbox.last(ADA).link)

    await refused(sdk, lambda client: client.magiclink.verify(enchanted), "E062504")
    await refused(sdk, lambda client: client.enchantedlink.verify(magic), "E062504")
    await sdk(lambda client: client.magiclink.verify(magic))
    await sdk(lambda client: client.enchantedlink.verify(enchanted))


async def test_enchanted_links_sign_up_and_travel_by_sms(sdk: Any, emulator: Emulator) -> None:
    phone = "+12025550166"
    starts = [
        (EVE, await sdk(lambda client: client.enchantedlink.sign_up(EVE, VERIFY, {"name": "Eve"}))),
        ("fay@example.com", await sdk(lambda client: client.enchantedlink.sign_up_or_in("fay@example.com", VERIFY))),
        (phone, await sdk(lambda client: client.enchantedlink.sign_up_with_phone(phone, VERIFY))),
        (ADAS_PHONE, await sdk(lambda client: client.enchantedlink.sign_in_with_phone(ADAS_PHONE, VERIFY))),
    ]

    for who, started in starts:
        link = emulator.inbox.last(who).link
        await sdk(lambda client, link=link: client.enchantedlink.verify(token_in(link)))
        signed_in = await sdk(lambda client, ref=started["pendingRef"]: client.enchantedlink.get_session(ref))
        assert signed_in["firstSeen"] is (who != ADAS_PHONE)
        assert amr(signed_in) == ["email" if "@" in who else "sms"]


async def test_an_address_is_changed_by_enchanted_link(sdk: Any, emulator: Emulator) -> None:
    rt = refresh_jwt(await password_sign_in(sdk, "ada"))
    for change, contact, address in (
        (lambda client: client.enchantedlink.update_user_email(ADA, EVE, rt), "email", EVE),
        (lambda client: client.enchantedlink.update_user_phone(ADA, "+12025550111", rt), "phone", "+12025550111"),
    ):
        started = await sdk(change)
        link = emulator.inbox.last(address).link
        await sdk(lambda client, link=link: client.enchantedlink.verify(token_in(link)))
        changed = await sdk(lambda client, ref=started["pendingRef"]: client.enchantedlink.get_session(ref))
        assert changed["user"][contact] == address


# --- passwords ------------------------------------------------------------------------------------------------------


async def test_a_forgotten_password_is_reset_by_link(sdk: Any, emulator: Emulator) -> None:
    options = {"app": "Demo"}
    sent = await sdk(lambda client: client.password.send_reset(ADA, VERIFY, template_options=options))
    link = emulator.inbox.last(ADA).link

    proven = await sdk(lambda client: client.magiclink.verify(token_in(link)))
    await sdk(lambda client: client.password.update(ADA, "a new password", refresh_jwt(proven)))

    assert sent["resetMethod"] == "magiclink"
    assert link.startswith(f"{VERIFY}?t=")
    await sdk(lambda client: client.password.sign_in(ADA, "a new password"))


async def test_a_forgotten_password_is_reset_by_code_where_the_project_says_so(sdk: Any, emulator: Emulator) -> None:
    emulator.configure(reset_method="otp")
    sent = await sdk(lambda client: client.password.send_reset(ADA, VERIFY))

    proven = await sdk(lambda client: client.otp.verify_code(EMAIL, ADA, code_to(emulator, ADA)))
    await sdk(lambda client: client.password.update(ADA, "a new password", refresh_jwt(proven)))

    assert sent == {"resetMethod": "otp", "maskedEmail": "a**@e******.com"}
    await sdk(lambda client: client.password.sign_in(ADA, "a new password"))


async def test_a_forgotten_password_is_reset_by_enchanted_link_where_the_project_says_so(
    sdk: Any, emulator: Emulator
) -> None:
    emulator.configure(reset_method="enchantedlink")
    sent = await sdk(lambda client: client.password.send_reset(ADA, VERIFY))
    message = emulator.inbox.last(ADA)

    await sdk(lambda client: client.enchantedlink.verify(token_in(message.link)))
    proven = await sdk(lambda client: client.enchantedlink.get_session(sent["pendingRef"]))

    assert sent["linkId"] == message.link_id
    assert proven["user"]["email"] == ADA


@pytest.mark.parametrize("method", ["magiclink", "otp", "enchantedlink"])
async def test_t19_nobody_learns_from_a_reset_whether_there_is_an_account(
    sdk: Any, emulator: Emulator, method: str
) -> None:
    emulator.configure(reset_method=method, send_wait_s=30.0)

    known, unknown = [
        await sdk(lambda client, who=login_id: client.password.send_reset(who, VERIFY))
        for login_id in (ADA, "abe@example.com")
    ]

    assert set(known) == set(unknown)
    assert known["maskedEmail"] == unknown["maskedEmail"]
    assert [message.to for message in emulator.inbox] == [ADA]
    for login_id in (ADA, "abe@example.com"):
        with pytest.raises(RateLimitException):
            await sdk(lambda client, who=login_id: client.password.send_reset(who, VERIFY))
    if method == "enchantedlink":
        for sent in (known, unknown):
            await refused(sdk, lambda client, ref=sent["pendingRef"]: client.enchantedlink.get_session(ref), "E062503")


async def test_an_expired_or_temporary_password_has_to_be_replaced(sdk: Any) -> None:
    await sdk(lambda client: client.mgmt.user.expire_password(BOB))
    await refused(sdk, lambda client: client.password.sign_in(BOB, "bob-demo-password"), "E062909")
    wrong = await refused(sdk, lambda client: client.password.sign_in(BOB, "not-the-password"))
    assert wrong.status_code == 401
    await sdk(lambda client: client.password.replace(BOB, "bob-demo-password", "second password"))
    await sdk(lambda client: client.password.sign_in(BOB, "second password"))

    await sdk(lambda client: client.mgmt.user.set_temporary_password(BOB, "for once only"))
    await refused(sdk, lambda client: client.password.sign_in(BOB, "for once only"), "E062909")
    await sdk(lambda client: client.password.replace(BOB, "for once only", "third password"))
    signed_in = await sdk(lambda client: client.password.sign_in(BOB, "third password"))
    assert amr(signed_in) == ["pwd"]


# --- authenticator apps ---------------------------------------------------------------------------------------------


async def test_an_authenticator_app_signs_up_and_in(sdk: Any, emulator: Emulator) -> None:
    enrolled = await sdk(lambda client: client.totp.sign_up(EVE, {"name": "Eve"}))
    app = pyotp.parse_uri(enrolled["provisioningURL"])
    assert isinstance(app, pyotp.TOTP)

    signed_in = await sdk(lambda client: client.totp.sign_in_code(EVE, app.at(int(emulator.now_s()))))

    assert (app.secret, app.name) == (enrolled["key"], EVE)
    assert base64.b64decode(enrolled["image"], validate=True).startswith(b"\x89PNG\r\n\x1a\n")
    assert (signed_in["firstSeen"], signed_in["user"]["name"], amr(signed_in)) == (True, "Eve", ["totp"])
    assert signed_in["user"]["TOTP"] is True
    await refused(sdk, lambda client: client.totp.sign_up(EVE), "E062107")


async def test_an_apps_code_is_taken_once_and_none_before_it(sdk: Any, emulator: Emulator) -> None:
    emulator.set_offset(-30)
    app, now_s = pyotp.TOTP(BOBS_KEY), int(emulator.now_s())
    code, before = app.at(now_s), app.at(now_s - 30)

    await sdk(lambda client: client.totp.sign_in_code(BOB, code))

    for spent in (code, before):
        await refused(sdk, lambda client, given=spent: client.totp.sign_in_code(BOB, given), "E061102")
    emulator.advance(30)
    await sdk(lambda client: client.totp.sign_in_code(BOB, app.at(int(emulator.now_s()))))


@pytest.mark.parametrize(
    ("steps", "is_taken"),
    [
        pytest.param(-2, False, id="two-steps-late"),
        pytest.param(-1, True, id="one-step-late"),
        pytest.param(1, True, id="one-step-early"),
        pytest.param(2, False, id="two-steps-early"),
    ],
)
async def test_an_apps_clock_may_be_one_step_off(sdk: Any, emulator: Emulator, steps: int, is_taken: bool) -> None:
    # The middle of a step, so that none ends while the test runs.
    emulator.set_offset(-15 - emulator.now_s() % 30)
    code = pyotp.TOTP(BOBS_KEY).at(int(emulator.now_s()) + 30 * steps)

    if is_taken:
        await sdk(lambda client: client.totp.sign_in_code(BOB, code))
    else:
        await refused(sdk, lambda client: client.totp.sign_in_code(BOB, code), "E061102")


async def test_a_new_app_counts_from_its_first_code(sdk: Any, emulator: Emulator) -> None:
    emulator.set_offset(-60)
    rt = refresh_jwt(await password_sign_in(sdk, "bob"))
    enrolled = await sdk(lambda client: client.totp.update_user(BOB, rt))
    old, new = pyotp.TOTP(BOBS_KEY), pyotp.TOTP(enrolled["key"])

    def now() -> int:
        return int(emulator.now_s())

    await sdk(lambda client: client.totp.sign_in_code(BOB, old.at(now())))
    await sdk(lambda client: client.totp.sign_in_code(BOB, new.at(now())))
    emulator.advance(60)
    await refused(sdk, lambda client: client.totp.sign_in_code(BOB, old.at(now())), "E061102")
    await sdk(lambda client: client.totp.sign_in_code(BOB, new.at(now())))
    await sdk(lambda client: client.mgmt.user.remove_totp_seed(BOB))
    emulator.advance(60)
    await refused(sdk, lambda client: client.totp.sign_in_code(BOB, new.at(now())), "E061102")


async def test_t19_an_unknown_person_and_a_wrong_app_code_get_the_same_answer(sdk: Any) -> None:
    answers = [
        await refused(sdk, lambda client, who=login_id: client.totp.sign_in_code(who, "000000"), "E061102")
        for login_id in (ADA, EVE)
    ]

    assert answers[0].error_message == answers[1].error_message


async def test_nobody_enrols_an_app_for_somebody_else(sdk: Any) -> None:
    adas = refresh_jwt(await password_sign_in(sdk, "ada"))

    await refused(sdk, lambda client: client.totp.update_user(BOB, adas), "E011003")


# --- OAuth and SSO --------------------------------------------------------------------------------------------------


async def at_provider(url: str, **form: str) -> str:
    """Where the provider's page sends a browser whose person chose so."""
    async with httpx.AsyncClient() as browser:
        shown = await browser.get(url)
        assert shown.status_code == 200
        place = urlsplit(url)
        answer = await browser.post(
            f"{place.scheme}://{place.netloc}{place.path}",
            data={"state": token_in(url, "state"), "decision": "allow", **form},
            headers={"Origin": f"{place.scheme}://{place.netloc}"},
        )
    return str(answer.headers.get("Location", ""))


def id_of(emulator: Emulator, login_id: str) -> str:
    person = emulator.directory.person_by_login(login_id)
    assert person is not None
    return person.id


async def test_oauth_signs_in_whom_the_provider_vouches_for(sdk: Any, emulator: Emulator) -> None:
    started = await sdk(lambda client: client.oauth.start("google", BACK))
    location = await at_provider(started["url"], person=id_of(emulator, ADA))

    signed_in = await sdk(lambda client: client.oauth.exchange_token(token_in(location, "code")))

    assert location.startswith(f"{BACK}&code=")
    assert (signed_in["user"]["name"], amr(signed_in), signed_in["firstSeen"]) == ("Ada", ["oauth"], False)
    assert signed_in["user"]["OAuth"] == {"google": True}


async def test_oauth_signs_up_whoever_the_provider_names(sdk: Any, emulator: Emulator) -> None:
    for is_new in (True, False):
        started = await sdk(lambda client: client.oauth.start("github", BACK))
        location = await at_provider(started["url"], email=EVE)
        signed_in = await sdk(lambda client, to=location: client.oauth.exchange_token(token_in(to, "code")))
        assert signed_in["firstSeen"] is is_new
        assert (signed_in["user"]["email"], signed_in["user"]["verifiedEmail"]) == (EVE, True)


async def test_a_providers_code_is_exchanged_once_soon_and_for_its_own_kind(sdk: Any, emulator: Emulator) -> None:
    codes = []
    for _ in range(2):
        started = await sdk(lambda client: client.oauth.start("google", BACK))
        codes.append(token_in(await at_provider(started["url"], email=ADA), "code"))

    await refused(sdk, lambda client: client.sso.exchange_token(codes[0]))
    await sdk(lambda client: client.oauth.exchange_token(codes[0]))
    assert (await refused(sdk, lambda client: client.oauth.exchange_token(codes[0]))).status_code == 401
    emulator.advance(emulator.settings.exchange_code_ttl_s)
    assert (await refused(sdk, lambda client: client.oauth.exchange_token(codes[1]))).status_code == 401


async def test_who_refuses_at_the_provider_comes_back_with_an_error(sdk: Any, emulator: Emulator) -> None:
    started = await sdk(lambda client: client.oauth.start("google", BACK))

    refusing = await at_provider(started["url"], decision="refuse")

    assert refusing == f"{BACK}&err=access_denied"
    again = await sdk(lambda client: client.oauth.start("google", BACK))
    assert (await at_provider(again["url"], email="dan@example.com")) == f"{BACK}&err=access_denied"


async def test_a_provider_decides_once(sdk: Any, emulator: Emulator) -> None:
    started = await sdk(lambda client: client.oauth.start("google", BACK))
    await at_provider(started["url"], email=ADA)

    async with httpx.AsyncClient() as browser:
        answer = await browser.get(started["url"])

    assert (answer.status_code, "is over" in answer.text) == (400, True)


async def test_a_provider_that_the_project_has_not_is_refused(sdk: Any) -> None:
    await refused(sdk, lambda client: client.oauth.start("myspace", BACK), "E011002")
    await refused(sdk, lambda client: client.oauth.start("google", "javascript:alert(1)"), "E011002")


@pytest.mark.parametrize("tenant", ["acme", "Acme Corporation", "acme.example.com", "zoe@ACME.example.com"])
async def test_sso_starts_by_tenant_or_by_domain(sdk: Any, emulator: Emulator, tenant: str) -> None:
    hint = "zoe@acme.example.com"
    started = await sdk(
        lambda client: client.sso.start(tenant, BACK, prompt="login", login_hint=hint, force_authn=True)
    )
    location = await at_provider(started["url"], email=hint)

    signed_in = await sdk(lambda client: client.sso.exchange_token(token_in(location, "code")))

    assert (amr(signed_in), signed_in["user"]["SAML"], signed_in["firstSeen"]) == (["fed"], True, True)
    assert signed_in["sessionToken"]["dct"] == "acme"


async def test_sso_by_its_older_name_signs_in_a_member(sdk: Any, emulator: Emulator) -> None:
    started = await sdk(lambda client: client.saml.start("acme", BACK))
    location = await at_provider(started["url"], person=id_of(emulator, CLEO))

    signed_in = await sdk(lambda client: client.saml.exchange_token(token_in(location, "code")))

    assert signed_in["tenants"]["acme"]["roles"] == ["editor"]


async def test_a_tenants_provider_vouches_for_its_own_people_only(sdk: Any, emulator: Emulator) -> None:
    started = await sdk(lambda client: client.sso.start("acme", BACK))

    assert await at_provider(started["url"], person=id_of(emulator, ADA)) == ""
    assert await at_provider(started["url"], email=ADA) == ""
    assert await at_provider(started["url"], email="zoe@acme.example.com")


async def test_sso_is_refused_where_there_is_none(sdk: Any) -> None:
    await refused(sdk, lambda client: client.sso.start("globex", BACK), "E011002")
    await refused(sdk, lambda client: client.sso.start("initech", BACK), "E011001")
    await refused(sdk, lambda client: client.sso.start("acme", BACK, sso_id="second"), "E011002")


# --- on top of a session --------------------------------------------------------------------------------------------


async def test_a_second_factor_adds_to_the_first(sdk: Any, emulator: Emulator) -> None:
    rt = refresh_jwt(await password_sign_in(sdk, "bob"))
    options = LoginOptions(mfa=True, custom_claims={"colour": "red"})
    code = pyotp.TOTP(BOBS_KEY).at(int(emulator.now_s()))

    both = await sdk(lambda client: client.totp.sign_in_code(BOB, code, options, rt))

    assert amr(both) == ["pwd", "totp", "mfa"]
    assert both["sessionToken"]["nsec"] == {"colour": "red"}
    renewed = await sdk(lambda client: client.refresh_session(refresh_jwt(both)))
    assert amr(renewed) == ["pwd", "totp", "mfa"]


async def test_a_step_up_marks_the_session_token_and_nothing_after_it(sdk: Any, emulator: Emulator) -> None:
    emulator.configure(step_up_ttl_s=120)
    rt = refresh_jwt(await password_sign_in(sdk, "ada"))
    options = LoginOptions(stepup=True)
    await sdk(lambda client: client.otp.sign_in(EMAIL, ADA, options, rt))

    stepped = await sdk(lambda client: client.otp.verify_code(EMAIL, ADA, code_to(emulator, ADA)))
    renewed = await sdk(lambda client: client.refresh_session(refresh_jwt(stepped)))

    session = stepped["sessionToken"]
    assert (session["su"], session["exp"] - session["iat"]) == (True, 120)
    assert "su" not in stepped["refreshSessionToken"]
    assert "su" not in renewed["sessionToken"]


async def test_nobody_steps_up_on_another_persons_session(sdk: Any, emulator: Emulator) -> None:
    adas = refresh_jwt(await password_sign_in(sdk, "ada"))
    options = LoginOptions(stepup=True)

    await refused(sdk, lambda client: client.otp.sign_in(EMAIL, BOB, options, adas), "E011003")
    await refused(sdk, lambda client: client.magiclink.sign_in(EMAIL, BOB, VERIFY, options, adas), "E011003")
    started = await sdk(lambda client: client.oauth.start("google", BACK, options, adas))
    location = await at_provider(started["url"], email=BOB)
    await refused(sdk, lambda client: client.oauth.exchange_token(token_in(location, "code")), "E011003")

    assert list(emulator.inbox) == []
    assert (await sdk(lambda client: client.mgmt.user.load(BOB)))["user"]["OAuth"] == {}


async def test_a_session_that_ended_meanwhile_is_not_added_to(sdk: Any, emulator: Emulator) -> None:
    rt = refresh_jwt(await password_sign_in(sdk, "ada"))
    await sdk(lambda client: client.otp.sign_in(EMAIL, ADA, LoginOptions(mfa=True), rt))
    await sdk(lambda client: client.logout(rt))

    refusal = await refused(sdk, lambda client: client.otp.verify_code(EMAIL, ADA, code_to(emulator, ADA)))
    assert refusal.status_code == 401


# --- test users, embedded links, invitations ------------------------------------------------------------------------


async def test_codes_and_links_of_test_users_are_answered_and_sent_nowhere(sdk: Any, emulator: Emulator) -> None:
    await sdk(lambda client: client.mgmt.user.create_test_user(EVE, email=EVE, display_name="Eve"))
    found = await sdk(lambda client: client.mgmt.user.search_all_test_users())

    made = await sdk(lambda client: client.mgmt.user.generate_otp_for_test_user(EMAIL, EVE))
    by_code = await sdk(lambda client: client.otp.verify_code(EMAIL, EVE, made["code"]))
    made = await sdk(lambda client: client.mgmt.user.generate_magic_link_for_test_user(EMAIL, EVE, VERIFY))
    by_link = await sdk(lambda client: client.magiclink.verify(token_in(made["link"])))
    made = await sdk(lambda client: client.mgmt.user.generate_enchanted_link_for_test_user(EVE, VERIFY))
    await sdk(lambda client: client.enchantedlink.verify(token_in(made["link"])))
    by_click = await sdk(lambda client: client.enchantedlink.get_session(made["pendingRef"]))

    assert [one["loginIds"] for one in found["users"]] == [[EVE]]
    assert [one["user"]["name"] for one in (by_code, by_link, by_click)] == ["Eve"] * 3
    assert made["loginId"] == EVE
    assert list(emulator.inbox) == []
    await sdk(lambda client: client.mgmt.user.delete_all_test_users())
    await refused(sdk, lambda client: client.otp.sign_in(EMAIL, EVE), "E062108")


async def test_nobody_gets_codes_and_links_of_people_who_are_no_test_users(sdk: Any) -> None:
    for ask in (
        lambda client: client.mgmt.user.generate_otp_for_test_user(EMAIL, ADA),
        lambda client: client.mgmt.user.generate_magic_link_for_test_user(EMAIL, ADA, VERIFY),
        lambda client: client.mgmt.user.generate_enchanted_link_for_test_user(ADA, VERIFY),
    ):
        refusal = await refused(sdk, ask, "E011003")
        assert "no test user" in str(refusal.error_message)


async def test_an_embedded_link_signs_in_with_trusted_claims(sdk: Any, emulator: Emulator) -> None:
    emulator.set_offset(-500)
    token = await sdk(lambda client: client.mgmt.user.generate_embedded_link(ADA, {"plan": "gold"}, timeout=600))
    brief = await sdk(lambda client: client.mgmt.user.generate_embedded_link(ADA, timeout=5))
    emulator.set_offset(0)

    signed_in = await sdk(lambda client: client.magiclink.verify(token))

    assert signed_in["sessionToken"]["plan"] == "gold"
    await refused(sdk, lambda client: client.magiclink.verify(token), "E062504")
    await refused(sdk, lambda client: client.magiclink.verify(brief), "E062504")


async def test_an_embedded_link_signs_up(sdk: Any) -> None:
    token = await sdk(lambda client: client.mgmt.user.generate_sign_up_embedded_link(EVE, email_verified=True))

    signed_up = await sdk(lambda client: client.magiclink.verify(token))

    assert (signed_up["firstSeen"], signed_up["user"]["verifiedEmail"]) == (True, True)
    await refused(sdk, lambda client: client.mgmt.user.generate_sign_up_embedded_link(EVE), "E062107")


async def test_an_invitation_is_a_link_that_signs_in(sdk: Any, emulator: Emulator) -> None:
    emulator.set_offset(-24 * 3600)
    await sdk(lambda client: client.mgmt.user.invite(EVE, email=EVE, role_names=["user"], invite_url=VERIFY))
    message = emulator.inbox.last(EVE)
    emulator.set_offset(0)

    signed_in = await sdk(lambda client: client.magiclink.verify(token_in(message.link)))

    assert message.link.startswith(f"{VERIFY}?t=")
    assert (signed_in["user"]["status"], signed_in["roles"]) == ("enabled", ["user"])


async def test_an_invitation_goes_by_the_channels_asked_for(sdk: Any, emulator: Emulator) -> None:
    phone = "+12025550133"
    await sdk(lambda client: client.mgmt.user.invite(EVE, phone=phone, send_mail=True, send_sms=True))
    await sdk(lambda client: client.mgmt.user.invite("fay@example.com", send_mail=False, send_sms=False))
    await refused(sdk, lambda client: client.mgmt.user.invite("gil@example.com", send_sms=True), "E011002")

    assert sorted(message.to for message in emulator.inbox) == sorted([EVE, phone])
    assert emulator.directory.person_by_login("gil@example.com") is None


async def test_of_many_invited_at_once_those_who_can_be_are(sdk: Any, emulator: Emulator) -> None:
    from descope import UserObj

    people = [UserObj(login_id=EVE, email=EVE), UserObj(login_id=ADA, email=ADA)]

    invited = await sdk(lambda client: client.mgmt.user.invite_batch(people, invite_url=VERIFY, send_mail=True))

    assert [one["loginIds"] for one in invited["createdUsers"]] == [[EVE]]
    assert [one["user"]["loginId"] for one in invited["failedUsers"]] == [ADA]
    assert [message.to for message in emulator.inbox] == [EVE]
