"""The account page, the choice of a tenant, and routes that want one selected."""

import json
from typing import Any

import pytest

from tests.conftest import House, OpenHouse, cookie_header, reason_of, set_cookies

PAGE = {"Origin": "http://app.example.com", "Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
SELECTED = "routes: [{id: all, match: {path: /**}, require: {tenant: selected}, upstream: legacy}]"


async def signed_in(house: House, login_id: str) -> dict[str, str]:
    """Cookies of somebody who signed in through the door, so that Descope remembers it."""
    password = f"{login_id.partition('@')[0]}-demo-password"
    reply = await house.send("POST", "/.auth/login", json={"login_id": login_id, "password": password})
    return cookie_header(set_cookies(reply))


async def test_the_account_page_shows_who_is_signed_in_and_where_from(house: House) -> None:
    reply = await house.get("/.auth/account", headers=PAGE | await signed_in(house, "ada@example.com"))

    assert reply.status == 200
    assert "ada@example.com" in reply.text
    assert "Sign out everywhere" in reply.text
    assert "127.0.0.1" in reply.text
    assert "eyJ" not in reply.text


async def test_a_program_reads_the_account_as_json(house: House) -> None:
    reply = await house.get("/.auth/account", headers=await signed_in(house, "cleo@example.com"))
    document = json.loads(reply.body)

    assert document["tenant_names"] == {"acme": "Acme Corporation", "globex": "Globex Corporation"}
    assert document["sign_ins"][0]["ip"] == "127.0.0.1"
    assert "eyJ" not in reply.text


async def test_whoever_is_not_signed_in_goes_to_sign_in_and_comes_back(house: House) -> None:
    page = await house.get("/.auth/account", headers=PAGE)
    program = await house.get("/.auth/account")

    assert (page.status, page.headers["Location"]) == (303, "/.auth/login?rd=/.auth/account")
    assert reason_of(program) == "no_credentials"


async def test_the_account_page_stands_without_what_descope_cannot_tell(house: House) -> None:
    house.emulator.fault("history", status=500, times=None)
    house.emulator.fault("me_tenants", status=500, times=None)
    reply = await house.get("/.auth/account", headers=PAGE | cookie_header(house.cookies("cleo@example.com")))

    assert reply.status == 200
    assert "They cannot be shown just now." in reply.text
    assert "Go to acme" in reply.text


async def test_a_browser_without_a_selected_tenant_chooses_one_and_comes_back(built: OpenHouse) -> None:
    async with built(routes=SELECTED) as house:
        cookies = house.cookies("cleo@example.com")
        sent = await house.get("/deep?x=1", headers=PAGE | cookie_header(cookies))
        page = await house.get(sent.headers["Location"], headers=PAGE | cookie_header(cookies))
        chosen = await house.send(
            "POST",
            "/.auth/tenant",
            data={"tenant": "globex", "rd": "/deep?x=1"},
            headers=PAGE | cookie_header(cookies),
        )
        await house.get("/deep?x=1", headers=PAGE | cookie_header(set_cookies(chosen)))

        assert (sent.status, sent.headers["Location"]) == (302, "/.auth/tenant?rd=/deep%3Fx%3D1")
        assert "Globex Corporation" in page.text
        assert 'value="/deep?x=1"' in page.text
        assert (chosen.status, chosen.headers["Location"]) == (303, "/deep?x=1")
        assert house.upstream.last.value("x-auth-tenant") == "globex"


async def test_only_a_browser_that_could_choose_is_sent_to_choose(built: OpenHouse) -> None:
    async with built(routes=SELECTED) as house:
        program = await house.get("/x", headers=cookie_header(house.cookies("cleo@example.com")))
        member_of_none = await house.get("/x", headers=PAGE | cookie_header(house.cookies("bob@example.com")))

        assert reason_of(program) == "tenant_mismatch"
        assert (member_of_none.status, "tenant_mismatch" in member_of_none.text) == (403, True)


async def test_a_tenant_of_others_is_refused(house: House) -> None:
    headers = PAGE | cookie_header(house.cookies("ada@example.com"))
    reply = await house.send("POST", "/.auth/tenant", data={"tenant": "globex"}, headers=headers)

    assert reply.status == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "account"), ("GET", "totp/enrol"), ("POST", "totp/enrol"), ("POST", "password/update")],
)
async def test_t11_a_session_and_the_refresh_cookie_of_somebody_else_are_nobodys_account(
    built: OpenHouse, method: str, path: str
) -> None:
    """A sibling domain can plant a cookie: nobody sets a password or adds an app in another account by that."""
    async with built(top="login: {methods: [password, totp]}") as house:
        cookies = house.cookies("ada@example.com") | {"DSR": house.cookies("bob@example.com")["DSR"]}
        form: dict[str, Any] = {"data": {"password": "another-password"}} if method == "POST" else {}
        reply = await house.send(method, f"/.auth/{path}", headers=cookie_header(cookies), **form)

        assert reason_of(reply) == "ambiguous_credentials"
        assert [house.emulator.count(one) for one in ("me", "totp_update", "password_update")] == [0, 0, 0]
