"""The endpoints under `/.auth/`, and how refusals are told to browsers and to programs."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conftest import House, OpenHouse, cookie_header, reason_of, set_cookies

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Accept": "text/html"}
OWN = {"Origin": "http://app.example.com", "Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


def form(**fields: str) -> bytes:
    return urlencode({"login_id": "bob@example.com", "password": "bob-demo-password"} | fields).encode()


# --- being refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "goes"),
    [
        pytest.param(NAVIGATION, True, id="navigation"),
        pytest.param({"Accept": "text/html,*/*"}, True, id="a browser without fetch metadata"),
        pytest.param({"Sec-Fetch-Mode": "cors", "Accept": "text/html"}, False, id="a script's fetch"),
        pytest.param({"Accept": "application/json"}, False, id="a program"),
        pytest.param({}, False, id="nothing said"),
    ],
)
async def test_only_a_browser_going_somewhere_is_sent_to_sign_in(
    house: House, headers: dict[str, str], goes: bool
) -> None:
    reply = await house.get("/deep/link?x=1&y=%2F", headers={"Accept": ""} | headers)

    assert reply.status == (302 if goes else 401)
    assert reply.headers.get("Location") == ("/.auth/login?rd=/deep/link%3Fx%3D1%26y%3D%252F" if goes else None)
    assert reply.headers["Cache-Control"] == "no-store"


async def test_a_post_is_never_sent_to_sign_in(house: House) -> None:
    reply = await house.send("POST", "/x", headers=NAVIGATION)

    assert reply.status == 401


async def test_another_refused_navigation_is_a_page_that_names_reason_and_request(house: House) -> None:
    headers = NAVIGATION | cookie_header(house.cookies("bob@example.com"))
    reply = await house.get("/admin/x", headers=headers)
    page = reply.text

    assert (reply.status, reply.media_type) == (403, "text/html")
    assert "role_missing" in page
    assert reply.headers["X-Request-Id"] in page
    assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]


async def test_a_program_gets_a_problem_with_reason_and_request(house: House) -> None:
    reply = await house.get("/admin/x", headers=cookie_header(house.cookies("bob@example.com")))

    assert (reply.status, reply.media_type) == (403, "application/problem+json")
    assert reason_of(reply) == "role_missing"


async def test_what_is_nowhere_is_404_and_a_wrong_method_405_with_allow(house: House, built: OpenHouse) -> None:
    async with built(routes="routes: [{id: a, match: {path: /a}, auth: public, upstream: legacy}]") as narrow:
        nowhere = await narrow.get("/b")
    wrong = await house.send("DELETE", "/only-get")

    assert reason_of(nowhere) == "no_route"
    assert (reason_of(wrong), wrong.headers["Allow"]) == ("method_not_allowed", "GET, HEAD")


async def test_login_may_be_another_page_that_gets_the_whole_way_back(built: OpenHouse) -> None:
    async with built(top="login: {url: 'https://login.example.com/start?app=1'}") as house:
        reply = await house.get("/x?y=1", headers=NAVIGATION | {"Host": "app.example.com"})

        place = "https://login.example.com/start?app=1&rd=http%3A//app.example.com/x%3Fy%3D1"
        assert reply.headers["Location"] == place


# --- signing in -------------------------------------------------------------------------------------------------------


async def test_the_page_signs_in_and_returns_to_where_the_browser_was_going(house: House) -> None:
    page = await house.get("/.auth/login?rd=/deep%3Fx", headers=NAVIGATION)
    reply = await house.send("POST", "/.auth/login", data=form(rd="/deep?x"), headers=OWN)
    cookies = set_cookies(reply)
    arrived = await house.get("/deep?x", headers=cookie_header(cookies))

    assert page.status == 200
    assert b'value="/.auth/login?rd=/deep%3Fx&amp;turn=1"' in page.body
    assert (reply.status, reply.headers["Location"]) == (303, "/deep?x")
    assert all("HttpOnly" in line and "SameSite=Lax" in line for line in reply.headers.getall("Set-Cookie"))
    assert arrived.status == 200


@pytest.mark.parametrize("place", ["//evil.example", "/\\evil.example", "https://evil.example/", "javascript:alert(1)"])
async def test_t09_sign_in_returns_to_no_other_site(house: House, place: str) -> None:
    reply = await house.send("POST", "/.auth/login", data=form(rd=place), headers=OWN)

    assert (reply.status, reply.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"password": "wrong-password"}, id="wrong password"),
        pytest.param({"login_id": "nobody@example.com"}, id="unknown login"),
    ],
)
async def test_t19_a_wrong_login_is_told_the_same_way_whatever_is_wrong(house: House, fields: dict[str, str]) -> None:
    as_page = await house.send("POST", "/.auth/login", data=form(**fields), headers=OWN)
    as_json = await house.send("POST", "/.auth/login", json={"login_id": "x@y.z", "password": "p"} | fields)

    page = as_page.text
    assert (as_page.status, as_json.status) == (401, 401)
    assert "The login or the password is wrong" in page
    assert fields.get("password", "bob-demo-password") not in page
    assert not set_cookies(as_page)


async def test_a_program_signs_in_with_json_and_gets_no_token_in_the_body(house: House) -> None:
    document = {"login_id": "ada@example.com", "password": "ada-demo-password"}
    reply = await house.send("POST", "/.auth/login", json=document)
    about = json.loads(reply.body)

    assert reply.status == 200
    assert about["email"] == "ada@example.com"
    assert not any(token in json.dumps(about) for token in set_cookies(reply).values() if token)


async def test_whoever_is_signed_in_already_goes_on(house: House) -> None:
    headers = NAVIGATION | cookie_header(house.cookies("bob@example.com"))
    reply = await house.get("/.auth/login?rd=/x", headers=headers)

    assert (reply.status, reply.headers["Location"]) == (303, "/x")


async def test_t11_the_sign_in_page_clears_cookies_that_are_good_for_nothing(house: House) -> None:
    headers = NAVIGATION | cookie_header({"DS": "not.a.token", "DSR": "nor.is.this"})
    reply = await house.get("/.auth/login", headers=headers)

    assert reply.status == 200
    assert set_cookies(reply)["DS"] == set_cookies(reply)["DSR"] == ""


async def test_a_query_with_too_many_fields_is_a_clear_error(house: House) -> None:
    reply = await house.get("/.auth/login?" + "&".join(f"a{n}=1" for n in range(100)))

    assert reason_of(reply) == "bad_request"


async def test_t19_guessing_is_slowed_for_the_one_who_guesses(house: House) -> None:
    guesses = [await house.send("POST", "/.auth/login", json={"login_id": "b", "password": "c"}) for _ in range(21)]
    page = await house.send("POST", "/.auth/login", data=form(), headers=OWN)
    house.clock.offset_s += int(guesses[-1].headers["Retry-After"])
    after = await house.send("POST", "/.auth/login", data=form(), headers=OWN)

    assert [reply.status for reply in guesses] == [401] * 20 + [429]
    assert (page.status, "Too many attempts" in page.text) == (429, True)
    assert after.status == 303


async def test_descope_away_is_told_on_the_form_which_keeps_the_login(house: House) -> None:
    house.emulator.fault("signin", status=429, headers={"Retry-After": "9"}, times=None)
    reply = await house.send("POST", "/.auth/login", data=form(), headers=OWN)
    page = reply.text

    assert (reply.status, reply.headers["Retry-After"]) == (503, "9")
    assert 'value="bob@example.com"' in page
    assert "bob-demo-password" not in page


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        pytest.param(b"login_id=x", "application/x-www-form-urlencoded", 400, id="no password"),
        pytest.param(b"{", "application/json", 400, id="broken json"),
        pytest.param(b"[1]", "application/json", 400, id="json of another shape"),
        pytest.param(b'{"login_id":"a","password":"b"}', "text/plain", 400, id="t23 json as plain text"),
        pytest.param(b"x" * 50_000, "application/x-www-form-urlencoded", 413, id="too large"),
        pytest.param(b"\xff\xfe", "application/x-www-form-urlencoded", 400, id="no utf-8"),
    ],
)
async def test_a_bad_form_is_a_clear_error(house: House, body: bytes, kind: str, status: int) -> None:
    reply = await house.send("POST", "/.auth/login", data=body, headers={"Content-Type": kind})

    assert reply.status == status
    assert house.emulator.count("signin") == 0


# --- cross-site (T-23) ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["login", "logout", "logout-all", "refresh", "tenant"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="cross-site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="same-site"),
        pytest.param({"Origin": "https://evil.example"}, id="foreign origin"),
        pytest.param({"Origin": "null"}, id="null origin"),
    ],
)
async def test_t23_another_site_cannot_post_here(house: House, path: str, headers: dict[str, str]) -> None:
    cookies = house.cookies("bob@example.com")
    reply = await house.send("POST", f"/.auth/{path}", headers=headers | cookie_header(cookies), data=form())

    assert reason_of(reply) == "cross_site"
    assert "Set-Cookie" not in reply.headers
    assert (await house.get("/", headers=cookie_header(cookies))).status == 200


@pytest.mark.parametrize("path", ["logout", "logout-all", "refresh"])
async def test_t23_what_changes_something_is_no_get(house: House, path: str) -> None:
    reply = await house.get(f"/.auth/{path}", headers=cookie_header(house.cookies("bob@example.com")))

    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


async def test_t23_looking_at_the_choice_of_tenants_selects_none(house: House) -> None:
    reply = await house.get("/.auth/tenant?tenant=acme", headers=cookie_header(house.cookies("cleo@example.com")))

    assert (reply.status, "Set-Cookie" in reply.headers) == (200, False)
    assert house.emulator.count("tenant_select") == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_t23_an_unsafe_method_with_cookies_from_another_site_is_refused(house: House, method: str) -> None:
    cookies = cookie_header(house.cookies("ada@example.com"))

    foreign = await house.send(method, "/x", headers=cookies | {"Sec-Fetch-Site": "cross-site"})
    override = await house.send("POST", "/x", headers=cookies | {"Origin": "null", "X-HTTP-Method-Override": "GET"})
    own = await house.send(method, "/x", headers=cookies | {"Sec-Fetch-Site": "same-origin"})

    assert reason_of(foreign) == reason_of(override) == "cross_site"
    assert own.status == 200


async def test_a_bearer_without_cookies_comes_from_no_browser_and_passes(house: House) -> None:
    headers = {"Authorization": f"Bearer {house.cookies('ada@example.com')['DS']}", "Origin": "https://evil.example"}

    assert (await house.send("POST", "/x", headers=headers)).status == 200


CORS = """
routes:
  - id: api
    match: {path: "/api/**"}
    upstream: legacy
    cors:
      origins: ["https://partner.example"]
      methods: [GET, PUT]
      headers: [X-Own]
      credentials: true
      max_age: 60s
  - {id: rest, match: {path: "/**"}, upstream: legacy}
"""


async def test_a_true_preflight_is_answered_without_credentials_and_refusals_can_be_read(built: OpenHouse) -> None:
    async with built(routes=CORS) as house:
        origin = {"Origin": "https://partner.example"}
        preflight = await house.send("OPTIONS", "/api/x", headers=origin | {"Access-Control-Request-Method": "PUT"})
        options = await house.send("OPTIONS", "/api/x", headers=origin)
        elsewhere = await house.send("OPTIONS", "/x", headers=origin | {"Access-Control-Request-Method": "PUT"})
        refused = await house.get("/api/x", headers=origin)
        cookies = cookie_header(house.cookies("ada@example.com"))
        admitted = await house.send("PUT", "/api/x", headers=origin | cookies | {"Sec-Fetch-Site": "cross-site"})
        foreign = await house.send("PUT", "/api/x", headers={"Origin": "https://evil.example"} | cookies)

        assert preflight.status == 204
        assert preflight.headers["Access-Control-Allow-Methods"] == "GET, PUT"
        assert (options.status, elsewhere.status) == (401, 401)
        assert refused.headers["Access-Control-Allow-Origin"] == "https://partner.example"
        assert admitted.status == 200
        assert admitted.headers["Access-Control-Allow-Credentials"] == "true"
        assert reason_of(foreign) == "cross_site"
        assert "Access-Control-Allow-Origin" not in foreign.headers


# --- once signed in ---------------------------------------------------------------------------------------------------


async def test_me_tells_who_is_signed_in_from_a_whitelist(house: House) -> None:
    cookies = house.cookies("cleo@example.com")
    reply = await house.get("/.auth/me", headers=cookie_header(cookies))
    about = json.loads(reply.body)
    nobody = await house.get("/.auth/me")

    assert set(about) == {
        "subject", "method", "email", "name", "roles", "permissions", "tenant", "tenants", "expires_at",
    }  # fmt: skip
    assert about["tenants"]["acme"]["roles"] == ["editor"]
    assert not any(token in json.dumps(about) for token in cookies.values())
    assert reason_of(nobody) == "no_credentials"


async def test_refresh_renews_once_however_long_the_session_would_have_lasted(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("bob@example.com")
    reply = await house.send("POST", "/.auth/refresh", headers=cookie_header(cookies))
    renewed = set_cookies(reply)

    assert reply.status == 200
    assert house.emulator.count("refresh") == 1
    assert renewed["DSR"] not in ("", cookies["DSR"])
    assert (await house.get("/", headers=cookie_header(renewed))).status == 200


async def test_another_tenant_can_be_selected_and_only_by_a_member(house: House) -> None:
    house.emulator.configure(refresh_rotation="on")
    cookies = house.cookies("cleo@example.com")

    stranger = await house.send("POST", "/.auth/tenant", json={"tenant": "initech"}, headers=cookie_header(cookies))
    member = await house.send("POST", "/.auth/tenant", json={"tenant": "globex"}, headers=cookie_header(cookies))
    about: dict[str, Any] = json.loads(member.body)
    old = await house.get("/", headers=cookie_header({"DSR": cookies["DSR"]}))

    assert reason_of(stranger) == "tenant_mismatch"
    assert (member.status, about["tenant"]) == (200, "globex")
    assert old.status == 200
    assert set_cookies(old)["DSR"] == set_cookies(member)["DSR"]


@pytest.mark.parametrize("path", ["/.auth", "/.auth/", "/.auth/nothing", "/.auth/me/x", "/.auth/me/"])
async def test_what_is_not_under_auth_is_404_and_never_forwarded(house: House, path: str) -> None:
    reply = await house.get(path)

    assert reason_of(reply) == "not_found"
    assert house.upstream.seen == []


async def test_t11_a_planted_cookie_of_somebody_else_is_ambiguous_in_either_order(house: House) -> None:
    ada, bob = house.cookies("ada@example.com"), house.cookies("bob@example.com")

    for first, second in ((ada, bob), (bob, ada)):
        reply = await house.get("/", headers={"Cookie": f"DS={first['DS']}; DS={second['DS']}"})
        assert reason_of(reply) == "ambiguous_credentials"
        reply = await house.get("/", headers={"Cookie": f"DSR={first['DSR']}; DSR={second['DSR']}"})
        assert reason_of(reply) == "ambiguous_credentials"
    planted = await house.get("/", headers={"Cookie": f"DS=junk; DS={ada['DS']}"})
    assert planted.status == 200


async def test_t11_an_expired_session_is_not_renewed_into_somebody_else(house: House) -> None:
    ada = house.cookies("ada@example.com")
    house.put_forward(700)
    bob = house.cookies("bob@example.com")

    reply = await house.get("/", headers=cookie_header({"DS": ada["DS"], "DSR": bob["DSR"]}))

    assert reason_of(reply) == "ambiguous_credentials"


async def test_a_session_too_large_for_one_cookie_is_split_and_comes_back_whole(house: House) -> None:
    claims = {f"claim{n}": "x" * 400 for n in range(14)}
    person = {"sub": "U2large", "iss": house.emulator.project_id, "exp": 9_999_999_999, "drn": "DS"} | claims
    token = house.emulator.mint(person)
    parts = [token[start : start + 3000] for start in range(0, len(token), 3000)]
    names = ["DS", "DS.1", "DS.2", "DS.3"]

    whole = await house.get("/", headers=cookie_header(dict(zip(names, parts, strict=False))))
    broken = await house.get("/", headers=cookie_header(dict(zip(names, parts[:-1], strict=False))))

    assert len(token) > 7000
    assert whole.status == 200
    assert broken.status == 401
    assert house.upstream.last.values("cookie") == []
