"""Passwords at the gateway: sign up, replace, change; resets are in test_password_reset."""

import json
from dataclasses import replace

import pytest

from gateway.doors.auth.password_rules import is_password, what_lacks
from gateway.emulator.directory import Person
from gateway.idp_methods.password import PasswordPolicy
from tests.conftest import House, OpenHouse, Reply, cookie_header, reason_of, set_cookies

PAGE = {"Origin": "http://app.example.com", "Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
OPEN = "login: {sign_up: true}"


async def post(house: House, path: str, cookies: dict[str, str] | None = None, **fields: str) -> Reply:
    """As a page's form does."""
    return await house.send("POST", f"/.auth/{path}", data=fields, headers=PAGE | cookie_header(cookies or {}))


async def tell(house: House, path: str, **fields: str) -> Reply:
    """As a program does."""
    return await house.send("POST", f"/.auth/{path}", json=fields)


def person(house: House, login_id: str) -> Person:
    found = house.emulator.directory.person_by_login(login_id)
    assert found is not None
    return found


def let_run_out(house: House, login_id: str) -> None:
    """The password has to be replaced at the next sign-in."""
    found = person(house, login_id)
    assert found.password is not None
    found.password = replace(found.password, must_replace=True)


# --- sign up ----------------------------------------------------------------------------------------------------------


async def test_accounts_are_made_by_nobody_where_sign_up_is_off(house: House) -> None:
    page = await house.get("/.auth/password/signup", headers=PAGE)
    reply = await tell(house, "password/signup", login_id="new@example.com", password="a-long-password")

    assert (page.status, reply.status) == (404, 404)
    assert b"New account" not in (await house.get("/.auth/login", headers=PAGE)).body


async def test_an_account_is_made_and_signed_in_where_sign_up_is_on(built: OpenHouse) -> None:
    async with built(top=OPEN) as house:
        page = await house.get("/.auth/password/signup?rd=/deep", headers=PAGE)
        reply = await post(
            house, "password/signup", login_id="new@example.com", password="a-long-password", name="Dora", rd="/deep"
        )
        arrived = await house.get("/deep", headers=cookie_header(set_cookies(reply)))

        assert b"At least 8 characters" in page.body
        assert (reply.status, reply.headers["Location"], arrived.status) == (303, "/deep", 200)
        assert person(house, "new@example.com").profile["name"] == "Dora"


async def test_a_password_that_the_policy_does_not_take_is_told_before_descope_is_asked(built: OpenHouse) -> None:
    async with built(top=OPEN) as house:
        page = await post(house, "password/signup", login_id="new@example.com", password="short")
        reply = await tell(house, "password/signup", login_id="new@example.com", password="short")

        assert page.status == 400
        assert "The new password needs at least 8 characters." in page.text
        assert 'value="new@example.com"' in page.text
        assert ">short<" not in page.text
        assert reason_of(reply) == "bad_request"
        assert house.emulator.directory.person_by_login("new@example.com") is None


async def test_t19_an_account_that_exists_is_told_like_any_that_cannot_be_made(built: OpenHouse) -> None:
    async with built(top=OPEN) as house:
        page = await post(house, "password/signup", login_id="bob@example.com", password="a-long-password")
        reply = await tell(house, "password/signup", login_id="bob@example.com", password="a-long-password")

        assert page.status == 401
        assert "No account could be made" in page.text
        assert reason_of(reply) == "sign_in_refused"
        assert "idp_code" not in json.loads(reply.body)


# --- a password that has run out --------------------------------------------------------------------------------------


async def test_a_password_that_has_run_out_leads_to_its_replacement_and_on(house: House) -> None:
    let_run_out(house, "bob@example.com")
    refused = await post(
        house, "password/signin", login_id="bob@example.com", password="bob-demo-password", rd="/deep?x=1"
    )
    told = await tell(house, "password/signin", login_id="bob@example.com", password="bob-demo-password")
    replaced = await post(
        house,
        "password/replace",
        login_id="bob@example.com",
        old_password="bob-demo-password",
        password="another-password",
        rd="/deep?x=1",
    )

    assert refused.status == 401
    assert 'action="/.auth/password/replace"' in refused.text
    assert 'value="/deep?x=1"' in refused.text
    assert "bob-demo-password" not in refused.text
    assert (reason_of(told), json.loads(told.body)["idp_code"]) == ("sign_in_refused", "E062909")
    assert (replaced.status, replaced.headers["Location"]) == (303, "/deep?x=1")
    assert (await house.get("/x", headers=cookie_header(set_cookies(replaced)))).status == 200


async def test_t19_replacing_tells_no_unknown_login_from_a_wrong_password(house: House) -> None:
    replies = [
        await tell(house, "password/replace", login_id=login_id, old_password="wrong-one", password="another-password")
        for login_id in ("bob@example.com", "nobody@example.com")
    ]
    wrong, unknown = (json.loads(reply.body) | {"request_id": ""} for reply in replies)

    assert wrong == unknown


# --- changing one's own -----------------------------------------------------------------------------------------------


async def test_somebody_signed_in_changes_the_own_password(house: House) -> None:
    cookies = house.cookies("bob@example.com")
    page = await house.get("/.auth/password/update", headers=PAGE | cookie_header(cookies))
    changed = await post(house, "password/update", cookies, password="another-password")
    old = await tell(house, "password/signin", login_id="bob@example.com", password="bob-demo-password")
    new = await tell(house, "password/signin", login_id="bob@example.com", password="another-password")

    assert (page.status, changed.status) == (200, 200)
    assert "The password is changed." in changed.text
    assert (old.status, new.status) == (401, 200)


async def test_nobody_changes_a_password_without_a_session(house: House) -> None:
    page = await house.get("/.auth/password/update", headers=PAGE)
    reply = await tell(house, "password/update", password="another-password")

    assert (page.status, page.headers["Location"]) == (303, "/.auth/login?rd=/.auth/password/update")
    assert reason_of(reply) == "no_credentials"


async def test_t23_another_site_changes_nobodys_password(house: House) -> None:
    headers = cookie_header(house.cookies("bob@example.com")) | {"Origin": "http://evil.example"}
    reply = await house.send("POST", "/.auth/password/update", data={"password": "another-password"}, headers=headers)

    assert reason_of(reply) == "cross_site"


# --- what is shared ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["password/signin", "password/replace", "password/update", "password/signup"])
async def test_descope_away_is_told_on_the_form_with_a_wait_and_keeps_what_was_typed(
    built: OpenHouse, path: str
) -> None:
    async with built(top=OPEN) as house:
        await house.get("/.auth/password/policy")
        for operation in ("signin", "signup", "password_replace", "password_update"):
            house.emulator.fault(operation, status=429, headers={"Retry-After": "7"}, times=None)
        house.emulator.fault("me", status=429, headers={"Retry-After": "7"}, times=None)
        fields = {"login_id": "bob@example.com", "old_password": "bob-demo-password", "password": "another-password"}
        page = await post(house, path, house.cookies("bob@example.com"), **fields)

        assert (page.status, page.headers["Retry-After"]) == (503, "7")
        assert 'data-seconds="7"' in page.text
        assert path == "password/update" or 'value="bob@example.com"' in page.text


async def test_a_method_that_is_not_offered_is_nowhere(built: OpenHouse) -> None:
    async with built(top="login: {methods: [totp]}") as house:
        for path in ("login", "password/signin", "password/replace", "password/update", "password/reset"):
            reply = await tell(house, path, login_id="bob@example.com", password="bob-demo-password")
            assert reply.status in (404, 405), path


async def test_programs_get_tokens_in_the_body_where_the_route_file_says_so(built: OpenHouse) -> None:
    fields = {"login_id": "bob@example.com", "password": "bob-demo-password"}
    async with built(top="login: {deliver: body}") as house:
        program = await tell(house, "password/signin", **fields)
        script = await house.send(
            "POST", "/.auth/password/signin", json=fields, headers={"Sec-Fetch-Site": "same-origin"}
        )
        document = json.loads(program.body)
        used = await house.get("/x", headers={"Authorization": f"Bearer {document['session_token']}"})

        assert "Set-Cookie" not in program.headers
        assert used.status == 200
        assert "session_token" not in json.loads(script.body)
        assert set(set_cookies(script)) >= {"DS", "DSR"}


async def test_t16_no_token_is_in_a_body_otherwise(house: House) -> None:
    reply = await tell(house, "password/signin", login_id="bob@example.com", password="bob-demo-password")

    assert b"eyJ" not in reply.body


async def test_the_policy_can_be_read(house: House) -> None:
    reply = await house.get("/.auth/password/policy")

    assert json.loads(reply.body)["min_length"] == 8


async def test_the_policy_is_asked_for_once_in_five_minutes(house: House) -> None:
    for _ in range(3):
        await house.get("/.auth/password/policy")
    house.clock.offset_s += 301
    await house.get("/.auth/password/policy")

    assert house.emulator.count("password_policy") == 2


@pytest.mark.parametrize(
    ("password", "lacks"),
    [
        pytest.param("Abcdef1!", "", id="all of it"),
        pytest.param("Abc1!", "at least 8 characters", id="short"),
        pytest.param("ABCDEF1!", "a small letter", id="no small letter"),
        pytest.param("abcdef1!", "a capital letter", id="no capital"),
        pytest.param("Abcdefg!", "a digit", id="no digit"),
        pytest.param("Abcdefg1", "another sign", id="letters and digits only"),
    ],
)
def test_a_policy_says_what_a_password_lacks(password: str, lacks: str) -> None:
    sentence = what_lacks(PasswordPolicy(8, True, True, True, True), password)

    assert (lacks in sentence) if lacks else sentence == ""


@pytest.mark.parametrize(
    ("text", "is_one"), [("x", True), ("", False), ("\udfff", False), ("a" * 1025, False)], ids=ascii
)
def test_a_password_is_up_to_1024_characters_that_can_be_sent(text: str, is_one: bool) -> None:
    assert is_password(text) is is_one
